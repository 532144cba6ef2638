"""Dry run: a step that could not be rolled back in; the schema before and after it, on a throw-away copy, out.

What runs in an `autocommit_block` stays, whatever the contracts say afterwards. So it runs first on a database made
for it beside the real one, brought there by the same revisions, where the role may create databases.
"""

from __future__ import annotations

import ast
import contextlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from migrator import catalog, connect, environment, plan, render, statements
from migrator.errors import MigratorError, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from migrator.catalog import Catalog
    from migrator.environment import Project
    from migrator.means import Means
    from migrator.plan import Step

PREFIX = "migrator_copy_"
_OURS = "SELECT oid FROM pg_database WHERE datname = current_database()"


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
        raise NotForeseen(error.message) from error


def _is_harmless(sql: str) -> bool:
    statement = statements.parse(sql)
    return statement.patient or statement.reads or statement.ends_transaction  # BEGIN and COMMIT around the block


@contextlib.contextmanager
def _copy(means: Means) -> Iterator[tuple[Project, Engine]]:
    """Make an empty database for the copy; it is dropped at the end."""
    import psycopg2  # noqa: PLC0415
    import sqlalchemy as sa  # noqa: PLC0415

    try:
        prefix = PREFIX + str(means.control.row(_OURS)[0]) + "_"
        _drop_left_behind(means, prefix)
        name = prefix + secrets.token_hex(6)
        means.control.rows(f"CREATE DATABASE {name} TEMPLATE template0")
    except psycopg2.Error as error:
        raise NotForeseen(error.diag.message_primary or "no database could be made for the copy") from None
    try:
        url = sa.make_url(means.control.where.dsn).set(database=name).render_as_string(hide_password=False)
        settings = means.settings._replace(database_url=url)
        engine = connect.migrating_engine(connect.address(url), settings)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA migrator")
        yield environment.load(settings), engine
    finally:
        with contextlib.suppress(MigratorError, psycopg2.Error):
            means.control.rows(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _drop_left_behind(means: Means, prefix: str) -> None:
    """Drop copies that a killed run left: the lock is held, so none of this database's is in use."""
    left = means.control.rows("SELECT quote_ident(datname) FROM pg_database WHERE starts_with(datname, %s)", (prefix,))
    for (name,) in left:
        means.control.rows(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


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
