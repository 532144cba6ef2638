"""Rows: one table's reads and writes, each a single statement in a transaction of its own.

Columns are always named and only given values are written, so that a column this release does not know, or
one it leaves out, is nobody's business here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert as sql_insert
from sqlalchemy import select
from sqlalchemy import update as sql_update

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine, Table

Row = dict[str, Any]


def insert(engine: Engine, table: Table, values: Mapping[str, Any]) -> Row:
    """Add a row and return it as stored."""
    with engine.begin() as connection:
        return dict(connection.execute(sql_insert(table).values(**values).returning(*table.c)).mappings().one())


def get(engine: Engine, table: Table, row_id: int) -> Row | None:
    """Return the row, or None where there is none."""
    with engine.connect() as connection:
        row = connection.execute(select(*table.c).where(table.c.id == row_id)).mappings().one_or_none()
        return dict(row) if row else None


def page(engine: Engine, table: Table, *, after: int, limit: int, equal: Mapping[str, Any]) -> list[Row]:
    """Return up to `limit` rows beyond the id `after`, in the order of ids, whose columns equal what is given."""
    query = select(*table.c).where(table.c.id > after, *(table.c[name] == value for name, value in equal.items()))
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query.order_by(table.c.id).limit(limit)).mappings()]


def update(engine: Engine, table: Table, row_id: int, values: Mapping[str, Any]) -> Row | None:
    """Change the given columns and return the row as it is now, or None where there is none."""
    if not values:
        return get(engine, table, row_id)
    change = sql_update(table).where(table.c.id == row_id).values(**values).returning(*table.c)
    with engine.begin() as connection:
        row = connection.execute(change).mappings().one_or_none()
        return dict(row) if row else None


def delete(engine: Engine, table: Table, row_id: int) -> bool:
    """Take the row away; False where there was none."""
    with engine.begin() as connection:
        return connection.execute(sql_delete(table).where(table.c.id == row_id)).rowcount == 1
