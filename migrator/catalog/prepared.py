"""Prepared: a statement in, its rows out, planned once in a session.

The questions to the catalog are long, and planning one costs more than answering it for a single table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

# Without the setting the first five executions are planned anew. The transaction's end takes it back.
_THERE = (
    "SET LOCAL plan_cache_mode = force_generic_plan; "
    "SELECT name FROM pg_prepared_statements WHERE starts_with(name, 'lockstep_')"
)


@dataclass(frozen=True)
class Statement:
    """One statement with $1, $2... of these types."""

    name: str
    types: tuple[str, ...]
    text: str

    def ask(self, connection: Connection, *arguments: Any) -> list[Any]:
        """Return its rows; it has to be prepared."""
        values = {f"a{number}": value for number, value in enumerate(arguments)}
        return rows(connection, f"EXECUTE {self.name} ({', '.join(f'%({name})s' for name in values)})", values)


def prepare(connection: Connection, *statements: Statement) -> None:
    """Prepare them for this transaction, those that are not: a revision may have said DISCARD ALL."""
    there = {name for (name,) in rows(connection, _THERE)}
    for one in statements:
        if one.name not in there:
            rows(connection, f"PREPARE {one.name} ({', '.join(one.types)}) AS {one.text}")


def rows(connection: Connection, statement: str, parameters: dict[str, Any] | None = None) -> list[Any]:
    """Ask straight through the driver: thousands of Row objects would cost more than the query."""
    cursor = connection.exec_driver_sql(statement, parameters or {}).cursor
    return cursor.fetchall() if cursor is not None and cursor.description else []


def array(numbers: Iterable[int]) -> str:
    """Write an array literal, which costs the driver and the parser less than a list."""
    return "{" + ",".join(map(str, numbers)) + "}"
