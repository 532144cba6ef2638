"""Whatever models there are, and whatever becomes of them: written and true, or refused in words.

Each example is two states of the models. A database that `create_all` made of the first is what the revisions have led
to so far; what is written from there to the second is applied, taken back and applied again.
"""

from __future__ import annotations

import collections
import contextlib
import io
import os
from typing import TYPE_CHECKING

import psycopg2
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, seed, settings

from lockstep import contract
from lockstep import settings as own_settings
from lockstep.develop import drafting, proving
from lockstep.develop.autogenerate import comparison
from lockstep.errors import MigratorError
from lockstep.project import environment, plan
from tests.autogenerate.models_project import ModelsProject, variables
from tests.autogenerate.models_strategy import pairs

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = int(os.environ.get("MODELS_EXAMPLES", "200"))
NIGHTLY = int(os.environ.get("MODELS_EXAMPLES", "5000"))
SHARDS = 4
OFFSET = int(os.environ.get("MODELS_SEED", "0"))  # other examples than the suite's own
PLATFORM = """
CREATE SCHEMA migrator; CREATE SCHEMA shop;
CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION btree_gist
"""


class Ground:
    """A project directory, used again for each example, and a server for their databases."""

    def __init__(self, server, directory: Path, template: str) -> None:
        self.server, self.project = server, ModelsProject.make(directory, server.url, "")
        self.template, self.came = template, collections.Counter()

    def tried(self, before: str, after: str) -> str:
        """Try one change; return what came of it."""
        for path in (self.project.directory / "versions").glob("*.py"):
            path.unlink()
        with self.server.database(self.template) as url, variables(MIGRATOR_SHADOW_URL=self.server.url):
            ini = {"config": str(self.project.directory / "alembic.ini")}
            own = own_settings.load(ini, {})._replace(database_url=url)
            self.project.models(before, head="")
            if fault := self._fault(url):
                return f"no models: {fault}"
            self.project.models(after, head="")
            return self._written(own, url)

    def _fault(self, url: str) -> str:
        """Make the models; return why they cannot be made."""
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)
        try:
            metadata = contract.load_models(self.project.directory / "models.py")
            with engine.begin() as connection:
                metadata.create_all(connection)
        except (sa.exc.SQLAlchemyError, MigratorError) as error:
            return str(error)
        return ""

    def _written(self, own, url: str) -> str:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                paths = drafting.written(environment.load(own), own, "x", url, ())
        except MigratorError as error:
            if error.code not in (1, 2):
                raise
            assert self.project.files() == []
            return f"refused: {' '.join((str(error), *error.details))}"
        project = environment.load(own)
        proving._inside(own, project, url, lambda *given: _there_back_and_there(*given, project))
        unserved = proving.unserved(own, project, url, ours=lambda *_: True)
        assert not unserved, unserved
        return "written" if paths else "nothing to write"


def _there_back_and_there(context, arguments, project: environment.Project) -> None:
    def up(now):
        return plan.upgrade_steps(project.script, now, "head")

    before = comparison.read(context).things
    context.connection.rollback()
    proving._run(context, arguments, up)
    proving._run(context, arguments, lambda now: plan.downgrade_steps(project.script, now, "base"))
    assert comparison.read(context).things == before
    context.connection.rollback()
    proving._run(context, arguments, up)
    compared = comparison.made(context)
    assert not compared, compared.lines()
    context.connection.rollback()


@pytest.fixture(scope="module")
def ground(server, tmp_path_factory):
    with server.database() as template:
        with contextlib.closing(psycopg2.connect(template)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(PLATFORM)
        yield Ground(server, tmp_path_factory.mktemp("property") / "project", sa.make_url(template).database)


def _hold(ground: Ground, examples: int, number: int) -> None:
    """Try so many examples; other ones for each number, and the same in every run."""
    ground.came.clear()

    @seed(OFFSET + number)
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), deadline=None)
    @given(pairs())
    def each(pair: tuple[str, str]) -> None:
        try:
            ground.came[ground.tried(*pair).partition(":")[0]] += 1
        except BaseException:
            print(f"--- before\n{pair[0]}\n--- after\n{pair[1]}\n--- written\n{ground.project.texts()}")
            raise

    each()
    # What is refused shows little: half of what is tried is to be written, or the examples are not what they were.
    assert ground.came["written"] * 2 > examples, dict(ground.came)


@pytest.mark.slow
@pytest.mark.timeout(900)  # each pair is a project that is written, applied, taken back and applied again
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
@pytest.mark.parametrize("shard", [f"shard-{number}" for number in range(SHARDS)])
def test_models_and_revisions_never_disagree(ground, shard) -> None:
    _hold(ground, EXAMPLES // SHARDS, int(shard.rpartition("-")[2]))


@pytest.mark.nightly
@pytest.mark.timeout(36_000)
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
@pytest.mark.parametrize("shard", [f"shard-{number}" for number in range(SHARDS)])
def test_models_and_revisions_never_disagree_in_many_cases(ground, shard) -> None:
    _hold(ground, NIGHTLY // SHARDS, 1000 + int(shard.rpartition("-")[2]))
