"""Tenants: a release's contract and the schemas that it reports in, what it needs in each of them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.catalog import Catalog
    from lockstep_gate.contract import Contract, Table

# By table and schema: the same value each time, as what was found of a table is kept by its identity.
Copies = dict[tuple[int, str], tuple["Table", "Table"]]


def in_schemas(needed: Contract, schemas: tuple[str, ...], catalog: Catalog, copies: Copies) -> Contract:
    """Return the contract with every table as each tenant has it, who finds it by search path or schema translation.

    A table without a schema, or in one that there is not (`schema_translate_map`), is meant in all reported schemas
    that have a table of its name; where none has one it is left as it is.
    """
    if not schemas:
        return needed
    return needed._replace(tables=tuple(one for table in needed.tables for one in _of(table, schemas, catalog, copies)))


def _of(table: Table, schemas: tuple[str, ...], catalog: Catalog, copies: Copies) -> Iterator[Table]:
    there = catalog.find((table.schema, table.name)) is not None
    if table.schema is not None and there:
        yield table
        return
    of_tenants = [schema for schema in schemas if catalog.find((schema, table.name)) is not None]
    if there or not of_tenants:
        yield table
    for schema in of_tenants:
        known = copies.get((id(table), schema))
        if known is None or known[0] is not table:
            known = copies[id(table), schema] = (table, table._replace(schema=schema))
        yield known[1]
