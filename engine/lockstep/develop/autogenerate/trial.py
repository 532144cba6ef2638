"""Trial: ask PostgreSQL whether it would rewrite a table for a change of a column.

Asked of the server, on a throw-away copy of the table inside a savepoint: whether it rewrites depends
on the types, the volatility of a default, domains and the session's time zone, and no list of rules
says it as surely as the file node of the table and of its indexes does.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations, ops
from sqlalchemy.schema import Column
from sqlalchemy.types import TypeEngine

from lockstep.postgres.statements import unbound

COPY = "lockstep_trial"

_FILE_NODES = sa.text(
    """
    select c.relname, pg_relation_filenode(c.oid)
    from pg_class c
    where c.oid = to_regclass('pg_temp.lockstep_trial')
       or c.oid in (select indexrelid from pg_index where indrelid = to_regclass('pg_temp.lockstep_trial'))
    """
)


class UntriedError(Exception):
    """The connection may not make a temporary table: it reads only, or its role lacks the right."""


@contextmanager
def throw_away(connection: sa.Connection, definition: str) -> Iterator[None]:
    """Make a temporary table that is gone, with all that was done to it, when the block is left."""
    savepoint = connection.begin_nested()
    try:
        # timestamp to timestamptz is free in UTC only; production may use another zone
        connection.exec_driver_sql("set local timezone = 'America/New_York'")
        try:
            connection.exec_driver_sql(f"create temporary table {COPY} {definition}".replace("%", "%%"))
        except sa.exc.DBAPIError as error:
            raise UntriedError(str(error.orig).splitlines()[0]) from None
        yield
    finally:
        savepoint.rollback()


def added(connection: sa.Connection, like: str, column: Column, prelude: tuple[str, ...]) -> bool:
    """Whether adding the column to the table rewrites it."""
    copy = column._copy()  # noqa: SLF001 -- a column belongs to one table
    # whether the column is filled is not the question here, and NOT NULL fails on no row
    return rewrites(connection, like, prelude, lambda op: op.add_column(COPY, copy))


def altered(connection: sa.Connection, like: str, op: ops.AlterColumnOp, prelude: tuple[str, ...]) -> bool:
    """Whether changing the column's type rewrites the table or rebuilds one of its indexes."""
    using = {key: op.kw[key] for key in ("postgresql_using",) if key in op.kw}
    return rewrites(
        connection,
        like,
        prelude,
        lambda run: run.alter_column(COPY, op.column_name, type_=_without_check(op.modify_type), **using),
    )


def _without_check(type_: TypeEngine) -> TypeEngine:
    """Return a type that brings no CHECK of its own: the copy of the table has the one that is there."""
    if not getattr(type_, "create_constraint", False):
        return type_
    bare = copy.copy(type_)
    bare.create_constraint = False  # type: ignore[attr-defined] - an Enum or a Boolean
    return bare


def _file_nodes(connection: sa.Connection) -> dict[str, int]:
    return dict(connection.execute(_FILE_NODES).all())


def verbatim(statement: str) -> sa.TextClause:
    """Return a statement in which a colon is a colon."""
    return sa.text(unbound(statement))


def rewrites(
    connection: sa.Connection, like: str, prelude: tuple[str, ...], change: Callable[[Operations], object]
) -> bool:
    """Whether a change of the copy gives it, or one of its indexes, another file."""
    with throw_away(connection, f"(like {like} including all)"):
        for statement in prelude:
            connection.exec_driver_sql(statement.replace("%", "%%"))
        before = _file_nodes(connection)
        change(Operations(MigrationContext.configure(connection)))
        after = _file_nodes(connection)
        return any(after.get(name) != node for name, node in before.items())
