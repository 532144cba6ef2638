"""Columns: what one column of a contract needs and the schema does not offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.contract import types
from lockstep.contract.rules import need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.catalog import Catalog, Relation
    from lockstep.contract.catalog import Column as Offered
    from lockstep.contract.need import Need
    from lockstep_gate.contract import Column

Place = tuple[str | None, str, str | None]


def known_column(
    place: Place, column: Column, there: Offered, before: Offered | None, relation: Relation, catalog: Catalog
) -> Iterator[Need]:
    """Find what a column that the release knows no longer gives it."""
    yield from _type(place, column, there, before)
    yield from _type_name(place, column, catalog)
    if column.writes and there.identity == "always" and column.may_omit_on_insert and there.updatable:
        yield need("identity-always", place, "to send its own numbers, if it does", "GENERATED ALWAYS")
    elif column.writes and not there.writable and relation.kind == "view" and (before is None or not before.writable):
        if before is None:
            yield need("read-only", place, "to write it, if it does", "a column of a view that cannot be written")
    elif column.writes and not there.writable:
        how = "GENERATED ALWAYS" if there.generated or there.identity else "a column of a view that cannot be written"
        yield need("not-assignable", place, "to write it", how)
    if there.not_null and column.may_write_null:
        yield need("null-refused", place, "to write NULL to it", "NOT NULL")
    elif there.required and column.may_omit_on_insert and not _filled(before, relation):
        yield need("default-gone", place, "to leave it out on INSERT", "NOT NULL without a default")
    if before and before.not_null and not there.not_null and not column.may_write_null:
        yield need("null-appears", place, "a value in every row it reads", "NULL allowed from now on")
    if there.closed_sequence and column.may_omit_on_insert:
        yield need("sequence", place, f"USAGE on {there.closed_sequence}", "no such right for the app's role")


def unknown_column(place: Place, there: Offered) -> Iterator[Need]:
    """Find what a column that the release does not know asks of its INSERTs."""
    if there.required:
        yield need("required-column", place, "INSERTs without it to work", "NOT NULL without a default")
    if there.closed_sequence:
        yield need("sequence", place, f"USAGE on {there.closed_sequence}", "no such right for the app's role")


def _filled(before: Offered | None, relation: Relation) -> bool:
    """Whether a BEFORE INSERT trigger fills it, as it did until now."""
    return relation.fills_rows and (before is None or before.required)


def _type(place: Place, column: Column, there: Offered, before: Offered | None) -> Iterator[Need]:
    if there.named and there.named.labels is not None and column.labels is not None:
        if not types.widens(column.type, there.type):
            yield need("column-type", place, column.type, there.type)
        else:
            yield from _labels(place, column, there.named.labels, before)
        return
    known, now = column.underlying or column.type, there.type
    if there.named and there.named.underlying is not None and not there.type.endswith("[]"):
        now = there.named.underlying
        if there.named.checks and column.type != there.type and (before is None or before.type != there.type):
            yield need("new-limit", place, "its writes accepted as before", f"the domain {there.type} with a CHECK")
    if column.labels is not None:
        if column.type.endswith("[]") or not types.holds_labels(column.labels, now):
            yield need("column-type", place, f"{column.type} ({', '.join(column.labels)})", there.type)
        elif before is None or before.type != there.type:
            yield need(
                "label-unknown", place, f"one of {', '.join(column.labels)}", f"{there.type}, which may hold anything"
            )
        return
    if not (types.widens(known, now) or types.widens(column.type, there.type)):
        yield need("column-type", place, column.type, there.type)
    elif known == "json" and now == "jsonb" and (before is None or before.type != there.type):
        yield need("type-functions", place, known, now)


def _labels(place: Place, column: Column, labels: tuple[str, ...], before: Offered | None) -> Iterator[Need]:
    known = column.labels or ()
    gone = [label for label in known if label not in labels]
    if gone and column.writes:
        yield need("label-gone", place, f"to write {', '.join(gone)}", f"an enum of {', '.join(labels)}")
    lived_with = (before.named.labels or ()) if before and before.named else ()
    new = [label for label in labels if label not in known and label not in lived_with]
    if new:
        yield need("label-unknown", place, f"one of {', '.join(known)}", f"{', '.join(new)} as well")


def _type_name(place: Place, column: Column, catalog: Catalog) -> Iterator[Need]:
    if column.labels is None and column.underlying is None:
        return
    name = column.type.replace('"', "").removesuffix("[]")
    if not any(name == f"{schema}.{type_}" or (visible and name == type_) for schema, type_, visible in catalog.types):
        yield need("type-name-gone", place, f"the type {name}, to cast to it", "no type of that name")
