"""Scene: one rehearsed revision as the rules look at it: who was kept out of which table, by what work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lockstep.develop.rehearsal.observation import BACKFILL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lockstep.develop.rehearsal.observation import Lock, Observation, Rehearsed

# Data work has rules of its own, and nobody writes to a materialized view.
_OTHER_RULES = {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "RefreshMatViewStmt", BACKFILL}
FEW = 10  # rows; what a look-up reads


@dataclass(frozen=True)
class Match:
    """A rule found true: of which statement (None: of the revision), what was seen, who is kept out, what instead."""

    at: int | None
    observed: str
    blocks: str = ""
    instead: str = ""


@dataclass(frozen=True)
class Rule:
    """What is looked for, why it hurts, how it is seen, and an example that shows it and one that does not.

    An example is the body of `upgrade`, or a whole file from its `def upgrade` on; `good` may take several revisions.
    """

    id: str
    level: str  # error | warning
    title: str
    why: str
    bad: str
    good: tuple[str, ...]
    check: Callable[[Scene], Iterable[Match]] = field(repr=False)
    setup: str = ""  # SQL that the examples need besides the two tables they all have


@dataclass(frozen=True)
class Scene:
    """One revision and how many rows the standing tables held."""

    rehearsed: Rehearsed
    rows: dict[str, int]

    @property
    def statements(self) -> tuple[tuple[int, Observation], ...]:
        """Return the statements of the first upgrade that succeeded, numbered."""
        return tuple((number, seen) for number, seen in enumerate(self.rehearsed.up.observations) if not seen.error)

    @property
    def failed(self) -> tuple[int, Observation] | None:
        """Return the statement of the first upgrade that failed, if one did."""
        seen = self.rehearsed.up.observations
        return (len(seen) - 1, seen[-1]) if seen and seen[-1].error else None

    def many(self, table: str, count: int) -> bool:
        """Tell whether so many rows are work that grows with the table."""
        return count > max(FEW, self.rows.get(table, 0) // 10)

    def rewrites(self, seen: Observation) -> Iterator[tuple[str, Lock]]:
        """Give the tables in use that a statement wrote anew, each with the lock it held."""
        for table in seen.changes.rewritten:
            lock = lock_on(seen, table)
            if lock and lock.blocks_reads and self.rows.get(table, 1):
                yield table, lock

    def scans(self, seen: Observation) -> Iterator[tuple[str, int, Lock]]:
        """Give the tables in use that a statement read through while it kept writers out of that very table."""
        if seen.kind.rstrip("+") in _OTHER_RULES:
            return
        own = {index.table for index in (*seen.changes.indexes_built, *seen.changes.indexes_rebuilt)}
        for table, count in seen.rows_read:
            lock = lock_on(seen, table)
            if lock and lock.blocks_writes and table not in {*seen.changes.rewritten, *own} and self.many(table, count):
                yield table, count, lock

    def builds(self, seen: Observation) -> Iterator[tuple[str, Lock]]:
        """Give the tables in use on which an index was built while writers were kept out."""
        for index in seen.changes.indexes_built:
            lock = lock_on(seen, index.table)
            if not self.rows.get(index.table) or self._is_known(seen):
                continue
            if lock and lock.blocks_writes and index.table not in seen.changes.rewritten:
                yield index.name, lock

    @staticmethod
    def _is_known(seen: Observation) -> bool:
        """Tell whether an index that shows up now was built before and only changed hands (USING INDEX)."""
        return "USING INDEX" in seen.sql.upper()

    def count(self, table: str) -> str:
        """Return how many rows a table held, for a person."""
        rows = self.rows.get(table, 0)
        return f"{rows:,} rows" if rows > 1 else "its rows"


def lock_on(seen: Observation, table: str) -> Lock | None:
    """Return the lock held on a table in use."""
    return next((lock for lock in seen.held if lock.relation == table and lock.standing), None)


def kept_out(lock: Lock) -> str:
    """Return whom a lock keeps out, in words."""
    return f"all reads and writes of {lock.relation}" if lock.blocks_reads else f"all writes to {lock.relation}"
