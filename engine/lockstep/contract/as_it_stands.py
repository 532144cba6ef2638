"""As it stands: the schema taken as what one release needs that nobody knows anything of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep_gate.contract import Column, Contract, Table

if TYPE_CHECKING:
    from lockstep.contract.catalog import Catalog, Relation
    from lockstep.contract.catalog import Column as Offered


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
