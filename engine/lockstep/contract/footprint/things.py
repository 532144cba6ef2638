"""Things: what a release's tables stand on, as frozen values; a snapshot is all of them by name."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

FIELDS = {
    "relation": (
        "kind", "populated", "row_security", "forced", "bound", "partition_key", "options", "definition", "rights",
        "parents", "published", "identified", "file", "silenced", "extension", "owner", "persistence",
        "acl",
    ),
    "column": ("number", "type", "not_null", "collation", "default", "identity", "generated", "type_oid", "modifier"),
    "constraint": (
        "type", "definition", "deferrable", "deferred", "valid", "refers_to", "columns", "parent", "enforced",
    ),
    "index": (
        "unique", "primary", "valid", "ready", "immediate", "definition", "predicate", "keys", "method", "types",
        "numbers",
    ),
    "trigger": ("definition", "enabled", "type", "function", "conditional"),
    "rule": ("definition", "enabled"),
    "policy": ("command", "permissive", "roles", "using", "check"),
    "function": (
        "name", "result", "language", "body", "settings", "kind", "definer", "volatility", "strict", "rights",
        "extension", "arguments", "defaults", "owner", "acl",
    ),
    "builtin": ("name", "rights"),
    "sequence": (
        "start", "increment", "minimum", "maximum", "cycles", "cache", "type", "last", "rights", "column", "acl",
    ),
    "type": (
        "type", "labels", "underlying", "not_null", "default", "checks", "attributes", "collation", "rights",
        "extension",
    ),
    "schema": ("rights", "acl"),
    "extension": ("version", "schema", "members"),
    "event trigger": ("event", "enabled", "function", "tags"),
    "role": ("can_login", "super", "inherits", "bypasses", "limit", "expired", "until", "memberships"),
    "setting": ("name", "value", "of_database"),
    "database": ("allows", "limit", "rights"),
    "other": ("what", "stamp"),
}  # fmt: skip
_PLACES = {kind: {name: place for place, name in enumerate(names)} for kind, names in FIELDS.items()}
Key = tuple[str, str, str, str]
"""(kind, schema, relation or "", name): what a release would call it."""


class Thing(NamedTuple):
    """One object of the database; `owner` is the relation it belongs to (of a setting: its role), or 0."""

    kind: str
    oid: int
    owner: int
    schema: str
    name: str
    facts: tuple[str | None, ...]

    def __getitem__(self, name: str) -> str | None:  # type: ignore[override] - facts by name, as the rules read them
        return self.facts[_PLACES[self.kind][name]]

    def is_(self, name: str) -> bool:
        """Tell whether a fact is true."""
        return self[name] in {"true", "t"}

    @property
    def place(self) -> str:
        """`schema.name`, as a person writes it."""
        return f"{self.schema}.{self.name}" if self.schema else self.name


class Change(NamedTuple):
    """One thing before and after; None where it was not, or is no more."""

    key: Key
    before: Thing | None
    after: Thing | None

    @property
    def kind(self) -> str:
        """What it is."""
        return self.key[0]

    @property
    def thing(self) -> Thing:
        """Return it as it is, else as it was."""
        found = self.after or self.before
        assert found is not None  # noqa: S101 - one of them is there, or it is no change
        return found

    def differs(self, *names: str) -> bool:
        """Tell whether one of these facts is another; false for what is new or gone."""
        return bool(self.before and self.after) and any(self.before[one] != self.after[one] for one in names)  # type: ignore[index]


class Snapshot:
    """All things by name; what belongs to a relation is found by its oid."""

    def __init__(self, things: Iterable[Thing]) -> None:
        """Name them."""
        self.relations: dict[int, Thing] = {}
        self.kinds: dict[str, dict[Key, Thing]] = {kind: {} for kind in FIELDS}
        self.of: dict[int, list[Thing]] = {}
        self._before: Snapshot | None = None
        self._touched: frozenset[Key] = frozenset()
        self._add(list(things))

    def _add(self, things: list[Thing]) -> None:
        self.relations |= {one.oid: one for one in things if one.kind == "relation"}
        for one in things:
            self.kinds[one.kind][self._key(one)] = one
            if one.owner:
                self.of.setdefault(one.owner, []).append(one)

    def patched(self, gone: Iterable[Thing], fresh: Iterable[Thing]) -> Snapshot:
        """Return this one without what is `gone` and with what is `fresh`; the rest is neither copied nor compared."""
        other = Snapshot(())
        gone, fresh = list(gone), list(fresh)
        old = {self._key(one) for one in gone}
        other.kinds = {kind: dict(named) for kind, named in self.kinds.items()}
        other.relations, other.of = dict(self.relations), dict(self.of)
        for key in old:
            del other.kinds[key[0]][key]
        for one in gone:
            if one.kind == "relation":
                other.relations.pop(one.oid, None)
        lost = set(map(id, gone))
        for owner in {one.owner for one in (*gone, *fresh) if one.owner}:
            other.of[owner] = [one for one in self.of.get(owner, ()) if id(one) not in lost]
        other._add(fresh)
        other._before, other._touched = self, frozenset(old | {other._key(one) for one in fresh})
        return other

    def _key(self, one: Thing) -> Key:
        # What a table owns is named by its table; a sequence has a name of its own.
        if one.owner and one.kind not in {"sequence", "setting"}:
            relation = self.relations.get(one.owner)
            return (
                one.kind,
                relation.schema if relation else "",
                relation.name if relation else str(one.owner),
                one.name,
            )
        return (one.kind, one.schema or "", "", one.name)

    def find(self, kind: str, schema: str, name: str) -> Thing | None:
        """Return what has this name of its own."""
        return self.kinds[kind].get((kind, schema, "", name))

    def those(self, kind: str, owner: int) -> list[Thing]:
        """Return what a relation has of a kind."""
        return [one for one in self.of.get(owner, ()) if one.kind == kind]

    def column(self, owner: int, name: str) -> Thing | None:
        """Return a column of a relation."""
        return next((one for one in self.those("column", owner) if one.name == name), None)

    def every(self, kind: str) -> list[Thing]:
        """Return all of a kind."""
        return list(self.kinds[kind].values())

    @cached_property
    def functions(self) -> dict[str, Thing]:
        """The functions by their oid, as a text."""
        return {str(one.oid): one for one in self.kinds["function"].values()}

    def is_after(self, other: Snapshot) -> bool:
        """Tell whether this one was patched from the other."""
        return self._before is other

    @property
    def touched_names(self) -> set[str]:
        """The names of relations that were patched."""
        return {key[3] for key in self._touched if key[0] == "relation"}

    def changes(self, after: Snapshot) -> tuple[Change, ...]:
        """Return what is new, gone or another afterwards."""
        if after._before is self:
            keys: Iterable[Key] = sorted(after._touched)
        else:
            keys = dict.fromkeys(key for one in (self, after) for named in one.kinds.values() for key in named)
        pairs = ((key, self.kinds[key[0]].get(key), after.kinds[key[0]].get(key)) for key in keys)
        return tuple(Change(key, was, now) for key, was, now in pairs if not _same(was, now))


_NOT_COMPARED = {
    "column": {"type_oid"}, "trigger": {"function"}, "index": {"types", "numbers"},
    "constraint": {"refers_to", "parent"},
}  # fmt: skip


def _same(one: Thing | None, other: Thing | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.facts == other.facts:
        return one.kind != "relation" or one.oid == other.oid
    skipped = {_PLACES[one.kind][name] for name in _NOT_COMPARED.get(one.kind, ())}
    return bool(skipped) and all(
        a == b for place, (a, b) in enumerate(zip(one.facts, other.facts, strict=True)) if place not in skipped
    )
