"""Scope: whether a name of the database is ours to compare.

An allow-list: a schema nobody named is somebody else's, and so is whatever an extension brought. A partition is its
parent's.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa

_NOT_OURS = sa.text(
    """
    select n.nspname, c.relname
    from pg_depend d
    join pg_class c on c.oid = d.objid
    join pg_namespace n on n.oid = c.relnamespace
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'
    union all
    select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relispartition
    """
)

NameFilter = Callable[[str | None, str, Mapping[str, Any]], bool]


def name_filter(connection: sa.Connection | None, schemas: tuple[str, ...], ledger_schema: str) -> NameFilter:
    """Alembic's `include_name`: the default schema and the named ones, less partitions and what extensions own."""

    @cache
    def not_ours() -> frozenset[tuple[str, str]]:
        # asked on first use: a statement before `context.configure` opens a transaction,
        # and `autocommit_block` then fails
        if connection is None:
            return frozenset()
        return frozenset((schema, name) for schema, name in connection.execute(_NOT_OURS))

    def include_name(name: str | None, type_: str, parents: Mapping[str, Any]) -> bool:
        if type_ == "schema":
            return name is None or (name in schemas and name != ledger_schema)
        if type_ in {"table", "index"}:
            schema = parents.get("schema_name") or _default_schema(connection)
            return (schema, name) not in not_ours()
        return True

    return include_name


def _default_schema(connection: sa.Connection | None) -> str:
    return (connection.dialect.default_schema_name if connection else None) or "public"
