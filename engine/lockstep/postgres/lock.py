"""Lock: one migrator at a time on a database, by a named advisory lock that is polled."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from lockstep.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lockstep.postgres.control import Control
    from lockstep.stop.deadline import Deadline
    from lockstep.stop.interrupt import Interrupt

POLL_S = 0.2


def key(name: str = "migrator") -> int:
    """Return the stable signed 64-bit advisory key of a name."""
    return int.from_bytes(hashlib.sha256(f"lockstep:{name}".encode()).digest()[:8], "big", signed=True)


# pg_locks shows a 64-bit advisory key as two halves; objsubid 1 tells it from a pair of 32-bit keys.
_SAME_KEY = """l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND ((l.classid::bigint << 32) | l.objid::bigint) = {key}"""

HOLDER = f"""
SELECT l.pid, coalesce(a.application_name, ''), to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ')
  FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE {_SAME_KEY.format(key=key())}"""  # noqa: S608 - a constant of ours

# Asked on the migrating connection: proves that the lock is alive and that both connections are on one database.
STILL_HELD = f"""
SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_locks l
 WHERE l.pid = :pid AND {_SAME_KEY.format(key=key())})"""  # noqa: S608 - quoted names, and texts of our own


@contextlib.contextmanager
def held(control: Control, wait: Deadline, interrupt: Interrupt, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock while the block runs; raise Busy, naming the holder, when it is not free in time.

    Polled: a session blocked inside pg_advisory_lock holds a snapshot, and CREATE INDEX CONCURRENTLY
    of the holder waits for that snapshot: both would deadlock.
    """
    told = False
    while not control.row("SELECT pg_try_advisory_lock(%s)", (key(),))[0]:
        holder = _holder(control)
        if wait.passed:
            raise Busy(f"another migrator is at work{holder}", "wait for it to finish, or see what it waits for")
        if not told:
            tell(f"waiting    another migrator is at work{holder}")
            told = True
        interrupt.sleep(min(POLL_S, wait.left() + 0.01))
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # a lost session has lost its lock already
            control.rows("SELECT pg_advisory_unlock(%s)", (key(),))


def _holder(control: Control) -> str:
    for pid, application, since in control.rows(HOLDER):
        return f" (pid {pid}, {application or 'no application name'}, connected {since or 'at a hidden time'})"
    return ""
