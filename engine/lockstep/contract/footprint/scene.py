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


class Meant:
    """Which relations the tables of releases mean; from snapshot to snapshot only what came or went is looked up."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._contracts: tuple[Contract, ...] = ()
        self._tables: dict[str, list[Table]] = {}
        self._known: list[tuple[Snapshot, tuple[tuple[str, ...], ...], dict[int, list[Table]]]] = []

    def of(
        self, snapshot: Snapshot, contracts: tuple[Contract, ...], searched: tuple[tuple[str, ...], ...],
        meanings: Callable[[Table], tuple[int, ...]],
    ) -> dict[int, list[Table]]:  # fmt: skip
        """Return the tables that mean each relation; `searched` are the roles' paths."""
        if len(contracts) != len(self._contracts) or any(
            one is not other for one, other in zip(contracts, self._contracts, strict=True)
        ):
            self._contracts, self._tables, self._known = contracts, {}, []
            for table in dict.fromkeys(table for contract in contracts for table in contract.tables):
                self._tables.setdefault(table.name, []).append(table)
        for known, paths_, found in self._known:
            if known is snapshot and paths_ == searched:
                return found
        earlier = next(
            (found for known, paths_, found in self._known if snapshot.is_after(known) and paths_ == searched), None
        )
        names = set(self._tables) if earlier is None else snapshot.touched_names & set(self._tables)
        found = {} if earlier is None else dict(earlier)
        if earlier is not None and names:
            kept = {oid: [one for one in tables if one.name not in names] for oid, tables in found.items()}
            found = {oid: tables for oid, tables in kept.items() if tables}
        again = [table for name in self._tables if name in names for table in self._tables[name]]
        for table in again:
            for oid in meanings(table):
                found[oid] = [*found.get(oid, ()), table]
        self._known = [*self._known[-1:], (snapshot, searched, found)]
        return found


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
        meant: Meant | None = None,
    ) -> None:
        """`path` is the migrating session's own, for names that no role is known to look up."""
        self.before, self.after, self.roles, self.path = before, after, roles, path
        self.contracts = tuple(contracts)
        self.rows, self.altered, self.look = rows, altered, look
        self.drivers: frozenset[str] = frozenset()  # of the live releases; "" is one that nobody told
        self.changes = before.changes(after)
        self._reach = known or reach
        self._meant = meant if meant is not None else Meant()
        self._paths: dict[tuple[int, int], tuple[str, ...]] = {}

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
        found = self._paths.get((id(snapshot), role))
        if found is None:
            found = self._paths[id(snapshot), role] = paths.schemas(snapshot, role, self.roles[role])
        return found

    @cached_property
    def has_other_paths(self) -> bool:
        """Tell whether any role looks names up elsewhere than before."""
        return any(self.path_of(self.before, role) != self.path_of(self.after, role) for role in self.roles)

    @cached_property
    def renamed(self) -> frozenset[str]:
        """The names of which something came, went or was made anew: others mean what they did on the same paths."""
        return frozenset(
            one.thing.name for one in self.changes
            if one.kind in {"relation", "sequence"}
            and (one.before is None or one.after is None or one.before.oid != one.after.oid)
        )  # fmt: skip

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
        paths_ = tuple(self.path_of(snapshot, role) for role in self.roles)
        return self._meant.of(snapshot, self.contracts, paths_, lambda table: self.meanings(snapshot, table))

    def meanings(self, snapshot: Snapshot, table: Table) -> tuple[int, ...]:
        """Return what a release's table means to its roles, each of which may have its own."""
        if table.schema is not None:
            there = snapshot.find("relation", table.schema, table.name)
            return (there.oid,) if there else ()
        found = [paths.meaning(snapshot, self.path_of(snapshot, role), "relation", table.name) for role in self.roles]
        there = paths.meaning(snapshot, self.path, "relation", table.name) if not any(found) else None
        return tuple(dict.fromkeys(one.oid for one in (*found, there) if one is not None))

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
