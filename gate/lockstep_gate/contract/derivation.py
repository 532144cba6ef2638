"""Derivation: what a release needs of the schema, as its MetaData tells.

What counts is what SQLAlchemy sends. A Python-side default means the release always sends the column;
a column without any default is sent as NULL by the ORM when nobody set it.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

from lockstep_gate.contract.needs import Column, Contract, ContractError, Table
from lockstep_gate.contract.type_text import canonical

try:
    from sqlalchemy.dialects.postgresql import DOMAIN
except ImportError:  # SQLAlchemy 1.4 has none, and so has no models with one

    class DOMAIN(TypeEngine):  # type: ignore[no-redef]
        """Stands for the type that is not there."""


_DIALECT = PGDialect_psycopg2()
_OF_EVERY_TABLE = {"xmin", "xmax", "cmin", "cmax", "ctid", "tableoid"}
# A collation orders and compares; what the release reads and writes is the same type.
_COLLATION = re.compile(r' COLLATE (?:"(?:[^"]|"")*"|[\w.])+')


def derive(*metadatas: sa.MetaData) -> Contract:
    """Return what a release with these models needs of the schema; raise ContractError where nobody can say."""
    tables: dict[tuple[str | None, str], Table] = {}
    sequences: set[tuple[str | None, str]] = set()
    for metadata in metadatas:
        for each in metadata.tables.values():
            table = Table(each.schema, each.name, tuple(_column(one) for one in each.columns if not _is_system(one)))
            _add(tables, table)
            defaults = [column.default for column in each.columns]
            sequences |= {(one.schema, one.name) for one in defaults if isinstance(one, sa.Sequence)}
    return Contract(tuple(tables.values()), tuple(sorted(sequences, key=lambda one: (one[0] or "", one[1]))))


def _add(tables: dict[tuple[str | None, str], Table], table: Table) -> None:
    """Add a table; two MetaData objects may describe one, if they agree on it."""
    known = tables.setdefault((table.schema, table.name), table)
    if sorted(known.columns) != sorted(table.columns):
        raise ContractError(
            f"two MetaData objects describe {table.name}, and differ in it",
            "define the table on one of them, or alike on both",
        )


def _column(column: sa.Column) -> Column:
    implementation = _implementation(column.type)
    element = implementation
    while isinstance(element, sa.ARRAY):
        element = _implementation(element.item_type)
    enum = isinstance(element, sa.Enum) and element.native_enum
    writes = column.computed is None and not (column.identity is not None and column.identity.always)
    return Column(
        name=str(column.name),
        type=_text(column, column.type),
        may_write_null=bool(column.nullable) and writes,
        may_omit_on_insert=_may_omit(column),
        writes=writes,
        labels=tuple(map(str, element.enums)) if enum else None,
        underlying=_text(column, implementation.data_type) if isinstance(implementation, DOMAIN) else None,
    )


def _is_system(column: sa.Column) -> bool:
    """Tell whether every table has the column by itself: `xmin` as a version, say."""
    return column.system or column.name in _OF_EVERY_TABLE


def _may_omit(column: sa.Column) -> bool:
    if column.server_default is not None:  # Computed, Identity and FetchedValue are server defaults too
        return column.default is None
    if column.default is not None:
        return False
    return bool(column.nullable) or column is _autoincrement_column(column.table)


def _implementation(type_: TypeEngine) -> TypeEngine:
    """Return the PostgreSQL type beneath decorators and variants."""
    type_ = type_.dialect_impl(_DIALECT)
    while isinstance(type_, TypeDecorator):
        inner = getattr(type_, "impl_instance", None) or type_.impl
        type_ = inner.dialect_impl(_DIALECT)
    return type_


def _text(column: sa.Column, type_: TypeEngine) -> str:
    """Return a type's text: what it compiles to on PostgreSQL, whoever defined it."""
    place = f"{column.table.fullname}.{column.name}"
    try:
        is_without = isinstance(_implementation(type_), NullType)
        text = "" if is_without else canonical(_COLLATION.sub("", type_.compile(dialect=_DIALECT)))
    except sa.exc.CompileError as error:
        raise ContractError(
            f"{place}: PostgreSQL has no such type ({error})", "use a type that SQLAlchemy can write for PostgreSQL"
        ) from error
    except Exception as error:  # a type of somebody's own may raise anything
        raise ContractError(
            f"{place}: its type {type(type_).__name__} cannot be written for PostgreSQL: "
            f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            "see what the type's get_col_spec or load_dialect_impl does with PostgreSQL's dialect",
        ) from error
    if is_without:
        raise ContractError(
            f"{place} has no type", "give the column a type: without one nobody can say what the release needs"
        )
    return text


def _autoincrement_column(table: sa.Table) -> sa.Column | None:
    if hasattr(table, "autoincrement_column"):  # from SQLAlchemy 2.0 on
        return table.autoincrement_column
    return table._autoincrement_column  # noqa: SLF001 - its name in 1.4
