"""Reach: from the tables that releases map, all that their statements meet: what is behind them, as far as it goes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from lockstep.contract.footprint import bodies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lockstep.contract.footprint.things import Snapshot, Thing

_CALL = re.compile(r'(?:"?([\w$]+)"?\.)?"?([\w$]+)"?\s*\(')
_WORD = re.compile(r"[\w$]+")
_SEQUENCE = re.compile(r"'([^']+)'::regclass")


class Reach(NamedTuple):
    """The relations by oid, and the functions and sequences by name; `through` are the functions that are run."""

    relations: frozenset[int]
    functions: frozenset[str]
    sequences: frozenset[str]
    blind: tuple[str, ...]  # functions whose body cannot be read

    def calls(self, thing: Thing) -> bool:
        """Tell whether a function is run by what the releases do."""
        return (thing["name"] or "") in self.functions


def reach(snapshot: Snapshot, mapped: Iterable[int]) -> Reach:
    """Follow everything from the mapped relations."""
    walk = _Walk(snapshot)
    for oid in mapped:
        walk.relation(oid)
    for one in snapshot.every("event trigger"):  # the release's own DDL, as of temporary tables, runs it
        if one["enabled"] not in {"D", "R"}:
            walk.function(one["function"] or "")
    return Reach(
        frozenset(walk.relations), frozenset(walk.functions), frozenset(walk.sequences), tuple(sorted(walk.blind))
    )


class _Walk:
    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        # Met, and followed to the end: one that is only met, by a foreign key, may still be mapped itself, later.
        self.relations: set[int] = set()
        self._followed: set[int] = set()
        self.functions: set[str] = set()
        self.sequences: set[str] = set()
        self.blind: set[str] = set()
        self._seen: set[int] = set()  # functions, by oid
        self.by_name: dict[str, list[Thing]] = {}
        for one in snapshot.every("function"):
            self.by_name.setdefault(one["name"] or "", []).append(one)
        self.named: dict[str, list[Thing]] = {}
        for one in snapshot.relations.values():
            self.named.setdefault(one.name, []).append(one)
        self.children: dict[int, list[int]] = {}
        self.referring: dict[int, list[int]] = {}
        for one in snapshot.relations.values():
            for parent in (one["parents"] or "").split():
                self.children.setdefault(int(parent), []).append(one.oid)
        for one in snapshot.every("constraint"):
            if one["type"] == "f":
                self.referring.setdefault(int(one["refers_to"] or 0), []).append(one.owner)
        self.types = {one.oid: one for one in snapshot.every("type")}

    def relation(self, oid: int) -> None:
        thing = self.snapshot.relations.get(oid)
        if thing is None or oid in self._followed:
            return
        self._followed.add(oid)
        self.relations.add(oid)
        for other in (*self.children.get(oid, ()), *map(int, (thing["parents"] or "").split())):
            self.relation(other)
        if thing["definition"]:
            self._names(bodies.statements(thing["definition"]), thing["definition"])
        for one in self.snapshot.of.get(oid, ()):
            self._owned(one)
        # A row that goes takes with it, or is held by, those that refer to it.
        for other in self.referring.get(oid, ()):
            self.relations.add(other)
            for one in self.snapshot.of.get(other, ()):
                if one.kind == "trigger":
                    self._owned(one)

    def _owned(self, one: Thing) -> None:
        if one.kind == "trigger":
            self.function(one["function"] or "")
        elif one.kind == "sequence":
            self.sequences.add(one.name)
        elif one.kind == "column":
            self._text(one["default"])
            domain = self.types.get(int(one["type_oid"] or 0))
            if domain is not None:
                self._text(domain["checks"])
                self._text(domain["default"])
        elif one.kind == "constraint" and one["type"] == "f":
            self.relations.add(int(one["refers_to"] or 0))
        elif one.kind in {"constraint", "index"}:
            self._text(one["definition"])
        elif one.kind == "policy":
            for text in filter(None, (one["using"], one["check"])):
                self._names(bodies.expression(text), text)
        elif one.kind == "rule":
            self._names(bodies.statements(one["definition"] or ""), one["definition"])

    def function(self, oid: str) -> None:
        if oid in self.snapshot.functions:
            self._run(self.snapshot.functions[oid])

    def _run(self, one: Thing) -> None:
        self.functions.add(one["name"] or "")
        if one.oid in self._seen:
            return
        self._seen.add(one.oid)
        if one["language"] in {"c", "internal"} or one["extension"]:
            return
        body = bodies.function(one["language"] or "", one["body"] or "")
        if not body.understood:
            self.blind.add(one.place)
        self._names(body, one["body"])

    def _text(self, text: str | None) -> None:
        if not text:
            return
        for _, name in _CALL.findall(text):
            self._call(name)
        for name in _SEQUENCE.findall(text):
            self.sequences.add(name.rpartition(".")[2].strip('"'))

    def _call(self, name: str) -> None:
        self.functions.add(name)
        for one in self.by_name.get(name, ()):
            if one.oid not in self._seen:
                self._run(one)

    def _names(self, body: bodies.Body, text: str | None) -> None:
        for _, name in body.relations:
            for one in self.named.get(name, ()):
                self.relation(one.oid)
        for _, name in body.functions:
            self._call(name)
        if any(name in {"nextval", "setval", "currval"} for _, name in body.functions):
            for literal in body.literals:
                self.sequences.add(literal.rpartition(".")[2].strip('"'))
        if not body.understood:
            # Made up as it runs, or another language: any word of it may be a name.
            self._text(text)
            for word in set(_WORD.findall(text or "")):
                for one in self.named.get(word, ()):
                    self.relation(one.oid)


def functions_of(snapshot: Snapshot, relation: int) -> Iterator[tuple[Thing, Thing]]:
    """Return the triggers of a relation, each with its function."""
    for trigger in snapshot.those("trigger", relation):
        function = snapshot.functions.get(trigger["function"] or "")
        if function is not None and trigger["enabled"] not in {"D", "R"}:
            yield trigger, function
