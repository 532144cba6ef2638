"""Replay: bring a throw-away database to the head of a project's revisions, or load a checkpoint into it."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import psycopg2

from lockstep.develop.checkpoint import cluster, snapshot
from lockstep.develop.sandbox import throwaway
from lockstep.ledger import steps
from lockstep.postgres import connect
from lockstep.project import environment
from lockstep.project.checkpoint_file import NONE
from lockstep.report import Report
from lockstep.stop import interrupt
from lockstep.upgrade import connected_run, line
from lockstep.upgrade.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.project.environment import Project
    from lockstep.settings import Settings


@dataclasses.dataclass(frozen=True)
class Replayed:
    """A database at head: where, its version table as SQL names it, and what was there before the first revision."""

    url: str
    version_table: str
    heads: tuple[str, ...]
    seals: dict[str, str]
    roles_before: set[str]
    since: Any
    loaded: bool

    def snapshot(self) -> snapshot.Snapshot:
        """Return all that a checkpoint has to say of it."""
        return snapshot.take(self.url, self.version_table, self.roles_before)


@contextlib.contextmanager
def at(settings: Settings, project: Project, target: str = "head", *, checkpoint: str = NONE) -> Iterator[Replayed]:
    """Bring an empty database on a throw-away server to a revision: by every one in turn, or from a checkpoint."""
    was = project.config.get_main_option("sqlalchemy.url")
    with throwaway.database(replays=project) as url:
        with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            before = cluster.roles(cursor)
            cursor.execute("SELECT clock_timestamp()")
            since = cursor.fetchone()[0]
        environment.point(project, url)
        own = settings._replace(
            database_url=url, app_role="", app_password="", checkpoint=checkpoint, exposed_schemas="none"
        )
        try:
            with connected_run.connected(own, Report(quiet=True)) as run:
                outcome = line.migrate(run, project, Request(target=target, replay=True), Report(quiet=True))
                done = [(entry.id, entry.revision, entry.seal) for entry in steps.entries(run.control).values()]
                table, heads = _version(project, own, run)
            interrupt.heed()
            seals = {revision: seal or "" for _, revision, seal in sorted(done)}
            yield Replayed(url, table, heads, seals, before, since, bool(outcome.loaded))
        finally:
            if was:
                environment.point(project, was)


def _version(project: Project, own: Settings, run: Any) -> tuple[str, tuple[str, ...]]:
    """Return the version table and the heads in it, as the project's env.py has configured them."""
    found: list[tuple[str, tuple[str, ...]]] = []

    def work(context: Any, _arguments: dict[str, Any]) -> None:
        table = context._version  # noqa: SLF001 - the one place that knows schema and name
        preparer = context.dialect.identifier_preparer
        named = (
            "SELECT relnamespace::regnamespace || '.' || quote_ident(relname) FROM pg_class "
            "WHERE oid = to_regclass(%(t)s)"
        )
        name = context.connection.exec_driver_sql(named, {"t": preparer.format_table(table)}).scalar()
        found.append((name, tuple(sorted(context.get_current_heads()))))
        context.connection.rollback()

    engine = connect.migrating_engine(run.control.where, own)
    environment.inside(project, work, connect=engine.connect, reads=True, redirect=own.database_url)
    return found[0]
