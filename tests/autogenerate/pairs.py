"""Pairs: a change of models in; a project on disk that stands at the one and whose models are the other, out.

What is done to it is done by the migrator's own verbs, as somebody who works on such a project does it.
"""

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from lockstep import cli, settings
from lockstep.develop.rehearsal import rehearse
from lockstep.develop.rehearsal.options import Options
from lockstep.develop.sandbox import throwaway
from tests.autogenerate import schema
from tests.autogenerate.changes import CHANGES, FIRST, Change
from tests.autogenerate.models import ROWS

ROOT = Path(__file__).resolve().parents[2]
INI = f"""[alembic]
script_location = %(here)s
prepend_sys_path = {ROOT}
path_separator = os
timezone = UTC
file_template = %%(year)d_%%(month).2d_%%(day).2d_%%(hour).2d%%(minute).2d-%%(rev)s_%%(slug)s
"""
ENV = """
from alembic import context
from sqlalchemy import create_engine, pool

from lockstep.develop import autogenerate
from tests.autogenerate.changes import CHANGES
from tests.autogenerate.models import world

engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
with engine.connect() as connection:
    chosen = autogenerate.options(connection, schemas=("Order",))
    connection.rollback()
    context.configure(connection=connection, target_metadata=world(**CHANGES[{number}].after), **chosen)
    with context.begin_transaction():
        context.run_migrations()
"""
BASE = """
from alembic import op

from tests.autogenerate.changes import CHANGES
from tests.autogenerate.models import world

revision = "before"
down_revision = None


def upgrade():
    metadata = world(**CHANGES[{number}].before)
    for schema in sorted({{table.schema for table in metadata.tables.values()}} - {{None}}):
        op.execute(f'create schema "{{schema}}"')
    metadata.create_all(op.get_bind())
"""


@dataclass(frozen=True)
class Pair:
    """A project in a directory; `server` is the URL of a PostgreSQL where databases may be made."""

    number: int
    directory: Path
    server: str

    @classmethod
    def make(cls, number: int, directory: Path, server: str) -> "Pair":
        versions = directory / "versions"
        versions.mkdir(parents=True)
        (directory / "alembic.ini").write_text(INI)
        (directory / "env.py").write_text(ENV.format(number=number))
        (directory / "script.py.mako").write_text((ROOT / "migrator" / "script.py.mako").read_text())
        (directory / "seed.sql").write_text(ROWS + CHANGES[number].rows)
        (versions / "before.py").write_text(BASE.format(number=number))
        return cls(number, directory, server)

    @property
    def change(self) -> Change:
        return CHANGES[self.number]

    @property
    def config(self) -> Path:
        return self.directory / "alembic.ini"

    def run(self, *arguments: str, database: str = "") -> str:
        """Run a verb of the migrator in this process; return what it printed."""
        out, err = io.StringIO(), io.StringIO()
        with (
            _variables(MIGRATOR_SHADOW_URL=self.server, MIGRATOR_DATABASE_URL=database),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = cli.main([*arguments, "--config", str(self.config)])
        assert code == 0, (
            f"{self.change.name}: migrator {' '.join(arguments)}: {code}\n{out.getvalue()}{err.getvalue()}"
        )
        return out.getvalue()

    def write(self) -> list[str]:
        """Let `migrator revision` write what changed; return the revisions, oldest first."""
        before = set(self._files())
        self.run("revision", "-m", FIRST, "--no-rehearsal")
        return [name.partition("-")[2][:12] for name in sorted(set(self._files()) - before)]

    def finds_more(self) -> bool:
        """Tell whether a second `migrator revision` finds a difference between the revisions and the models."""
        return "already lead to the models" not in self.run("revision", "-m", "again", "--no-rehearsal")

    def rehearse(self, **options: object) -> rehearse.Rehearsal:
        """Rehearse what was written on the rows of the models' tests, and made-up ones up to `rows`."""
        own = settings.Settings(config=str(self.config), deadline_ms=120_000)
        chosen = {"start": "before", "server": self.server, "seed": self.directory / "seed.sql", "opinion": False}
        return rehearse.run(own, Options(**(chosen | options)), lambda _: None)

    def _files(self) -> list[str]:
        return [path.name for path in (self.directory / "versions").glob("*.py")]

    def up_and_down(self, written: list[str]) -> list[str]:
        """Apply all to a filled database and take all back; return how its schema differs from before."""
        with throwaway.database(self.server) as url:
            engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"), poolclass=sa.NullPool)
            self.run("upgrade", "before", "--no-unknown-release", database=url)
            self._execute(engine, (self.directory / "seed.sql").read_text())
            before = _tables(engine)
            self.run("upgrade", "--no-unknown-release", database=url)
            if self.change.back:
                at = written[len(written) - 1 - self.change.back_at]
                self.run("downgrade", at, "--yes", "--ignore-live-releases", "nobody runs it", database=url)
                self._execute(engine, self.change.back)
            self.run("downgrade", "before", "--yes", "--ignore-live-releases", "nobody runs it", database=url)
            return schema.difference(before, _tables(engine))

    @staticmethod
    def _execute(engine: sa.Engine, text: str) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql(text.replace("%", "%%"))


def _tables(engine: sa.Engine) -> list[str]:
    return [line for line in schema.dump(engine) if "migrator" not in line.split(" | ")[:2]]


@contextlib.contextmanager
def _variables(**given: str):
    """Set variables for the block, or leave them out where they are empty."""
    before = {name: os.environ.pop(name, None) for name in given}
    os.environ.update({name: value for name, value in given.items() if value})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
