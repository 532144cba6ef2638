"""Scene: what a rule looks at: things before and after a step, the releases that live, the roles they sign in with."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from lockstep.contract.footprint import paths
from lockstep.contract.footprint.reach import Reach, reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lockstep.contract import Contract
    from lockstep.contract.footprint.look import Look
    from lockstep.contract.footprint.reading import Written
    from lockstep.contract.footprint.things import Change, Snapshot, Thing
    from lockstep_gate.contract.needs import Column, Table

BREAKS, UNKNOWN, HARMLESS = "breaks", "unknown", "harmless"


class Match(NamedTuple):
    """What a rule found: where, what the release needs, what it is offered; `owner` is the relation it is about."""

    thing: Thing | None
    needs: str
    offers: str
    owner: int = 0
    column: str | None = None
    verdict: str = ""  # another than the rule's own, where a look has told


class Rule(NamedTuple):
    """One way in which a change of what tables stand on does, may or cannot break a release.

    `check` is asked for every change of its `kinds`, or once for all of them where there are none.
    `bad` and `good` are statements on the examples' schema: `bad` is what the rule is for, `good` what to do instead.
    """

    id: str
    verdict: str
    title: str
    why: str
    cure: str
    kinds: tuple[str, ...]
    check: Callable[[Scene, Change], Iterator[Match]] | Callable[[Scene, None], Iterator[Match]]
    bad: str
    good: str = ""


class Scene:
    """One step, as the rules see it."""

    def __init__(
        self,
        before: Snapshot,
        after: Snapshot,
        roles: dict[int, str],
        contracts: Iterable[Contract],
        *,
        path: tuple[str, ...],
        rows: dict[int, Written],
        altered: frozenset[str] = frozenset(),
        look: Look,
        known: Callable[[Snapshot, frozenset[int]], Reach] | None = None,
    ) -> None:
        """`path` is the migrating session's own, for names that no role is known to look up."""
        self.before, self.after, self.roles, self.path = before, after, roles, path
        self.contracts = tuple(contracts)
        self.rows, self.altered, self.look = rows, altered, look
        self.drivers: frozenset[str] = frozenset()  # of the live releases; "" is one that nobody told
        self.changes = before.changes(after)
        self._reach = known or reach

    @property
    def has_changed(self) -> bool:
        """Tell whether there is anything to judge."""
        return bool(self.changes or self.rows or "pg_authid" in self.altered)

    @cached_property
    def mapped_before(self) -> dict[int, list[Table]]:
        """The relations that releases map, as they were."""
        return self._mapped(self.before)

    @cached_property
    def mapped_after(self) -> dict[int, list[Table]]:
        """The relations that releases map, as they are."""
        return self._mapped(self.after)

    @cached_property
    def reach_before(self) -> Reach:
        """All that the releases met."""
        return self._reach(self.before, frozenset(self.mapped_before))

    @cached_property
    def reach_after(self) -> Reach:
        """All that the releases meet."""
        return self._reach(self.after, frozenset(self.mapped_after))

    def path_of(self, snapshot: Snapshot, role: int) -> tuple[str, ...]:
        """Return the schemas in which a role's names are looked up."""
        return paths.schemas(snapshot, role, self.roles[role])

    def path_before(self, role: int) -> tuple[str, ...]:
        """Return where connections from before look: their setting, with the schemas that there are now."""
        return paths.schemas_of(paths.settings(self.before, role), self.after, role, self.roles[role])

    def named(self, snapshot: Snapshot, schema: str | None, name: str, kind: str = "relation") -> Thing | None:
        """Return what a release's name means to its roles; to the migrator's session where it means nothing to them."""
        if schema is not None:
            return snapshot.find(kind, schema, name)
        for role in self.roles:
            found = paths.meaning(snapshot, self.path_of(snapshot, role), kind, name)
            if found is not None:
                return found
        return paths.meaning(snapshot, self.path, kind, name)

    def _mapped(self, snapshot: Snapshot) -> dict[int, list[Table]]:
        found: dict[int, list[Table]] = {}
        for table in dict.fromkeys(table for contract in self.contracts for table in contract.tables):
            thing = self.named(snapshot, table.schema, table.name)
            if thing is not None:
                found.setdefault(thing.oid, []).append(table)
        return found

    @cached_property
    def sequences(self) -> set[str]:
        """The sequences that releases name themselves."""
        return {name for contract in self.contracts for _, name in contract.sequences}

    def is_mapped(self, oid: int) -> bool:
        """Tell whether a release maps the relation, before or after."""
        return oid in self.mapped_before or oid in self.mapped_after

    def is_met(self, oid: int) -> bool:
        """Tell whether what a release does reaches the relation, before or after."""
        return self.is_mapped(oid) or oid in self.reach_before.relations or oid in self.reach_after.relations

    def is_run(self, function: Thing) -> bool:
        """Tell whether what a release does runs the function."""
        return self.reach_before.calls(function) or self.reach_after.calls(function)

    def is_drawn(self, sequence: Thing) -> bool:
        """Tell whether a release's statements draw from the sequence."""
        drawn = self.sequences | self.reach_before.sequences | self.reach_after.sequences
        return sequence.name in drawn or (bool(sequence.owner) and self.is_met(sequence.owner))

    def columns(self, relation: int, name: str) -> list[Column]:
        """Return what the releases know of a column."""
        tables = self.mapped_after.get(relation) or self.mapped_before.get(relation) or ()
        return [column for table in tables for column in table.columns if column.name == name]

    def came_by_extension(self, thing: Thing) -> bool:
        """Tell whether a thing is an extension's that has changed itself: of that its own rule tells."""
        return bool(thing["extension"]) and any(
            one.kind == "extension" and one.thing.name == thing["extension"] for one in self.changes
        )

    def lost(self, before: Thing | None, after: Thing | None) -> dict[int, str]:
        """Return the rights that each role had on a thing and has no more, by letter."""
        if before is None or after is None:
            return {}
        found = {
            role: "".join(one for one in paths.letters(before, role) if one not in paths.letters(after, role))
            for role in self.roles
        }
        return {role: rights for role, rights in found.items() if rights}

    def may(self, thing: Thing | None, letter: str) -> bool:
        """Tell whether any of the roles has a right; true where no role is known."""
        return thing is not None and (
            not self.roles or any(letter in paths.letters(thing, role) for role in self.roles)
        )

    def relation(self, oid: int) -> Thing | None:
        """Return a relation as it is, else as it was; None for 0."""
        return self.after.relations.get(oid) or self.before.relations.get(oid)

    def is_new(self, oid: int) -> bool:
        """Tell whether nothing of the relation's name was there before."""
        there = self.after.relations.get(oid)
        return there is not None and self.before.find("relation", there.schema, there.name) is None

    def is_gone(self, oid: int) -> bool:
        """Tell whether nothing of the relation's name is there now."""
        there = self.before.relations.get(oid)
        return (
            there is not None
            and oid not in self.after.relations
            and self.after.find("relation", there.schema, there.name) is None
        )

    def is_child(self, oid: int) -> bool:
        """Tell whether the relation is a partition or child of one that a release meets."""
        for snapshot in (self.after, self.before):
            there = snapshot.relations.get(oid)
            if there is not None and any(self.is_met(int(one)) for one in (there["parents"] or "").split()):
                return True
        return False
