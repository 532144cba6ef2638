"""Dry run: a step that could not be rolled back in; the schema before and after it, on a throw-away copy, out.

What runs in an `autocommit_block` stays, whatever the contracts say afterwards. So it runs first on a database made
for it beside the real one, brought there by the same revisions, where the role may create databases. The copy is
dropped at once; one that cannot be is named, and each run begins with dropping what earlier ones left.
"""

from __future__ import annotations

import ast
import contextlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep.contract import catalog
from lockstep.errors import MigratorError, Refused
from lockstep.ledger import fingerprint
from lockstep.postgres import connect, drop_database, statements
from lockstep.postgres.address import address
from lockstep.project import environment, plan, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from lockstep.contract.catalog import Catalog
    from lockstep.ledger.run_context import Means
    from lockstep.project.environment import Project
    from lockstep.project.plan import Step

_OURS = "SELECT oid FROM pg_database WHERE datname = current_database()"
_CANCEL_OURS = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = current_user"


@dataclass(frozen=True)
class Foreseen:
    """The catalog of the copy before and after a step."""

    before: Catalog
    after: Catalog


class NotForeseen(Exception):
    """The copy could not be made or brought to the step; the text says why."""


def is_needed(project: Project, step: Step) -> bool:
    """Tell whether a step leaves its transaction for more than what no contract can mind (an index, a VALIDATE)."""
    # The file's template names the block in its docstring: only a use of it counts.
    if not _names(step.path.read_bytes(), "autocommit_block"):
        return False
    rendered = render.step(project, step)
    if rendered.sql is None:
        return True
    texts = [text.strip() for text in rendered.sql.split(";\n") if text.strip()]
    return not all(_is_harmless(text.rstrip(";")) for text in texts)


def _names(source: bytes, name: str) -> bool:
    if name.encode() not in source:  # as in most files: no tree is needed to see that
        return False
    return any(name in (getattr(one, "attr", ""), getattr(one, "id", "")) for one in ast.walk(ast.parse(source)))


def foresee(means: Means, step: Step) -> Foreseen:
    """Run the history up to the step, then the step, on a copy; raise NotForeseen where that is not possible."""
    try:
        with _copy(means) as (project, engine):
            _bring_to(project, engine, step.alembic.revision.down_revision or "base")
            before = _read(engine)
            _bring_to(project, engine, step.revision)
            return Foreseen(before, _read(engine))
    except MigratorError as error:
        means.interrupt.check()  # else a statement that a signal cancelled would be the reason
        raise NotForeseen(error.message) from error


def _is_harmless(sql: str) -> bool:
    statement = statements.parse(sql)
    return statement.patient or statement.reads or statement.ends_transaction  # BEGIN and COMMIT around the block


@contextlib.contextmanager
def _copy(means: Means) -> Iterator[tuple[Project, Engine]]:
    """Make an empty database for the copy; it is dropped at the end."""
    import psycopg2  # noqa: PLC0415
    import sqlalchemy as sa  # noqa: PLC0415

    before = means.interrupt.cancel
    with _unhurried(means):
        try:
            name = f"{fingerprint.COPY}{means.control.row(_OURS)[0]}_{secrets.token_hex(6)}"
            means.control.rows(f"CREATE DATABASE {name} TEMPLATE template0")
        except psycopg2.Error as error:
            raise NotForeseen(error.diag.message_primary or "no database could be made for the copy") from None
        try:
            url = sa.make_url(means.control.where.dsn).set(database=name).render_as_string(hide_password=False)
            settings = means.settings._replace(database_url=url)
            engine = connect.migrating_engine(address(url), settings)
            with engine.begin() as connection:
                connection.exec_driver_sql("CREATE SCHEMA migrator")
            means.interrupt.cancel = lambda: means.control.rows(_CANCEL_OURS, (name,))
            yield environment.load(settings), engine
        finally:
            means.interrupt.cancel = lambda: None
            with contextlib.suppress(MigratorError):  # the connection is lost, and with it the run; the next one drops
                _drop(means, name)
            means.interrupt.cancel = before  # what the step itself runs next


def drop_left_behind(means: Means) -> None:
    """Drop the copies that earlier runs left: the lock is held, so none of this database's is in use."""
    left = means.control.rows(fingerprint.COPIES)
    if left:
        with _unhurried(means):
            for (name,) in left:
                if means.deadline.passed:  # somebody in each of them costs five seconds
                    _tell_left(means, name, "there was no time left for it")
                else:
                    _drop(means, name)


def _drop(means: Means, name: str) -> None:
    """Drop a copy, whoever is in it; say so where that cannot be."""
    import psycopg2  # noqa: PLC0415

    try:
        drop_database.database(means.control.rows, means.control.server_version, name)
    except psycopg2.Error as error:
        _tell_left(means, name, error.diag.message_primary or "the server does not say why")


def _tell_left(means: Means, name: str, reason: str) -> None:
    means.tell(f"left       {name}   a copy of the schema, which the next run is to drop: {reason}")


@contextlib.contextmanager
def _unhurried(means: Means) -> Iterator[None]:
    """Give the control connection the time that making and dropping a database takes on a busy server.

    Both wait for a checkpoint there, and for whoever just connects; what cut them short would leave the copy.
    """
    seconds = max(10, min(60, int(means.deadline.left())))
    try:
        means.control.rows(f"SET lock_timeout = '5s'; SET statement_timeout = '{seconds}s'")
        yield
    finally:
        with contextlib.suppress(MigratorError):  # the connection is lost, as whoever uses it next will say
            means.control.bound(means.settings)


def _bring_to(project: Project, engine: Engine, target: Any) -> None:
    """Run Alembic up to a target on the copy, and on nothing else: env.py may connect where it likes."""
    expected = engine.connect
    with expected() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar()

    def work(context: Any, arguments: dict[str, Any]) -> None:
        if context.connection.exec_driver_sql("SELECT current_database()").scalar() != name:
            raise Refused("env.py does not take its URL from sqlalchemy.url")
        context.connection.rollback()
        context._migrations_fn = lambda heads, _context: [  # noqa: SLF001 - what alembic.command.upgrade sets
            step
            for revision in ([target] if isinstance(target, str) else target)
            for step in plan.alembic_says(lambda: project.script._upgrade_revs(revision, heads))  # noqa: SLF001, B023
        ]
        context.run_migrations(**arguments)

    if target != "base":
        environment.inside(project, work, connect=expected)


def _read(engine: Engine) -> Catalog:
    with engine.connect() as connection:
        return catalog.read(connection, None)
