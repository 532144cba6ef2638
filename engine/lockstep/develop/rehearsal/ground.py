"""Ground: databases of the rehearsal's own on a throw-away server, which are dropped afterwards.

Never anybody else's: each has a name nothing else has, and a server whose named database holds tables is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import psycopg2
from alembic.runtime.migration import MigrationStep
from sqlalchemy import make_url

from lockstep.develop.sandbox import throwaway, throwaway_seed
from lockstep.errors import Refused, Unreachable
from lockstep.postgres import connect
from lockstep.postgres.address import address
from lockstep.project import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.script import Script

    from lockstep.project.environment import Project
    from lockstep.settings import Settings

OURS = "rehearsal"
_HOLDS = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND n.nspname !~ '^pg_' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"""


def require_bare(url: str) -> None:
    """Refuse a server whose named database holds what nobody here made."""
    where = address(url, "--shadow-url")
    try:
        raw = connect.open_connection(where, connect.CONNECT_TIMEOUT_S)
        with contextlib.closing(raw), raw.cursor() as cursor:
            cursor.execute(_HOLDS)
            tables = cursor.fetchone()[0]
    except psycopg2.OperationalError as error:
        text = " ".join(str(error).split())
        raise Unreachable(f"{where.shown} does not answer: {text}", "check --shadow-url") from None
    if tables:
        raise Refused(
            f"{where.shown} holds {tables} tables that the rehearsal did not make",
            "name an empty database of a server for development, such as …/postgres; never production",
        )


@dataclasses.dataclass(frozen=True)
class Ground:
    """One database of ours: its URL, its engine's source, and the project as it is run there."""

    url: str
    settings: Settings
    project: Project

    def connect(self) -> Any:
        """Return a connection of psycopg2's own to it, marked as the rehearsal's."""
        raw = connect.open_connection(address(self.url), connect.CONNECT_TIMEOUT_S)
        with raw.cursor() as cursor:
            cursor.execute(f"SET application_name = '{OURS}'")
        raw.commit()
        return raw

    def run(self, work: Any) -> None:
        """Run the project's env.py on this database and on no other; `work(context, arguments)` does the rest."""
        expected = make_url(self.url).database

        def here(context: Any, arguments: dict[str, Any]) -> None:
            if context.connection.exec_driver_sql("SELECT current_database()").scalar() != expected:
                raise Refused(
                    "env.py connects to a database of its own choice",
                    "let it take its URL from the configuration: sqlalchemy.url",
                )
            context.connection.rollback()
            work(context, arguments)

        engine = connect.migrating_engine(address(self.url), self.settings)
        environment.inside(self.project, here, connect=engine.connect, redirect=self.url)

    def bring_to(self, scripts: list[Script]) -> None:
        """Run these revisions up, in order, as Alembic does."""

        def work(context: Any, arguments: dict[str, Any]) -> None:
            revisions = self.project.script.revision_map
            steps = [MigrationStep.upgrade_from_script(revisions, script) for script in scripts]
            context._migrations_fn = lambda *_: steps  # noqa: SLF001 - what alembic.command.upgrade sets
            context.run_migrations(**arguments)

        self.run(work)

    @contextlib.contextmanager
    def copied(self) -> Iterator[Ground]:
        """Give a copy of this database as it is now; it is dropped at the end."""
        with throwaway.copied(self.url) as url:
            yield _ground(url, self.settings)


@contextlib.contextmanager
def made(settings: Settings, server: str | None) -> Iterator[Ground]:
    """Make an empty database on a server, or on one started for it."""
    with throwaway.database(server) as url:
        ground = _ground(url, settings)
        throwaway_seed.sow(url, ground.project.config)
        with contextlib.closing(ground.connect()) as raw, raw.cursor() as cursor:
            cursor.execute("CREATE SCHEMA IF NOT EXISTS migrator")  # the version table may stand there
            raw.commit()
        yield ground


def _ground(url: str, settings: Settings) -> Ground:
    # A rehearsal is about locks, not about waiting for them: there is nobody else here.
    own = settings._replace(
        database_url=url, app_role="", app_password="", lock_timeout_ms=10_000, statement_timeout_ms=0,
        idle_timeout_ms=0,
    )  # fmt: skip
    return Ground(url, own, environment.load(own))
