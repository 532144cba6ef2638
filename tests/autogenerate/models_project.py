# ruff: noqa: E501
"""Models project: a directory with models of its own, whose revisions the migrator's verbs write and apply."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from lockstep import cli
from lockstep.contract import load_models
from lockstep.develop.autogenerate import definitions, differences, models_database

MIGRATOR = Path(__file__).resolve().parents[2] / "migrator"
INI = """[alembic]
script_location = %(here)s
path_separator = os
models = %(here)s/models.py
timezone = UTC
file_template = %%(year)d_%%(month).2d_%%(day).2d_%%(hour).2d%%(minute).2d-%%(rev)s_%%(slug)s
"""
HEAD = """
import sqlalchemy as sa
from sqlalchemy import *
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import *
class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s", "ck": "ck_%(table_name)s_%(constraint_name)s", "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s", "pk": "pk_%(table_name)s"})
"""


@dataclass(frozen=True, repr=False)
class Outcome:
    """What came of a verb."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.out}{self.err}"

    __repr__ = __str__


@dataclass(frozen=True)
class ModelsProject:
    """A project, and a database that it is applied to."""

    directory: Path
    server: str
    database: str

    @classmethod
    def make(cls, directory: Path, server: str, database: str, ini: str = "") -> ModelsProject:
        (directory / "versions").mkdir(parents=True)
        (directory / "alembic.ini").write_text(INI + ini)
        (directory / "models.py").write_text(HEAD)
        for name in ("env.py", "script.py.mako"):
            (directory / name).write_text((MIGRATOR / name).read_text())
        return cls(directory, server, database)

    def models(self, text: str, head: str = HEAD) -> None:
        (self.directory / "models.py").write_text(head + text)

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.directory / "versions").glob("*.py"))

    def texts(self) -> str:
        return "\n".join((self.directory / "versions" / name).read_text() for name in self.files())

    def by_hand(self, revision: str, up: str, down: str = "pass", after: str | None = None) -> None:
        body = (
            f"from alembic import op\nimport sqlalchemy as sa\nrevision = {revision!r}\ndown_revision = {after!r}\n"
            f"def upgrade():\n    {up}\ndef downgrade():\n    {down}\n"
        )
        (self.directory / "versions" / f"{revision}.py").write_text(body)

    def run(self, *arguments: str) -> Outcome:
        """Run a verb in this process."""
        out, err = io.StringIO(), io.StringIO()
        with (
            variables(MIGRATOR_SHADOW_URL=self.server, MIGRATOR_DATABASE_URL=self.database),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = cli.main([*arguments, "--config", str(self.directory / "alembic.ini")])
        return Outcome(code, out.getvalue(), err.getvalue())

    def write(self, *more: str) -> Outcome:
        return self.run("revision", "-m", "x", "--no-rehearsal", *more)

    def upgrade(self) -> Outcome:
        return self.run("upgrade", "--no-unknown-release")

    def engine(self) -> sa.Engine:
        return sa.create_engine(sa.make_url(self.database).set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)

    def execute(self, statement: str) -> list:
        with self.engine().begin() as connection:
            found = connection.exec_driver_sql(statement.replace("%", "%%"))
            return found.all() if found.returns_rows else []

    def metadata(self) -> sa.MetaData:
        return load_models(self.directory / "models.py")

    def catalog(self, metadata: sa.MetaData | None = None) -> definitions.Definitions:
        """Return what is in the database."""
        metadata = metadata or self.metadata()
        schemas = tuple(sorted({table.schema for table in metadata.tables.values() if table.schema}))
        with self.engine().connect() as connection:
            return definitions.read(connection, schemas)

    def unlike_models(self) -> list[str]:
        """Return in which ways the database is not what `create_all` makes."""
        metadata = self.metadata()
        with self.engine().connect() as connection:
            schemas = tuple(sorted({table.schema for table in metadata.tables.values() if table.schema}))
            now = definitions.read(connection, schemas)
            transaction = connection.begin()
            wanted = models_database.make(connection, [metadata], now, ours=lambda *_: True, schemas=schemas)
            transaction.rollback()
            named = models_database.named([metadata], connection.dialect)
            found, renamed, _ = differences.find(now, wanted, named, lambda *_: True)
            return [line for one in found for line in one.lines()] + list(map(str, renamed))

    def holds(self) -> None:
        """Assert what is always right: write, apply, nothing more to write, as the models say, and back again."""
        before = self.catalog()
        done = self.write()
        assert done.code == 0, done
        done = self.upgrade()
        assert done.code == 0, f"{done}\n{self.texts()}"
        assert self.unlike_models() == []
        done = self.write()
        assert "nothing was written" in done.out, f"{done}\n{self.texts()}"
        done = self.run("check")
        assert done.code == 0, done
        done = self.run("downgrade", "base", "--yes", "--ignore-live-releases", "test")
        assert done.code == 0, f"{done}\n{self.texts()}"
        assert self.catalog().things == before.things
        done = self.upgrade()
        assert done.code == 0, done


@contextlib.contextmanager
def variables(**given: str):
    """Set variables for the block."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
