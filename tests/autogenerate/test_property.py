"""Whatever models there are, and whatever becomes of them: written and true, or refused in words."""

from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings

from lockstep import contract
from lockstep import settings as own_settings
from lockstep.contract import catalog
from lockstep.develop import drafting, proving
from lockstep.errors import MigratorError
from lockstep.postgres import connect
from lockstep.postgres.address import address
from lockstep.project import environment
from tests.autogenerate.models_project import ModelsProject, variables
from tests.autogenerate.models_strategy import pairs

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = int(os.environ.get("MODELS_EXAMPLES", "60"))


class Ground:
    """A project directory, used again for each example, and a server for their databases."""

    def __init__(self, server, directory: Path) -> None:
        self.server, self.project = server, ModelsProject.make(directory, server.url, "")

    def tried(self, before: str, after: str) -> str:
        """Try one change; return what came of it."""
        for path in (self.project.directory / "versions").glob("*.py"):
            path.unlink()
        with self.server.database() as url, variables(MIGRATOR_SHADOW_URL=self.server.url):
            own = own_settings.Settings(config=str(self.project.directory / "alembic.ini"))._replace(database_url=url)
            self.project.models(before, head="")
            if not self._made(url):
                return "no models"
            self.project.models(after, head="")
            return self._written(own, url)

    def _made(self, url: str) -> bool:
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)
        try:
            metadata = contract.load_models(self.project.directory / "models.py")
            with engine.begin() as connection:
                connection.exec_driver_sql(
                    "CREATE SCHEMA migrator; CREATE SCHEMA shop; CREATE EXTENSION IF NOT EXISTS hstore"
                )
                metadata.create_all(connection)
        except (sa.exc.SQLAlchemyError, MigratorError):
            return False
        return True

    def _written(self, own, url: str) -> str:
        project = environment.load(own)
        try:
            metadata = contract.load_models(self.project.directory / "models.py")
            with contextlib.redirect_stdout(io.StringIO()):
                paths = drafting.written(project, own, "x", url, ())
        except MigratorError as error:
            if error.code not in (1, 2):
                raise
            assert self.project.files() == []
            return f"refused: {error}"
        self._apply(own, url, paths)
        project = environment.load(own)
        compared = proving.compare(own, project, url)
        assert compared.lines() == ()
        with connect.migrating_engine(address(url), own).connect() as connection:
            needed = contract.derive(metadata)
            there = catalog.read(connection, needed.relations)
        assert [str(need) for need in contract.broken(needed, there) if need.severity == contract.ERROR] == []
        return f"{len(paths)} written"

    @staticmethod
    def _apply(own, url: str, paths: list[Path]) -> None:
        project = environment.load(own)
        if paths:
            proving.applied(own, project, url)


@pytest.fixture(scope="module")
def ground(server, tmp_path_factory):
    return Ground(server, tmp_path_factory.mktemp("property") / "project")


def _check(ground: Ground, pair: tuple[str, str]) -> None:
    before, after = pair
    try:
        ground.tried(before, after)
    except BaseException:
        print(f"--- before\n{before}\n--- after\n{after}\n--- written\n{ground.project.texts()}")
        raise


@pytest.mark.slow
@pytest.mark.timeout(900)  # each pair is a project that is written, applied, taken back and applied again
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
@given(pairs())
def test_models_and_revisions_never_disagree(ground, pair) -> None:
    _check(ground, pair)


@pytest.mark.nightly
@pytest.mark.timeout(36_000)
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
@settings(max_examples=5000, suppress_health_check=list(HealthCheck), deadline=None, derandomize=False)
@given(pairs())
def test_models_and_revisions_never_disagree_in_many_cases(ground, pair) -> None:
    _check(ground, pair)
