"""Load: measure how long readers and writers wait while revisions are applied to a filled database.

The revisions are applied by a process of their own, as a deploy does it, while a few clients work on the tables that
they touch. What a client waits is measured where the client is: between sending and having its answer.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lockstep.develop.rehearsal.clients import Client, Sample, works
from lockstep.develop.rehearsal.ground import OURS
from lockstep.postgres.statements import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lockstep.develop.rehearsal.ground import Ground
    from lockstep.develop.rehearsal.observation import Rehearsed
    from lockstep.develop.rehearsal.options import Options
    from lockstep.stop.deadline import Deadline

CLIENTS = 4
QUIET_S = 1.0  # before the first revision and after the last: what it is like without
LOOK_EVERY_S = 0.02
_MIGRATOR_IS_THERE = """
SELECT count(*) > 0 FROM pg_stat_activity
 WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> %s"""
UPGRADE, PLAIN = "migrator upgrade", "plain Alembic"


@dataclass(frozen=True)
class Window:
    """One revision while it was applied; times in seconds from the start of the load."""

    revision: str
    label: str
    began_s: float
    ended_s: float
    code: int
    said: str
    longest_ms: float = 0.0
    longest_at_s: float = 0.0


@dataclass(frozen=True)
class Measured:
    """One way of applying the revisions, and what the load met."""

    way: str
    windows: tuple[Window, ...]
    samples: tuple[Sample, ...]

    @property
    def longest(self) -> Sample | None:
        """Return the longest that any client waited while a revision was applied."""
        return max(self._part("during"), key=lambda one: one.ms, default=None)

    @property
    def failed(self) -> tuple[Sample, ...]:
        """Return the statements of clients that failed."""
        return tuple(one for one in self.samples if one.error)

    def p99(self, part: str) -> float | None:
        """Return the 99th percentile in milliseconds before, during or after."""
        waits = sorted(one.ms for one in self._part(part))
        return waits[min(len(waits) - 1, int(len(waits) * 0.99))] if waits else None

    def _part(self, part: str) -> list[Sample]:
        first, last = self.windows[0].began_s, self.windows[-1].ended_s
        chosen = {
            "before": lambda one: one.at_s + one.ms / 1000 < first,
            "during": lambda one: one.at_s <= last and one.at_s + one.ms / 1000 >= first,
            "after": lambda one: one.at_s > last,
        }[part]
        return [one for one in self.samples if chosen(one)]

    def cells(self) -> tuple[str, ...]:
        """Return what a table shows of it."""
        longest = self.longest
        shown = [_ms(self.p99(part)) for part in ("before", "during", "after")]
        wait = f"{longest.ms:.0f} ms ({longest.kind} {longest.table})" if longest else "-"
        return (self.way, wait, *shown, f"{len(self.failed)} of {len(self.samples):,}")

    @property
    def summary(self) -> str:
        """Return it in one line."""
        way, wait, before, during, after, failed = self.cells()
        text = f"{way:<17} longest wait {wait}; p99 {before} before, {during} during, {after} after; failed {failed}"
        errors = [f"{one.label} exit {one.code}: {one.said}" for one in self.windows if one.code]
        return "; ".join([text, *errors, *sorted({one.error for one in self.failed if one.error})[:3]])

    def as_dict(self) -> dict[str, Any]:
        """Return it as the JSON document shows it."""
        return {
            "way": self.way,
            "longest": asdict(self.longest) if self.longest else None,
            "p99_ms": {part: self.p99(part) for part in ("before", "during", "after")},
            "statements": len(self.samples),
            "failed": [asdict(one) for one in self.failed[:20]],
            "failed_count": len(self.failed),
            "revisions": [asdict(one) for one in self.windows],
        }


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def measure(
    fresh: Ground,
    done: Ground,
    rehearsed: tuple[Rehearsed, ...],
    options: Options,
    deadline: Deadline,
    tell: Callable[[str], None],
) -> tuple[Measured, ...]:
    """Apply the revisions that can be, on copies of the database as it was filled, each way under the same load.

    `done` is the database as the revisions left it.
    """
    applied = [one for one in rehearsed if not one.up.error and not one.stopped]
    if not applied:
        return ()
    found = []
    for way in (UPGRADE, PLAIN) if options.compare else (UPGRADE,):
        with fresh.copied() as copy:
            tell(f"loading    {len(applied)} revisions by {way}, {CLIENTS} clients")
            found.append(_one(copy, done, way, applied, options, deadline))
    return tuple(found)


def _one(
    ground: Ground, done: Ground, way: str, applied: list[Rehearsed], options: Options, deadline: Deadline
) -> Measured:
    began = time.monotonic()
    windows = []
    with _clients(ground, done, began) as samples:
        time.sleep(QUIET_S)
        for one in applied:
            with _long_transaction(ground, options.long_transaction_s):
                start = time.monotonic() - began
                code, said = _apply(ground, way, one.revision, deadline)
                windows.append(Window(one.revision, one.label, start, time.monotonic() - began, code, said))
            if code:
                break
        time.sleep(QUIET_S)
    return Measured(way, tuple(_with_longest(window, samples) for window in windows), tuple(samples))


def _with_longest(window: Window, samples: list[Sample]) -> Window:
    inside = [one for one in samples if one.at_s <= window.ended_s and one.at_s + one.ms / 1000 >= window.began_s]
    longest = max(inside, key=lambda one: one.ms, default=None)
    return replace(window, longest_ms=longest.ms, longest_at_s=longest.at_s) if longest else window


@contextlib.contextmanager
def _clients(ground: Ground, done: Ground, began: float) -> Iterator[list[Sample]]:
    """Let clients work while the block runs; their samples are all there when it is left."""
    with contextlib.closing(ground.connect()) as raw, contextlib.closing(done.connect()) as later:
        chosen = works(raw.cursor(), later.cursor())
    over = threading.Event()
    samples: list[Sample] = []
    clients = [Client(ground.connect(), chosen, number, began, over) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield samples
    finally:
        over.set()
        for client in clients:
            client.join()
            samples += client.samples
        samples.sort(key=lambda one: one.at_s)


@contextlib.contextmanager
def _long_transaction(ground: Ground, seconds: float) -> Iterator[None]:
    """Hold a transaction open that has read every table, while the block runs and at most for so long."""
    if not seconds:
        yield
        return
    raw = ground.connect()
    with raw.cursor() as cursor:
        for work in works(cursor):
            cursor.execute(work.select, {"key": work.keys[0]})
    over = threading.Event()
    thread = threading.Thread(target=_hold, args=(ground, raw, seconds, over), daemon=True, name="long transaction")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _hold(ground: Ground, raw: Any, seconds: float, over: threading.Event) -> None:
    """Keep the transaction open until the migrator has been connected for so long: its start does not count."""
    with contextlib.closing(ground.connect()) as beside, beside.cursor() as cursor:
        beside.autocommit = True
        there = False
        while not there and not over.wait(LOOK_EVERY_S):
            cursor.execute(_MIGRATOR_IS_THERE, (OURS,))
            there = cursor.fetchone()[0]
    over.wait(seconds)
    raw.close()


def _apply(ground: Ground, way: str, revision: str, deadline: Deadline) -> tuple[int, str]:
    """Apply one revision in a process of its own; return its exit code and its last word."""
    config = ground.settings.config
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MIGRATOR_")}
    environment = kept | {"MIGRATOR_DATABASE_URL": ground.url}
    command = [sys.executable, "-m", "lockstep", "upgrade", revision, "--config", config, "--no-unknown-release"]
    if way == PLAIN:
        command = [sys.executable, "-m", "lockstep.develop.rehearsal.plain", config, revision]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=max(deadline.left(), 1)
        )
    except subprocess.TimeoutExpired:
        return 3, "not done by the deadline"
    return done.returncode, shortened((done.stderr.strip().splitlines() or [""])[-1], 200)
