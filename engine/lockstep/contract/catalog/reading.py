"""Reading: read a frozen snapshot of what the schema offers under certain names.

It runs in the migrating transaction, after each revision, so it is made to cost milliseconds on 200 tables.
"""

from __future__ import annotations

from collections import defaultdict
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from lockstep.contract.catalog import query
from lockstep.contract.catalog.snapshot import VERBS, Catalog, Column, Constraint, Name, NamedType, Policy, Relation
from lockstep.contract.catalog.views import Found, seen_through
from lockstep.postgres import prepared

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy import Connection

KINDS = {
    "r": "table", "p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table",
    "S": "sequence", "c": "composite type", "i": "index", "I": "index", "t": "toast table",
}  # fmt: skip
LIMITS = (
    "UNIQUE", "UNIQUE NULLS NOT DISTINCT", "CHECK", "NOT NULL", "EXCLUDE", "FOREIGN KEY", "REFERENCE",
    "TRIGGER", "RULE", "RULE INSTEAD",
)  # fmt: skip
BEFORE_INSERT_ROW = 7  # the bits of pg_trigger.tgtype
HAS_DEFAULT, HAS_DEFAULT_OR_GENERATED = 2, 18  # an expression that generates is kept as a default is
Rows = dict[str, dict[int, list[Any]]]


class Meant(NamedTuple):
    """Which relation each name means now, where views take their columns from, and the oid of the app's role."""

    names: Mapping[Name, int]
    origins: Mapping[int, Mapping[int, set[tuple[int, int]]]]
    role: int | None

    @property
    def oids(self) -> set[int]:
        """Everything to be read: what is meant, and what is beneath."""
        beneath = {oid for view in self.origins.values() for pairs in view.values() for oid, _ in pairs if oid}
        return {*self.names.values(), *beneath}


class Parts(NamedTuple):
    """What was read of relations, by oid, and of types."""

    found: Mapping[int, Found]
    spelled: Mapping[tuple[int, int], str]
    types: frozenset[tuple[str, str, bool]]


def read(connection: Connection, names: Iterable[Name] | None = None, *, app_role: str | None = None) -> Catalog:
    """Look up the names (None: all that a release can mean) and the rights of `app_role` on them.

    A name with schema None is resolved by the connection's search path. A role that does not exist has no
    live release behind it: its rights are not looked at, and `Catalog.role` is None.
    """
    meant = look_up(connection, names, app_role)
    return shown(meant, about(connection, meant.oids, meant, {}), app_role)


def look_up(
    connection: Connection, names: Iterable[Name] | None, app_role: str | None, *, again: bool = False
) -> Meant:
    """Find what the names mean; `again`: with the statement that is prepared."""
    wanted = list(dict.fromkeys(names)) if names is not None else []
    parameters = {"schemas": [one[0] for one in wanted], "names": [one[1] for one in wanted], "role": app_role}
    meant: dict[Name, int] = {}
    origins: dict[int, dict[int, set[tuple[int, int]]]] = defaultdict(lambda: defaultdict(set))
    role = None
    if again:
        answer = query.prepared_relations(names is None).ask(connection, *parameters.values())
    else:
        answer = prepared.rows(connection, query.relations(names is None), parameters)
    for section, oid, view, number, base_number, schema, name in answer:
        if section == "name":
            meant[schema, name] = oid
        elif section == "role":
            role = oid
        else:
            origins[view][number].add((oid, base_number))
    return Meant(meant, origins, role)


def about(
    connection: Connection,
    oids: Collection[int],
    meant: Meant,
    spelled: Mapping[tuple[int, int], str],
    content: prepared.Statement | None = None,
) -> Parts:
    """Read all about these relations; `spelled` are the types whose spelling is known."""
    rows = _content(connection, oids, meant.role, content)
    spellings = _spellings(connection, rows, spelled)
    types = _types(rows, spellings)
    found = {oid: _found(oid, rows, types, meant.origins.get(oid, {})) for oid in oids if oid in rows["relation"]}
    return Parts(found, spellings, frozenset((one.schema, one.name, one.visible) for one in types.named.values()))


def shown(meant: Meant, parts: Parts, app_role: str | None) -> Catalog:
    """Put the snapshot together."""
    found = parts.found
    relations = {name: seen_through(found[oid], found) for name, oid in meant.names.items() if oid in found}
    return Catalog(MappingProxyType(relations), parts.types, app_role if meant.role is not None else None)


def _content(
    connection: Connection, oids: Collection[int], role: int | None, content: prepared.Statement | None
) -> Rows:
    if content is None:
        version = (connection.dialect.server_version_info or (0,))[0]
        parameters = {"oids": prepared.array(oids), "role": role}
        answer = prepared.rows(connection, query.content(version), parameters)
    else:
        answer = content.ask(connection, prepared.array(oids), role)
    rows: Rows = defaultdict(lambda: defaultdict(list))
    for section, oid, *rest in answer:
        rows[section][oid].append(rest)
    return rows


class _Types:
    """How each (type, modifier) is spelled, the enums and domains by oid, and the columns made of them."""

    def __init__(
        self, spelled: dict[tuple[int, int], str], named: dict[int, NamedType], elements: dict[int, int]
    ) -> None:
        self.spelled, self.named, self.elements = spelled, named, elements
        # Tables have many a column in common (`id`, `created_at`), and a frozen one can be shared.
        self.made: dict[tuple[str, int, int, int], Column] = {}

    def column(self, name: str, flags: int, type_: int, modifier: int) -> Column:
        key = (name, flags, type_, modifier)
        if key not in self.made:
            self.made[key] = self._column(*key)
        return self.made[key]

    def _column(self, name: str, flags: int, type_: int, modifier: int) -> Column:
        domain = self.named.get(type_)
        return Column(
            name,
            self.spelled[type_, modifier],
            not_null=bool(flags & 1) or (domain is not None and domain.not_null),
            has_default=flags & HAS_DEFAULT_OR_GENERATED == HAS_DEFAULT or (domain is not None and domain.has_default),
            identity="by default" if flags & 4 else "always" if flags & 8 else "",
            generated=bool(flags & 16),
            named=domain or self.named.get(self.elements.get(type_, 0)),
        )


def _spellings(connection: Connection, rows: Rows, known: Mapping[tuple[int, int], str]) -> dict[tuple[int, int], str]:
    pairs = {(type_, modifier) for columns in rows["column"].values() for *_, type_, modifier in columns}
    pairs |= {(type_, modifier) for [[*_, type_, modifier]] in rows["type"].values() if type_}
    new = [pair for pair in pairs if pair not in known]
    parameters = {"types": [one[0] for one in new], "modifiers": [one[1] for one in new]}
    asked = prepared.rows(connection, query.SPELLINGS, parameters) if new else []
    return {**known, **{(type_, modifier): text for type_, modifier, text in asked}}


def _types(rows: Rows, spelled: dict[tuple[int, int], str]) -> _Types:
    named = {}
    for oid, [[name, checks, schema, flags, base, modifier]] in rows["type"].items():
        labels = tuple(label for label, *_ in sorted(rows["label"].get(oid, ()), key=itemgetter(1))) or None
        domain = bool(flags & 2)
        named[oid] = NamedType(
            schema, name, bool(flags & 1), None if domain else labels, spelled[base, modifier] if domain else None,
            bool(flags & 4), bool(flags & 8), checks,
        )  # fmt: skip
    return _Types(spelled, named, {oid: element for oid, [[*_, element, _]] in rows["array"].items()})


def _found(oid: int, rows: Rows, types: _Types, origins: dict[int, set[tuple[int, int]]]) -> Found:
    options = {name: value for name, _, value, *_ in rows["option"].get(oid, ())}
    columns = {
        number: types.column(name, flags, type_, modifier)
        for name, number, _, flags, type_, modifier in sorted(rows["column"].get(oid, ()), key=itemgetter(1))
    }
    for _, number, *_ in rows["null default"].get(oid, ()):
        columns[number] = columns[number]._replace(has_default=False, null_default=True)
    for name, number, *_ in rows["closed sequence"].get(oid, ()):
        columns[number] = columns[number]._replace(closed_sequence=name)
    for _, number, *_ in rows["shut column"].get(oid, ()):
        if number in columns:  # a foreign table's dropped column still has its number
            columns[number] = columns[number]._replace(updatable=False)
    limits = tuple(
        _constraint(kind, row[0], row[2], columns)
        for kind in LIMITS
        if oid in rows[kind]
        for row in sorted(rows[kind][oid], key=itemgetter(0))
    )
    # `CHECK (c IS NOT NULL)`, the first step of tightening without a scan, refuses NULL as NOT NULL does.
    checked = {one.columns[0] for one in limits if one.kind == "NOT NULL"}
    if checked:
        columns = {n: one._replace(not_null=True) if one.name in checked else one for n, one in columns.items()}
    if "check_option" in options:
        limits += (Constraint("CHECK OPTION", options["check_option"], (), options["check_option"]),)
    relation = _relation(oid, rows, tuple(columns.values()), limits)
    return Found(relation, columns, origins, options.get("security_invoker") in {"true", "on", "yes", "1"})


def _constraint(kind: str, name: str, text: str, columns: dict[int, Column]) -> Constraint:
    numbers, _, rest = text.partition("|")
    names = (columns[int(one)].name if int(one) in columns else "(expression)" for one in numbers.split())
    return Constraint(kind, name, tuple(names), rest)


def _relation(oid: int, rows: Rows, columns: tuple[Column, ...], limits: tuple[Constraint, ...]) -> Relation:
    [[name, with_triggers, schema, flags, kind, _]] = rows["relation"][oid]
    by_trigger = with_triggers & ~flags if chr(kind) == "v" else 0
    refused = {verb: rows[f"refused {verb}"].get(oid) for verb in (*VERBS, "USAGE")}
    return Relation(
        schema=schema,
        name=name,
        kind=KINDS.get(chr(kind), chr(kind)),
        columns=columns,
        constraints=limits,
        verbs=("SELECT", *_verbs(flags | by_trigger)),
        by_trigger=_verbs(by_trigger),
        fills_rows=any(row[1] & BEFORE_INSERT_ROW == BEFORE_INSERT_ROW for row in rows["TRIGGER"].get(oid, ())),
        row_security=bool(flags & 32),
        policies=tuple(_policy(row) for row in sorted(rows["policy"].get(oid, ()), key=itemgetter(0))),
        missing_rights=tuple(
            (verb, tuple(row[0] for row in sorted(found, key=lambda row: row[1] or 0) if row[0]))
            for verb, found in refused.items()
            if found
        ),
        schema_closed=bool(flags & 64),
        catch_all=bool(flags & 128),
    )


def _verbs(mask: int) -> tuple[str, ...]:
    # The bits of pg_relation_is_updatable(): 1 << CmdType.
    return tuple(verb for verb, bit in (("INSERT", 8), ("UPDATE", 4), ("DELETE", 16)) if mask & bit)


def _policy(row: list[Any]) -> Policy:
    name, permissive, condition, _, command, _ = row
    verbs = {"r": ("SELECT",), "a": ("INSERT",), "w": ("UPDATE",), "d": ("DELETE",)}.get(chr(command), VERBS)
    return Policy(name, verbs, bool(permissive), condition)
