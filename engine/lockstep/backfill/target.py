"""Target: the tables that hold a table's rows, each with the key by which it is walked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep.errors import Refused
from lockstep.postgres.statements import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    Rows = Callable[[str, dict[str, Any]], list[Any]]

INTEGERS = ("smallint", "integer", "bigint")

_FOUND = """
SELECT n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = to_regclass(%(name)s)"""

# Partitions, at any depth, and the children of inheritance; the table itself where it holds rows.
_HOLDERS = """
WITH RECURSIVE held AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %(namespace)s AND c.relname = %(relation)s
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN held ON i.inhparent = held.oid)
SELECT c.oid, n.nspname, c.relname, c.relkind FROM held JOIN pg_class c USING (oid)
  JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY n.nspname, c.relname"""

# The primary key; else a unique index that could be one. An index that is not valid yet finds not every row.
_KEY = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod)
  FROM (SELECT i.indexrelid, i.indkey, i.indnkeyatts FROM pg_index i
         WHERE i.indrelid = %(oid)s AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
           AND NOT EXISTS (SELECT 1 FROM unnest(i.indkey) WITH ORDINALITY AS k (number, place)
                             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
                            WHERE k.place <= i.indnkeyatts AND NOT coalesce(a.attnotnull AND a.attnum > 0, false))
         ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1) i
 CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (number, place)
  JOIN pg_attribute a ON a.attrelid = %(oid)s AND a.attnum = k.number
 WHERE k.place <= i.indnkeyatts ORDER BY k.place"""

_PARTITIONED_BY = """
SELECT a.attname FROM pg_partitioned_table p JOIN pg_attribute a
    ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs) WHERE p.partrelid = %(oid)s"""


@dataclass(frozen=True)
class Holder:
    """One table that holds rows, and the columns of its key with their types."""

    namespace: str
    relation: str
    columns: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def place(self) -> str:
        """Return its name as SQL."""
        return f"{quoted(self.namespace)}.{quoted(self.relation)}"

    @property
    def is_integer(self) -> bool:
        """Tell whether the key is one integer, so that n numbers in a row hold at most n rows."""
        return len(self.types) == 1 and self.types[0] in INTEGERS


def found(connection: Any, schema: str | None, table: str) -> tuple[str, str]:
    """Return schema and name of a table as the search path has it; raise Refused where there is none."""
    shown = f"{schema}.{table}" if schema else table
    name = ".".join(quoted(part) for part in (schema, table) if part)
    row = connection.exec_driver_sql(_FOUND, {"name": name}).one_or_none()
    if row is None:
        raise Refused(f"there is no table {shown} to backfill", "create it before, or correct the name")
    if row[2] not in "rp":
        raise Refused(f"{shown} is not a table", "backfill the table that holds the rows")
    return row[0], row[1]


def check(connection: Any, namespace: str, relation: str, columns: tuple[str, ...]) -> None:
    """Refuse a table that cannot be walked, and a change of what it is walked by."""

    def ask(sql: str, parameters: dict[str, Any]) -> list[Any]:
        return list(connection.exec_driver_sql(sql, parameters))

    for holder in holders(ask, namespace, relation):
        if moved := sorted(set(holder.columns) & set(columns)):
            raise Refused(
                f"the backfill of {relation} would set {', '.join(moved)}, the key it is walked by",
                "a key is moved by a new column beside it",
            )
    for row in ask(_HOLDERS, {"namespace": namespace, "relation": relation}):
        moved = sorted({found[0] for found in ask(_PARTITIONED_BY, {"oid": row[0]})} & set(columns))
        if moved:
            raise Refused(
                f"the backfill of {relation} would set {', '.join(moved)}, by which it is partitioned",
                "rows that change their partition are moved by hand",
            )


def parts(ask: Rows, namespace: str, relation: str) -> set[str]:
    """Return the names of a table, its partitions and its children."""
    return {relation, *(row[2] for row in ask(_HOLDERS, {"namespace": namespace, "relation": relation}))}


def holders(ask: Rows, namespace: str, relation: str) -> tuple[Holder, ...]:
    """Return the tables that hold a table's rows; raise Refused where one has no key to walk by."""
    made = []
    rows = ask(_HOLDERS, {"namespace": namespace, "relation": relation})
    if not rows:
        raise Refused(f"there is no table {namespace}.{relation} any more", "`migrator backfill cancel` ends it")
    for oid, schema, name, kind in rows:
        if kind == "p":
            continue
        if kind != "r":
            raise Refused(f"{name}, a part of {relation}, is a foreign table", "backfill it on its own server")
        key = ask(_KEY, {"oid": oid})
        if not key:
            raise Refused(
                f"{name} has no primary key to walk it by, and no unique index over columns that are NOT NULL",
                "add one (a unique index CONCURRENTLY), or write the change as a plain UPDATE in the revision "
                "where the table is small",
            )
        made.append(Holder(schema, name, tuple(row[0] for row in key), tuple(row[1] for row in key)))
    return tuple(made)
