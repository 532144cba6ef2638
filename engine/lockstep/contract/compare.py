"""Compare: every need of a Contract that a Catalog does not fulfil. Pure, no I/O.

`since` is the catalog before the change. What is only a risk (a new CHECK, a new label) is a finding
when it is new; what the release has lived with so far is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.contract import catalog as offered
from lockstep.contract.columns import known_column, unknown_column
from lockstep.contract.rules import need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.catalog import Catalog, Relation
    from lockstep.contract.need import Need
    from lockstep_gate.contract import Contract, Table

_LIMITS = {"UNIQUE", "UNIQUE NULLS NOT DISTINCT", "CHECK", "EXCLUDE", "FOREIGN KEY", "REFERENCE", "CHECK OPTION"}
# A NULL in any of their columns lets the row pass.
_PASSED_BY_NULL = {"UNIQUE", "EXCLUDE", "FOREIGN KEY"}


class Untouched:
    """What was found of tables whose relation no step has touched since: nearly all, from one step to the next."""

    def __init__(self) -> None:
        """Begin with nothing found."""
        self.ground: tuple[Any, ...] = ()
        self.found: dict[int, tuple[Table, Relation, tuple[Need, ...]]] = {}

    def of(self, table: Table, catalog: Catalog, since: Catalog) -> tuple[Need, ...]:
        """Return the table's broken needs, from what is known where it has the same relation as before."""
        ground = (catalog.types, catalog.role)
        if ground != self.ground:
            self.ground, self.found = ground, {}
        relation = catalog.find((table.schema, table.name))
        if relation is None or relation is not since.find((table.schema, table.name)):
            return tuple(_table(table, catalog, since))
        known = self.found.get(id(table))
        if known is None or known[0] is not table or known[1] is not relation:
            known = self.found[id(table)] = (table, relation, tuple(_table(table, catalog, since)))
        return known[2]


def broken(
    contract: Contract, catalog: Catalog, *, since: Catalog | None = None, untouched: Untouched | None = None
) -> tuple[Need, ...]:
    """Return every need of the contract that the catalog does not satisfy, then every warning.

    `untouched` is what earlier comparisons found, where one refreshed catalog is compared after the other.
    """
    if untouched is None or since is None:
        found = [one for table in contract.tables for one in _table(table, catalog, since)]
    else:
        found = [one for table in contract.tables for one in untouched.of(table, catalog, since)]
    found += [one for name in contract.sequences for one in _sequence(name, catalog)]
    return tuple(sorted(found, key=lambda one: one.severity != "error"))


def _table(table: Table, catalog: Catalog, since: Catalog | None) -> Iterator[Need]:
    key = (table.schema, table.name)
    place = (table.schema, table.name, None)
    relation = catalog.find(key)
    before = since.find(key) if since else None
    if relation is None:
        yield need("table-missing", place, "the table", "nothing of that name")
        return
    yield from _writable(place, relation, before, since is None)
    yield from _columns(table, relation, before, catalog)
    yield from _rights(table, relation, before, since is None)
    yield from _row_security(table, relation, before, catalog.role, since is None)
    # Without a `since`, for a table that is new, and for one that nobody touched, nothing is new to the release.
    if before is not None and before is not relation:
        yield from _news(table, relation, before)


def _writable(
    place: tuple[str | None, str, str | None], relation: Relation, before: Relation | None, alone: bool
) -> Iterator[Need]:
    could = before.verbs if before else offered.VERBS
    unable = [verb for verb in could if verb not in relation.verbs]
    if unable or relation.kind == "sequence":
        # Models may map a view that they only read; what could be written so far is another matter.
        rule = "read-only" if alone and relation.kind != "sequence" else "not-writable"
        yield need(rule, place, f"to {' and '.join(unable)}", f"a {relation.kind} that refuses it")
    elif relation.unproven and not (before and before.unproven):
        yield need("view-trigger" if alone else "view-unproven", place, "a table or a view of one", relation.unproven)


def _columns(table: Table, relation: Relation, before: Relation | None, catalog: Catalog) -> Iterator[Need]:
    offers = {column.name: column for column in relation.columns}
    earlier = {column.name: column for column in before.columns} if before else {}
    for column in table.columns:
        place = (table.schema, table.name, column.name)
        there = offers.pop(column.name, None)
        if not {"INSERT", "UPDATE"} & set(relation.verbs):  # a view that is only read, or one that may not be any more
            column = column._replace(writes=False, may_write_null=False)  # noqa: PLW2901 - the same, as it is read
        if there is None:
            yield need("column-missing", place, "the column", "no such column")
        else:
            yield from known_column(place, column, there, earlier.get(column.name), relation, catalog)
    if "INSERT" in relation.verbs:
        for column in offers.values():
            if column.hidden and column.name in earlier:
                continue  # this view took no INSERT before either
            if column.name in earlier and earlier[column.name].required:
                continue  # a release that maps a part of a wide table has lived with it
            yield from unknown_column((table.schema, table.name, column.name), column)


def _news(table: Table, relation: Relation, before: Relation) -> Iterator[Need]:
    place = (table.schema, table.name, None)
    had = {(one.kind, one.columns, one.definition) for one in before.constraints}
    for one in relation.constraints:
        if (one.kind, one.columns, one.definition) in had:
            continue
        what = f"{one.kind} {one.name}" + (f" ({', '.join(one.columns)})" if one.columns else "")
        if one.kind in _LIMITS and not _passes_unset(one, table, relation):
            yield need("new-limit", place, "its writes accepted as before", f"a new {what}")
        elif one.kind in {"TRIGGER", "RULE"}:
            yield need("new-trigger", place, "its writes done as before", f"a new {what}")
        elif one.kind == "RULE INSTEAD":
            yield need("new-rule", place, "its writes done as before", f"a new {what}")
    have = {(one.columns, one.definition) for one in relation.constraints}
    for one in before.constraints:
        if one.kind == "UNIQUE" and (one.columns, one.definition) not in have:
            yield need("unique-gone", place, f"{', '.join(one.columns)} unique, if it upserts by it", f"no {one.name}")
    if relation.by_trigger and not before.by_trigger:
        yield need("view-trigger", place, "its writes done as before", "a view written by triggers")
    if not relation.catch_all and (before.catch_all or before.kind != relation.kind):
        yield need("partition-missing", place, "a place for every row", "partitions without a DEFAULT one")


def _passes_unset(one: offered.Constraint, table: Table, relation: Relation) -> bool:
    """Whether the release's rows pass for certain: they leave a column of it NULL."""
    if one.kind not in _PASSED_BY_NULL:
        return False
    known = {column.name for column in table.columns}
    return any(
        column.name in one.columns and column.name not in known and not column.not_null and not column.has_default
        for column in relation.columns
    )


def _rights(table: Table, relation: Relation, before: Relation | None, alone: bool) -> Iterator[Need]:
    place = (table.schema, table.name, None)
    if relation.schema_closed and (before is None or not before.schema_closed):
        yield need("right-lost", place, "USAGE on its schema", f"schema {relation.schema} closed to the app's role")
    before_missing = dict(before.missing_rights) if before else {}
    for verb, columns in relation.missing_rights:
        lost = _lost(table, verb, columns)
        if verb in before_missing:
            lost -= _lost(table, verb, before_missing[verb])
        if lost:
            rule = "right-missing" if alone and verb != "SELECT" else "right-lost"
            on = "" if "" in lost else f" on {', '.join(sorted(lost))}"
            yield need(rule, place, f"the right to {verb}{on}", "no such right for the app's role")


def _lost(table: Table, verb: str, columns: tuple[str, ...]) -> set[str]:
    """Return the columns of the release that the right is missing on; "" stands for the table."""
    # INSERT ... DEFAULT VALUES names no column, and asks for the right on the table.
    if verb == "DELETE" or (verb == "INSERT" and not any(column.writes for column in table.columns)):
        return {""}
    return {column.name for column in table.columns if column.name in columns and (column.writes or verb == "SELECT")}


def _row_security(
    table: Table, relation: Relation, before: Relation | None, role: str | None, alone: bool
) -> Iterator[Need]:
    place = (table.schema, table.name, None)
    if not relation.row_security or (before and before.row_security and before.policies == relation.policies):
        return
    shut = [verb for verb in offered.VERBS if not any(p.permissive and verb in p.verbs for p in relation.policies)]
    if shut and (role is not None or (before and not before.row_security)):
        yield need(
            "row-security", place, f"to {', '.join(shut)} its rows", "row level security without a policy for it"
        )
    elif not alone and any(policy.condition or not policy.permissive for policy in relation.policies):
        yield need("row-policy", place, "all its rows", "row level security with conditions")


def _sequence(name: tuple[str | None, str], catalog: Catalog) -> Iterator[Need]:
    relation = catalog.find(name)
    if relation is None or relation.kind != "sequence":
        yield need("sequence", (*name, None), "the sequence", "nothing of that name")
    elif relation.missing_rights or relation.schema_closed:
        yield need("sequence", (*name, None), "USAGE on the sequence", "no such right for the app's role")
