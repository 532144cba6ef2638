"""Project: an Alembic project of its own in a directory of its own, with an env.py of four lines."""

import io
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory

from lockstep.develop import autogenerate

TEMPLATE = Path(__file__).resolve().parents[2] / "migrator" / "script.py.mako"
ENV = """
from alembic import context

given = context.config.attributes
context.configure(
    connection=given["connection"],
    target_metadata=given["metadata"],
    transaction_per_migration=True,
    **given["options"],
)
with context.begin_transaction():
    context.run_migrations()
"""


@dataclass(frozen=True)
class Project:
    """A script directory and the engine of the database it migrates."""

    directory: Path
    engine: sa.Engine
    safe: bool = True
    schemas: tuple[str, ...] = ()

    @classmethod
    def make(cls, directory: Path, engine: sa.Engine, **kw) -> "Project":
        (directory / "versions").mkdir(parents=True)
        (directory / "env.py").write_text(ENV)
        (directory / "script.py.mako").write_text(TEMPLATE.read_text())
        return cls(directory, engine, **kw)

    def naive(self) -> "Project":
        """A second project on the same database, which writes what Alembic alone would."""
        return Project.make(self.directory / "naive", self.engine, safe=False, schemas=self.schemas)

    def config(self, metadata: sa.MetaData | None, connection: sa.Connection) -> Config:
        config = Config(stdout=io.StringIO(), output_buffer=io.StringIO())
        config.set_main_option("script_location", str(self.directory))
        config.set_main_option("path_separator", "os")
        config.set_main_option("timezone", "UTC")
        config.set_main_option(
            "file_template",
            "%%(year)d_%%(month).2d_%%(day).2d_%%(hour).2d%%(minute).2d-%%(rev)s_%%(slug)s",
        )
        options = autogenerate.options(connection, safe=self.safe, schemas=self.schemas)
        config.attributes.update(connection=connection, metadata=metadata, options=options)
        return config

    def revision(self, metadata: sa.MetaData, message: str = "change") -> tuple[list[Script], tuple[str, ...]]:
        """What autogenerate writes, oldest first, and the review."""
        with self.engine.connect() as connection:
            config = self.config(metadata, connection)
            written = command.revision(config, message=message, autogenerate=True)
            scripts = written if isinstance(written, list) else [written]
            return [script for script in scripts if script], autogenerate.review(config)

    def upgrade(self, revision: str = "head") -> None:
        with self.engine.connect() as connection:
            command.upgrade(self.config(None, connection), revision)

    def downgrade(self, revision: str = "base") -> None:
        with self.engine.connect() as connection:
            command.downgrade(self.config(None, connection), revision)

    def check(self, metadata: sa.MetaData) -> None:
        with self.engine.connect() as connection:
            command.check(self.config(metadata, connection))

    def scripts(self) -> list[Script]:
        """Every revision, oldest first."""
        found = ScriptDirectory(str(self.directory)).walk_revisions()
        return list(found)[::-1]


def titled(script: Script) -> str:
    """The message a revision was written with."""
    return script.doc[:1].lower() + script.doc[1:].removesuffix(".")
