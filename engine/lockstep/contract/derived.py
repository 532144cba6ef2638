"""Derive: MetaData (or the catalog as it stands) in, the release's Contract out.

What counts is what SQLAlchemy sends. A Python-side default means the release always sends the column;
a column without any default is sent as NULL by the ORM when nobody set it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

from lockstep.contract.needs import Column, Contract, ContractError, Table
from lockstep.contract.types import canonical

if TYPE_CHECKING:
    from lockstep.contract.catalog import Catalog, Relation
    from lockstep.contract.catalog import Column as Offered

_DIALECT = PGDialect_psycopg2()


def derive(metadata: sa.MetaData) -> Contract:
    """Return what a release with these models needs of the schema."""
    sequences = {
        (column.default.schema, column.default.name)
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.default, sa.Sequence)
    }
    tables = (
        Table(table.schema, table.name, tuple(_column(column) for column in table.columns))
        for table in metadata.tables.values()
    )
    return Contract(tuple(tables), tuple(sorted(sequences, key=lambda one: (one[0] or "", one[1]))))


def of_catalog(catalog: Catalog) -> Contract:
    """Take the schema as it stands as what one unknown live release needs."""
    tables = (
        Table(schema, name, tuple(_as_it_stands(column, relation) for column in relation.columns if not column.hidden))
        for (schema, name), relation in catalog.relations.items()
        if relation.kind != "sequence"
    )
    return Contract(tuple(tables))


def _as_it_stands(column: Offered, relation: Relation) -> Column:
    writes = column.writable and "UPDATE" in relation.verbs
    return Column(
        name=column.name,
        type=column.type,
        may_write_null=writes and not column.not_null,
        may_omit_on_insert=not (writes and column.required),
        writes=writes,
        labels=column.named.labels if column.named else None,
        underlying=column.named.underlying if column.named else None,
    )


def _column(column: sa.Column) -> Column:
    implementation = _implementation(column.type)
    element = implementation
    while isinstance(element, sa.ARRAY):
        element = _implementation(element.item_type)
    enum = isinstance(element, sa.Enum) and element.native_enum
    writes = column.computed is None and not (column.identity is not None and column.identity.always)
    return Column(
        name=column.name,
        type=_text(column, column.type),
        may_write_null=bool(column.nullable) and writes,
        may_omit_on_insert=_may_omit(column),
        writes=writes,
        labels=tuple(element.enums) if enum else None,
        underlying=_text(column, implementation.data_type) if isinstance(implementation, DOMAIN) else None,
    )


def _may_omit(column: sa.Column) -> bool:
    if column.server_default is not None:  # Computed, Identity and FetchedValue are server defaults too
        return column.default is None
    if column.default is not None:
        return False
    return bool(column.nullable) or column is column.table.autoincrement_column


def _implementation(type_: TypeEngine) -> TypeEngine:
    """Return the PostgreSQL type beneath decorators and variants."""
    type_ = type_.dialect_impl(_DIALECT)
    while isinstance(type_, TypeDecorator):
        type_ = type_.impl_instance.dialect_impl(_DIALECT)
    return type_


def _text(column: sa.Column, type_: TypeEngine) -> str:
    if isinstance(_implementation(type_), NullType):
        raise ContractError(
            f"{column.table.fullname}.{column.name} has no type",
            "give the column a type: without one nobody can say what the release needs",
        )
    try:
        return canonical(type_.compile(dialect=_DIALECT))
    except sa.exc.CompileError as error:
        raise ContractError(
            f"{column.table.fullname}.{column.name}: PostgreSQL has no such type ({error})",
            "use a type that SQLAlchemy can write for PostgreSQL",
        ) from error
