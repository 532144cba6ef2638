"""Views: a view as a release meets it, by the relations beneath it.

An automatically updatable view takes NULL or a missing value only where its table does, so its columns are
shown with the defaults and NOT NULLs of the columns they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lockstep.contract.catalog.snapshot import Column, Relation

# Column number of the view -> the (relation, column number) pairs its stored query names for it.
Origins = Mapping[int, set[tuple[int, int]]]


class Found(NamedTuple):
    """One relation as the catalog has it, its columns by number."""

    relation: Relation
    columns: Mapping[int, Column]
    origins: Origins
    invoker: bool = False


def seen_through(one: Found, found: Mapping[int, Found]) -> Relation:
    """Return the relation as a release meets it; for anything but a plain view, as it is."""
    relation = one.relation
    if relation.kind != "view" or "INSERT" not in relation.verbs or "INSERT" in relation.by_trigger:
        return relation
    bases = {oid for pairs in one.origins.values() for oid, _ in pairs if oid}
    base = found.get(bases.pop()) if len(bases) == 1 else None
    if base is None or any(len(pairs) != 1 for pairs in one.origins.values()):
        return relation._replace(unproven="a view whose columns cannot be followed to one table")
    beneath = seen_through(base, found)
    # What a view beneath hides comes last in its columns, and has no number here.
    below = dict(zip(base.columns, beneath.columns, strict=False))
    pairs = [(column, below.get(_origin(one.origins, number))) for number, column in one.columns.items()]
    joined = _joined(relation, beneath, pairs)
    return _invoked(joined, beneath, _names(pairs)) if one.invoker else joined


def _origin(origins: Origins, number: int) -> int:
    return next((base_number for _, base_number in origins.get(number, ())), 0)


def _names(pairs: list[tuple[Column, Column | None]]) -> dict[str, str]:
    """Map the names beneath to the names in the view."""
    return {below.name: column.name for column, below in pairs if below}


def _joined(view: Relation, beneath: Relation, pairs: list[tuple[Column, Column | None]]) -> Relation:
    names = _names(pairs)
    # A required column that the view hides is one the release does not know: it is shown as one.
    hidden = tuple(
        one._replace(updatable=False, hidden=True) for one in beneath.columns if one.required and one.name not in names
    )
    limits = tuple(
        one._replace(columns=tuple(names.get(column, column) for column in one.columns)) for one in beneath.constraints
    )
    return view._replace(
        columns=tuple(_over(column, below) for column, below in pairs) + hidden,
        constraints=view.constraints + limits,
        unproven=beneath.unproven,
        fills_rows=beneath.fills_rows,
        catch_all=beneath.catch_all,
    )


def _invoked(view: Relation, beneath: Relation, names: Mapping[str, str]) -> Relation:
    """Ask for the rights on the table beneath as well: the view reads with those of whoever asks."""
    missing = tuple(
        (verb, tuple(names[one] for one in columns if one in names)) for verb, columns in beneath.missing_rights
    )
    return view._replace(
        missing_rights=view.missing_rights + missing,
        row_security=beneath.row_security,
        policies=beneath.policies,
        schema_closed=view.schema_closed or beneath.schema_closed,
    )


def _over(column: Column, below: Column | None) -> Column:
    """Give a view's column what holds for the column beneath it."""
    if below is None:
        return column
    own = column.has_default or column.null_default
    if own and (below.generated or below.identity == "always"):
        # The view's own default is a value, and the column beneath takes none: no INSERT without it works.
        return column._replace(not_null=True, has_default=False, updatable=False)
    if column.null_default:  # the view's NULL, instead of what the column beneath would be filled with
        return column._replace(not_null=below.not_null or bool(below.identity))
    return column._replace(
        not_null=below.not_null,
        has_default=column.has_default or below.has_default,
        identity=below.identity,
        generated=below.generated,
        closed_sequence=below.closed_sequence,
    )
