"""Prepared: ask a question that the server plans once in a session.

The questions to the catalog are long, and planning one costs more than answering it for a single table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

# Without the setting the first five executions are planned anew. The transaction's end takes it back.
_GENERIC = "SET LOCAL plan_cache_mode = force_generic_plan; "
# The names of those that are there: for a statement that is sent anyway, before `note`.
THERE = "ARRAY(SELECT name::text FROM pg_prepared_statements WHERE starts_with(name, 'lockstep_'))"
_NOTED = "lockstep.postgres.prepared"


class Statement(NamedTuple):
    """One statement with $1, $2... of these types."""

    name: str
    types: tuple[str, ...]
    text: str

    def ask(self, connection: Connection, *arguments: Any) -> list[Any]:
        """Return its rows; it has to be prepared."""
        values = {f"a{number}": value for number, value in enumerate(arguments)}
        places = ", ".join(f"%({name})s" for name in values)
        return rows(connection, f"{_GENERIC}EXECUTE {self.name} ({places})", values)


def note(connection: Connection, there: Iterable[str]) -> None:
    """Tell `prepare` what is there on this connection, so that it need not ask; from then on it has to be told."""
    connection.info[_NOTED] = set(there)


def prepare(connection: Connection, *statements: Statement) -> None:
    """Prepare those that are not there, for the rest of the session: a revision may have said DEALLOCATE ALL."""
    there = connection.info.get(_NOTED)
    if there is None:
        [(there,)] = rows(connection, f"SELECT {THERE}")
    for one in statements:
        if one.name not in there:
            rows(connection, f"PREPARE {one.name} ({', '.join(one.types)}) AS {one.text}")
            if _NOTED in connection.info:
                connection.info[_NOTED].add(one.name)


def rows(connection: Connection, statement: str, parameters: dict[str, Any] | None = None) -> list[Any]:
    """Ask the driver itself, in the connection's transaction: SQLAlchemy's part would cost more than most answers."""
    if not connection.in_transaction():
        connection.begin()
    with connection.connection.cursor() as cursor:
        cursor.execute(statement, parameters or {})
        return cursor.fetchall() if cursor.description else []


def array(numbers: Iterable[int]) -> str:
    """Write an array literal, which costs the driver and the parser less than a list."""
    return "{" + ",".join(map(str, numbers)) + "}"
