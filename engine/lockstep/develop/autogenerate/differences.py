"""Differences: what is not the same in what the revisions lead to and in what the models make."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from lockstep.develop.autogenerate.definitions import Definitions, Key, Thing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Ours = Callable[[str | None, str], bool]

# Of a table, only what models say of it: storage options and partitioning that a revision set by hand stay.
_ONE_SIDED = {"options", "partition key", "inherits"}


class Difference(NamedTuple):
    """One object as it is and as the models have it; None where there is none."""

    key: Key
    now: Thing | None
    wanted: Thing | None

    @property
    def aspects(self) -> tuple[str, ...]:
        """Return what of it differs, by name."""
        names = dict.fromkeys(name for thing in (self.now, self.wanted) if thing for name, _ in thing.aspects)
        old, new = (thing or Thing(()) for thing in (self.now, self.wanted))
        one_sided = _ONE_SIDED if self.wanted else set()
        return tuple(
            name for name in names if old.get(name) != new.get(name) and (name not in one_sided or new.get(name))
        )

    def lines(self) -> tuple[str, ...]:
        """Return both definitions, one line each."""
        return (
            f"{self.key}",
            f"  the revisions lead to: {described(self.now, self.aspects)}",
            f"  the models make:       {described(self.wanted, self.aspects)}",
        )

    def line(self, here: str = "here", there: str = "in the models") -> str:
        """Return both definitions in one line, with words for where each of them is."""
        now, wanted = (described(thing, self.aspects) for thing in (self.now, self.wanted))
        return f"{self.key}: {now} {here}, {wanted} {there}"


class Renamed(NamedTuple):
    """A constraint or index that is there, under another name."""

    key: Key
    name: str


def find(
    now: Definitions, wanted: Definitions, named: set[Key], ours: Ours
) -> tuple[list[Difference], list[Renamed], list[Key]]:
    """Return what differs, what is called otherwise, and the tables that are nobody's to drop."""
    now = _as_called(now, wanted, named)
    kept = [key for key, thing in now.things.items() if _belongs_to_parent(key, thing, wanted)]
    foreign = {key[1:3] for key in kept}
    found = []
    for key in sorted({*now.things, *wanted.things}, key=_order):
        if key.table and (key[1:3] in foreign or not ours(key.schema, key.table)):
            continue
        one = Difference(key, now.things.get(key), wanted.things.get(key))
        if (key.kind == "schema" and one.wanted is None) or not _differs(one):
            continue
        found.append(one)
    found, renamed = _renamed(found)
    return found, renamed, kept


def described(thing: Thing | None, aspects: Iterable[str]) -> str:
    """Return the aspects of one side as a person reads them."""
    if thing is None:
        return "nothing"
    if set(dict(thing.aspects).values()) >= {"0"}:
        return ", ".join(name for name, _ in thing.aspects)
    values = [(name, thing.get(name)) for name in aspects]
    if len(values) == 1 and values[0][0] != "type":
        return values[0][1] or f"no {values[0][0]}"
    return ", ".join(f"{name} {value}" for name, value in values if value) or "as it stands"


def _order(key: Key) -> tuple[str, ...]:
    return tuple(part or "" for part in (key.schema, key.table, key.kind, key.name))


def _differs(one: Difference) -> bool:
    return one.now is None or one.wanted is None or bool(one.aspects)


def _belongs_to_parent(key: Key, thing: Thing, wanted: Definitions) -> bool:
    return key.kind == "table" and key not in wanted.things and bool(thing.get("inherits"))


def _as_called(now: Definitions, wanted: Definitions, named: set[Key]) -> Definitions:
    """Return what is there, with constraints without a name in the models called as the server calls those."""
    things = dict(now.things)
    free = {}
    for key, thing in now.things.items():
        if key.kind == "constraint" and wanted.things.get(key) != thing:
            free.setdefault((key[1:3], thing.get("definition")), []).append(key)
    for key, thing in wanted.things.items():
        if key.kind != "constraint" or key in named or things.get(key) == thing:
            continue
        candidates = free.get((key[1:3], thing.get("definition")), [])
        if candidates:
            old = candidates.pop()
            called = things.pop(old)
            if key in things:  # another one is called so: it gets the name that is free now
                things[old] = things.pop(key)
            things[key] = called
    return replace(now, things=things)


def _renamed(found: list[Difference]) -> tuple[list[Difference], list[Renamed]]:
    """Take what only has another name out of what differs."""
    gone = {}
    for one in found:
        if one.wanted is None and one.key.kind in ("constraint", "index"):
            gone.setdefault(_without_name(one.key, one.now), []).append(one)
    renamed, over = [], set()
    for one in found:
        if one.now is None and one.key.kind in ("constraint", "index"):
            for old in gone.get(_without_name(one.key, one.wanted), ())[:1]:
                gone[_without_name(one.key, one.wanted)].remove(old)
                renamed.append(Renamed(old.key, one.key.name))
                over |= {old.key, one.key}
    return [one for one in found if one.key not in over], renamed


def _without_name(key: Key, thing: Thing | None) -> tuple[object, ...]:
    text = thing.get("definition") if thing else ""
    if key.kind == "index":
        text = re.sub(r"^(CREATE (?:UNIQUE )?INDEX )(?:\"(?:[^\"]|\"\")*\"|\S+)( ON )", r"\1\2", text)
    return (key.kind, key.schema, key.table, text, thing and thing.get("comment"))
