"""Models database: what `create_all` makes of a MetaData, on a throw-away copy of the database at head.

A copy and not an empty database: extensions, functions and types that revisions made by hand are what the models stand
on. What the models make themselves is dropped first, so that nothing of it is left over from the revisions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.named_types import NamedType
from sqlalchemy.types import TypeDecorator

from lockstep.develop.autogenerate import definitions
from lockstep.develop.autogenerate.definitions import Definitions, Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy.engine.interfaces import Dialect

    Ours = Callable[[str | None, str], bool]


def make(
    connection: sa.Connection,
    metadatas: Sequence[sa.MetaData],
    before: Definitions,
    *,
    ours: Ours,
    schemas: tuple[str, ...],
    leftovers: frozenset[str] = frozenset(),
    version_table: tuple[str | None, str] = (None, ""),
) -> Definitions:
    """Make the models' tables in place of those of the revisions; return what there is then. Runs in a transaction.

    `leftovers` are the sequences that revisions of autogenerate's made: without a model, they go.
    """
    run = connection.exec_driver_sql
    dialect = connection.dialect
    made = types(metadatas, dialect)
    gone = [key for key in before.things if key.kind == "table" and ours(key.schema, key.table)]
    if gone:
        run(_plain(f"DROP TABLE {', '.join(_name(dialect, key.schema, key.table) for key in gone)} CASCADE"))
    used = _used(before, gone)
    own_sequences = sequences(metadatas, dialect)
    for key in before.things:
        if key.kind in ("enum", "domain") and (key.schema, key.name) in made:
            run(_plain(f"DROP {'DOMAIN' if key.kind == 'domain' else 'TYPE'} {_name(dialect, *key[1::2])} CASCADE"))
        elif key.kind == "sequence" and (key.schema, key.name) in own_sequences:
            run(_plain(f"DROP SEQUENCE {_name(dialect, key.schema, key.name)} CASCADE"))
    own = {
        table.schema for metadata in metadatas for table in metadata.tables.values() if ours(table.schema, table.name)
    }
    for schema in own & set(schemas):
        run(_plain(f"CREATE SCHEMA IF NOT EXISTS {_name(dialect, schema)}"))
    for metadata in metadatas:
        kept = [table for table in metadata.tables.values() if ours(_default(dialect, table.schema), table.name)]
        metadata.create_all(connection, tables=kept)
    for key in before.things:
        left = key.kind == "sequence" and key.name in leftovers and (key.schema, key.name) not in own_sequences
        if left or (key.kind in ("enum", "domain") and key in used):
            _drop_unused(connection, key)
    return definitions.read(connection, schemas, version_table)


def types(metadatas: Iterable[sa.MetaData], dialect: Dialect) -> set[tuple[str | None, str]]:
    """Return the enums and domains that the models make themselves."""
    return {
        (_default(dialect, type_.schema), str(type_.name))
        for metadata in metadatas
        for table in metadata.tables.values()
        for column in table.columns
        for type_ in _beneath(column.type, dialect)
        if isinstance(type_, NamedType) and type_.create_type and type_.name
    }


def sequences(metadatas: Iterable[sa.MetaData], dialect: Dialect) -> set[tuple[str | None, str]]:
    """Return the sequences that the models name."""
    return {
        (_default(dialect, sequence.schema), sequence.name)
        for metadata in metadatas
        for sequence in metadata._sequences.values()  # noqa: SLF001 - what create_all itself goes through
    }


def named(metadatas: Iterable[sa.MetaData], dialect: Dialect) -> set[Key]:
    """Return the constraints that have a name in the models, as PostgreSQL cuts it; the others get one of its own."""
    formatted = dialect.identifier_preparer.format_constraint
    found = set()
    for metadata in metadatas:
        for table in metadata.tables.values():
            of_columns = (one for column in table.columns for one in column.constraints)
            for constraint in (*table.constraints, *of_columns):
                if constraint.name is not None and (name := formatted(constraint, _alembic_quote=False)):
                    found.add(Key("constraint", _default(dialect, table.schema), table.name, str(name)))
    return found


def _beneath(type_: Any, dialect: Dialect) -> Iterator[Any]:
    """Yield a type as the dialect has it, and what an array or a domain is of."""
    implementation = type_.dialect_impl(dialect)
    while isinstance(implementation, TypeDecorator):
        implementation = implementation.impl_instance.dialect_impl(dialect)
    yield implementation
    for part in ("item_type", "data_type"):
        if inner := getattr(implementation, part, None):
            yield from _beneath(inner, dialect)


def _used(before: Definitions, tables: Sequence[Key]) -> set[Key]:
    """Return the enums and domains that columns of these tables are of: made for them, by a revision."""
    places = {key[1:3] for key in tables}
    texts = {
        thing.get("type").removesuffix("[]").rpartition(".")[2].strip('"').replace('""', '"')
        for key, thing in before.things.items()
        if key.kind == "column" and key[1:3] in places
    }
    return {key for key in before.things if key.kind in ("enum", "domain") and key.name in texts}


def _drop_unused(connection: sa.Connection, key: Key) -> None:
    word = {"enum": "TYPE", "domain": "DOMAIN", "sequence": "SEQUENCE"}[key.kind]
    savepoint = connection.begin_nested()
    try:
        connection.exec_driver_sql(
            _plain(f"DROP {word} IF EXISTS {_name(connection.dialect, key.schema, key.name)} RESTRICT")
        )
    except sa.exc.DBAPIError:  # something else than a table of ours needs it: it stays
        savepoint.rollback()
    else:
        savepoint.commit()


def _default(dialect: Dialect, schema: str | None) -> str | None:
    return schema if schema != dialect.default_schema_name else None


def _name(dialect: Dialect, *names: str | None) -> str:
    preparer = dialect.identifier_preparer
    return ".".join(preparer.quote_identifier(name) for name in names if name).replace("%%", "%")


def _plain(sql: str) -> str:
    return sql.replace("%", "%%")
