"""Batch: one short transaction that leases a range, changes its next rows and writes down how far it is."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lockstep.backfill import passed_by, ranges, store, target
from lockstep.backfill.store import Moved
from lockstep.backfill.stride import HELD, stride
from lockstep.postgres import connect
from lockstep.postgres.limits import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg2.extensions

    from lockstep.backfill.pace import Pace
    from lockstep.backfill.ranges import Walk
    from lockstep.backfill.store import Backfill, Lease
    from lockstep.postgres.address import Address
    from lockstep.settings import Settings
    from lockstep.stop.deadline import Deadline

    Key = tuple[str, ...]

SHARES = 50  # parts that a table is shared out in, so that many workers find work to the end
SMALLEST_SHARE, LARGEST_SHARE = 20_000, 200_000
STATEMENT_MS = 5_000  # a batch this slow is cut in two
MOST_KEYS = 1000  # named one by one in a statement of the final look


class Failing(Exception):
    """Rows that the change fails on, or leaves as they are."""

    def __init__(self, walk: Walk, held: Lease, keys: list[Key], message: str, sqlstate: str | None = None) -> None:
        """Hold the rows and what is wrong with them."""
        super().__init__(message)
        self.walk, self.held, self.keys, self.message, self.sqlstate = walk, held, keys, message, sqlstate
        self.cure = ""


@dataclass(frozen=True)
class Done:
    """What one batch came to; `walked` rows of the key, `rows` of them changed."""

    kind: str
    rows: int = 0
    walked: int = 0
    held_ms: float = 0.0  # from the first lock of a row to the end of the commit
    finished: bool = False
    full: bool = False  # as many rows as were asked for: there may be more


@dataclass
class Session:
    """A worker's own connection, under the search path that the revision was declared with."""

    where: Address
    settings: Settings
    backfill: Backfill
    lock_ms: int
    raw: psycopg2.extensions.connection = field(init=False)

    def __post_init__(self) -> None:
        """Connect; what fails here raises psycopg2's own error."""
        self.raw = connect.open_connection(self.where, connect.CONNECT_TIMEOUT_S)
        self.raw.autocommit = True  # a SET inside a transaction that rolls back would be undone
        with self.raw.cursor() as cursor:
            cursor.execute(limits(self.settings, self.raw.server_version))
            cursor.execute(f"SET lock_timeout = {self.lock_ms}; SET statement_timeout = {STATEMENT_MS}")
            # Rows and progress are one transaction: what a crash takes of the last moments it takes of both. So no
            # batch waits for the disk with its rows locked; only the end is certain before it is told (`finish`).
            cursor.execute("SET synchronous_commit = off")
            cursor.execute("SELECT set_config('search_path', %s, false)", (self.backfill.search_path,))

    @property
    def pid(self) -> int:
        """Return the backend's process id."""
        return int(self.raw.info.backend_pid)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """Commit what the block did, or roll it back."""
        with self.raw, self.raw.cursor() as cursor:
            yield cursor

    def ask(self, sql: str, parameters: dict[str, Any]) -> list[Any]:
        """Return the rows of a statement in a transaction of its own."""
        with self.transaction() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())


class Batches:
    """Batches of one backfill by one worker."""

    def __init__(self, session: Session, backfill: Backfill, worker: str, pace: Pace, deadline: Deadline) -> None:
        """Find the tables that hold the rows; raise Refused where one cannot be walked."""
        self.session, self.backfill, self.worker, self.pace = session, backfill, worker, pace
        self._deadline = deadline
        self.limit: int | None = None  # rows, while a failing row is looked for
        self.skip_locked = False
        self.checked = False  # whether the change was seen to make the predicate false
        self.rate, self.left_s = 0.0, 0.0
        self._aside = backfill.aside > 0
        self._last = 0
        self._ours: Lease | None = None  # where the next batch goes on, if nobody else took the range
        self._begun = 0.0
        self._holders = target.holders(session.ask, backfill.namespace, backfill.relation)
        self._walks: dict[tuple[str | None, str | None], Walk] = {}

    def begin(self) -> None:
        """Write the ranges, if nobody did."""
        with self.session.transaction() as cursor:
            ranges.begin(cursor, self.backfill, self._holders)

    def one(self) -> Done | None:
        """Do one batch; None where no range is free, or the backfill does not run. Raise Failing, or psycopg2's."""
        ours, self._ours = self._ours, None
        is_plain = self.checked and self.limit is None and not self.skip_locked
        if ours is not None and is_plain and (done := self._stride(ours)) is not None:
            return done
        with self.session.transaction() as cursor:
            held = store.lease(cursor, self.backfill.name, self._last)
            if held is None:
                return None
            self._begun = time.monotonic()
            if held.kind == "rest":
                return self._share_out(cursor, held)
            done = self._walk(cursor, held) if held.kind == "walk" else self._look_again(cursor, held)
        self._last = held.id
        return dataclasses.replace(done, held_ms=1000 * (time.monotonic() - self._begun))

    def _stride(self, held: Lease) -> Done | None:
        """Do a batch where the last one ended, as one statement; None where the range is not ours any more."""
        assert held.upper is not None  # noqa: S101 - written so by store.share_out
        with self.session.raw.cursor() as cursor:  # not in a transaction: each statement is its own
            walk, number = self._walk_of(cursor, held), self._number()
            upper = walk.bound(cursor, held.cursor, held.upper, number)
            update = walk.update(walk.leased(held.cursor, upper, HELD), skip_locked=False, aside=self._aside)
            worker = (self.worker, self.rate, self.left_s)
            did = stride(cursor, held, update, upper, walk.seen(number), worker)
        if did is None:
            return None
        self._go_on(held, upper)
        return Done("walk", did[0], number, held_ms=did[1])

    def _go_on(self, held: Lease, upper: Key) -> None:
        self._ours = dataclasses.replace(held, cursor=upper) if upper != held.upper else None

    def set_aside(self, failing: Failing) -> None:
        """Write the failing rows down, so that no batch meets them again."""
        with self.session.transaction() as cursor:
            for key in failing.keys:
                store.set_aside(cursor, self.backfill.name, failing.held, key, (failing.sqlstate, failing.message))
        self._aside = True

    def _walk_of(self, cursor: Any, held: Lease) -> Walk:
        place = (held.namespace, held.relation)
        if place not in self._walks:
            holder = next((item for item in self._holders if (item.namespace, item.relation) == place), None)
            if holder is None:  # a partition that was detached: its rows are not the table's any more
                holder = target.holders(self._ask_in(cursor), held.namespace or "", held.relation or "")[0]
            self._walks[place] = ranges.measured(cursor, self.backfill, holder)
        return self._walks[place]

    def _ask_in(self, cursor: Any) -> Any:
        def ask(sql: str, parameters: dict[str, Any]) -> list[Any]:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

        return ask

    def _number(self) -> int:
        return min(self.pace.size, self.limit) if self.limit else self.pace.size

    def _share_out(self, cursor: Any, held: Lease) -> Done:
        walk = self._walk_of(cursor, held)
        number = max(SMALLEST_SHARE, min(LARGEST_SHARE, walk.estimate // SHARES))
        assert held.upper is not None  # noqa: S101 - written so by ranges.begin
        upper = walk.bound(cursor, held.cursor, held.upper, number)
        part = store.share_out(cursor, self.backfill.name, held, upper, last=upper == held.upper)
        self._last, self._ours = part.id, part
        return Done("rest")

    def _walk(self, cursor: Any, held: Lease) -> Done:
        walk, number = self._walk_of(cursor, held), self._number()
        assert held.upper is not None  # noqa: S101 - written so by store.share_out
        upper = walk.bound(cursor, held.cursor, held.upper, number)
        rows = self._change(cursor, walk, held, walk.batch(held.cursor, upper), [upper] if number == 1 else [])
        done = Moved(upper, rows, max(rows, walk.seen(number)), upper == held.upper)
        store.moved(cursor, self.worker, held, done, self.rate, self.left_s)
        self._go_on(held, upper)
        return Done("walk", rows, number)

    def _look_again(self, cursor: Any, held: Lease) -> Done:
        """Look over the predicate in one snapshot: nothing left means all is done; else do what is left."""
        number = min(self._number(), MOST_KEYS)
        for holder in self._holders:
            place = store.Lease(held.id, held.kind, holder.namespace, holder.relation, None, None)
            walk = self._walk_of(cursor, place)
            left_ms = int(1000 * self._deadline.left()) + 1  # it reads the whole table, and holds nobody up
            cursor.execute(f"SET LOCAL statement_timeout = {left_ms}")
            cursor.execute(*walk.left_over(number, aside=self._aside))
            keys = [tuple(row) for row in cursor.fetchall()]
            cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_MS}")
            if keys:
                self.checked, self.skip_locked = False, True
                rows = self._change(cursor, walk, place, walk.exactly(keys), keys if len(keys) == 1 else [])
                store.moved(cursor, self.worker, held, Moved(keys[-1], rows, 0, done=False), self.rate, self.left_s)
                return Done("final", rows, len(keys), full=len(keys) == number)
        store.finish(cursor, self.backfill.name, held)
        return Done("final", finished=True)

    def _change(self, cursor: Any, walk: Walk, held: Lease, where: Any, only: list[Key]) -> int:
        """Run the UPDATE; `only` is the one row it can be about. Return how many rows it changed."""
        import psycopg2  # noqa: PLC0415

        update = walk.update(where, skip_locked=self.skip_locked, aside=self._aside)
        self._begun = time.monotonic()
        try:
            if self.checked:
                cursor.execute(*update)
                return int(cursor.rowcount)
            cursor.execute(*walk.counted(update))
        except psycopg2.Error as error:
            if only and is_of_a_row(error.pgcode):
                raise Failing(walk, held, only, error.diag.message_primary or str(error), error.pgcode) from error
            raise
        rows = self._counted(cursor, walk, held)
        if not rows:
            rows = self._require_reached(cursor, walk, held, where)
        self.checked = rows > 0
        return rows

    def _counted(self, cursor: Any, walk: Walk, held: Lease) -> int:
        """Return how many rows the UPDATE changed; raise Failing where the predicate stayed true in one."""
        rows, still = cursor.fetchone()
        if still:
            failing = Failing(
                walk, held, [tuple(key) for key in still], "the change leaves the row as one still to be done"
            )
            failing.cure = (
                "the predicate has to be false for a row once it is changed: narrow it (… AND source IS NOT NULL)"
            )
            raise failing
        return int(rows)

    def _require_reached(self, cursor: Any, walk: Walk, held: Lease, where: Any) -> int:
        """Change rows that nobody else holds; raise Failing where the UPDATE passes them by."""
        if keys := passed_by.locked(cursor, walk, where, aside=self._aside):
            update = walk.update(walk.exactly(keys), skip_locked=False, aside=self._aside)
            cursor.execute(*walk.counted(update))
            if rows := self._counted(cursor, walk, held):
                return rows
        else:
            keys = passed_by.hidden(cursor, walk, where, aside=self._aside)
        if keys:
            failing = Failing(walk, held, keys, passed_by.MESSAGE)
            failing.cure = passed_by.CURE.format(whose=passed_by.cause(cursor, walk))
            raise failing
        return 0


# https://www.postgresql.org/docs/current/errcodes-appendix.html: what the data of a row can bring about.
_OF_A_ROW = ("21", "22", "23", "2F", "38", "39", "44", "54", "P0")


def is_of_a_row(sqlstate: str | None) -> bool:
    """Tell whether an error may be one row's doing, so that a smaller batch can tell which."""
    return bool(sqlstate) and sqlstate[:2] in _OF_A_ROW  # type: ignore[index]
