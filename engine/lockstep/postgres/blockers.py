"""Blockers: see who holds what a backend waits for, and wait until they are gone.

A client of the app queues behind a waiting ALTER TABLE. So the waiting is done here, outside the lock queue:
the next try comes when nothing old holds the lock any more.
"""

from __future__ import annotations

import dataclasses
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockstep.errors import Busy
from lockstep.postgres.statements import without_literals

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.postgres.control import Control
    from lockstep.stop.deadline import Deadline
    from lockstep.stop.interrupt import Interrupt

POLL_S = 0.02
PAUSE_S = 0.05  # between tries when nobody was seen: 1 to 5 ms every 50 ms cost clients 8 to 12 ms
YOUNG_S = 0.05  # a holder younger than this is a short transaction of the app; it will be gone by itself
ANYWAY_S = 1.0  # under steady traffic some holder is always old: then try all the same, which costs a client a try
TELL_AFTER_S = 1.0
TELL_EVERY_S = 10.0

# https://www.postgresql.org/docs/current/explicit-locking.html, table 13.2
_MODES = (
    "AccessShare",
    "RowShare",
    "RowExclusive",
    "ShareUpdateExclusive",
    "Share",
    "ShareRowExclusive",
    "Exclusive",
    "AccessExclusive",
)
_CONFLICTS = {
    "AccessShare": "7", "RowShare": "67", "RowExclusive": "4567", "ShareUpdateExclusive": "34567",
    "Share": "23567", "ShareRowExclusive": "234567", "Exclusive": "1234567", "AccessExclusive": "01234567",
}  # fmt: skip

_WAITING = """
SELECT w.locktype, w.relation, w.relation::regclass::text, w.mode, b.pid,
       coalesce((SELECT v.virtualtransaction FROM pg_locks v WHERE v.pid = b.pid LIMIT 1), ''),
       coalesce(a.application_name, ''), coalesce(a.state, 'state hidden from this role'),
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8, coalesce(a.query, ''),
       coalesce(a.backend_type = 'autovacuum worker', false)
         OR EXISTS (SELECT 1 FROM pg_stat_progress_vacuum p WHERE p.pid = b.pid)
  FROM pg_locks w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS b (pid)
  LEFT JOIN pg_stat_activity a ON a.pid = b.pid
 WHERE w.pid = %s AND NOT w.granted"""

_HOLDERS = """
SELECT l.pid, l.virtualtransaction FROM pg_locks l
 WHERE l.granted AND l.relation = %s AND l.mode = ANY (%s) AND l.pid IS DISTINCT FROM %s
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

_STILL_THERE = "SELECT l.pid, l.virtualtransaction FROM pg_locks l WHERE l.virtualtransaction = ANY (%s)"


@dataclass(frozen=True)
class Blocker:
    """One session in the way; `transaction` is its virtual transaction id, which every role may see."""

    pid: int
    transaction: str
    application: str
    state: str
    age_s: float | None
    query: str
    is_vacuum: bool

    def __str__(self) -> str:
        """Return 'pid 4711 (psql, idle in transaction, for 9.8 s): select …' with literals masked."""
        age = f", for {self.age_s:.1f} s" if self.age_s is not None else ""
        pid = f"pid {self.pid}" if self.pid else "a prepared transaction"
        who = f"{pid} ({self.application or 'no application name'}, {self.state}{age})"
        return f"{who}: {without_literals(self.query)}" if self.query else who


@dataclass(frozen=True)
class Blocked:
    """What a backend of ours waits for, and who holds it."""

    relation: int | None
    name: str
    mode: str
    blockers: tuple[Blocker, ...]

    def __str__(self) -> str:
        """Return '"users" (AccessExclusiveLock), held by …'."""
        return f"{self.name} ({self.mode}), held by {self.holders}"

    @property
    def holders(self) -> str:
        """Return the first three of them, and how many more there are."""
        who = "; ".join(str(blocker) for blocker in self.blockers[:3])
        more = f"; and {len(self.blockers) - 3} more" if len(self.blockers) > 3 else ""  # noqa: PLR2004
        return f"{who}{more}"

    @property
    def missing(self) -> str:
        """Return it as what a run did not get."""
        return f"no lock on {self}"


def look(control: Control, pid: int) -> Blocked | None:
    """Return what the backend waits for right now, or None when it waits for nothing."""
    rows = control.rows(_WAITING, (pid,))
    if not rows:
        return None
    locktype, relation, name, mode = rows[0][:4]
    blockers = tuple(Blocker(*row[4:]) for row in rows)
    return Blocked(relation if locktype == "relation" else None, name or locktype, mode, blockers)


def conflicting(mode: str) -> list[str]:
    """Return the lock modes that conflict with a mode, both as pg_locks writes them."""
    return [_MODES[int(number)] + "Lock" for number in _CONFLICTS[mode.removesuffix("Lock")]]


@dataclass
class Waiting:
    """The waits of one revision: where to look, how long in all, and whom to tell."""

    control: Control
    pid: int
    deadline: Deadline
    interrupt: Interrupt
    tell: Callable[[str], None]
    terminate_after_s: float = 0.0

    def until_clear(self, blocked: Blocked | None, label: str, since: float) -> None:
        """Return when nothing old holds the lock any more; raise Busy, naming who does, at the deadline."""
        if blocked is None:
            self._pause(PAUSE_S * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            if self.deadline.passed:
                raise Busy(f"{label}: a lock was not got in time", "run it again when the database is quieter")
            return
        seen: dict[tuple[int, str], float] = {}
        next_word = since + TELL_AFTER_S
        while (old := self._old(blocked, seen)) and not self.deadline.passed:
            now = time.monotonic()
            if now >= next_word:
                self.tell(f"waiting    {label}   {now - since:.1f} s for {_aged(blocked, now - since)}")
                next_word = now + TELL_EVERY_S
            self._terminate(old, now - since)
            self._pause(POLL_S * random.uniform(0.5, 1.5))  # noqa: S311 - not cryptography
        if self.deadline.passed:
            raise Busy(
                f"{label}: {_aged(blocked, time.monotonic() - since).missing}",
                "end that session, or run it again when it is gone",
            )

    def _old(self, blocked: Blocked, seen: dict[tuple[int, str], float]) -> set[tuple[int, str]]:
        """Return the holders to wait for: those that were first in the way, and for a while any that is old by now."""
        first = {(blocker.pid, blocker.transaction) for blocker in blocked.blockers}
        if blocked.relation is None:
            held = self.control.rows(_STILL_THERE, ([transaction for _, transaction in first],))
        else:
            held = self.control.rows(_HOLDERS, (blocked.relation, conflicting(blocked.mode), self.pid))
        now = time.monotonic()
        there = {(pid or 0, transaction) for pid, transaction in held}
        for holder in there:
            seen.setdefault(holder, now)
        started = min(seen.values(), default=now)
        old = {holder for holder in there if now - seen[holder] > YOUNG_S} if now - started < ANYWAY_S else set()
        return old | (there & first)

    def _terminate(self, holders: set[tuple[int, str]], waited_s: float) -> None:
        """End sessions in the way, if the operator asked for it and the time is up."""
        if self.terminate_after_s and waited_s >= self.terminate_after_s:
            for pid, _ in holders:
                self.tell(f"ended      pid {pid}, which was in the way for more than {self.terminate_after_s:.0f} s")
                self.control.rows("SELECT pg_terminate_backend(%s)", (pid,))

    def _pause(self, seconds: float) -> None:
        self.interrupt.sleep(min(seconds, self.deadline.left()))


def _aged(blocked: Blocked, waited_s: float) -> Blocked:
    """Return who blocks, with ages as they are now rather than when they were first seen."""
    blockers = tuple(
        Blocker(b.pid, b.transaction, b.application, b.state, (b.age_s or 0) + waited_s, b.query, b.is_vacuum)
        for b in blocked.blockers
    )
    return dataclasses.replace(blocked, blockers=blockers)
