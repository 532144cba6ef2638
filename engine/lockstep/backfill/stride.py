"""Stride: a whole batch as one statement: it leases a range, changes its rows, and writes down how far it is.

One statement is one transaction and one round trip: its locks are held for what the server needs, however far away or
short of time this process is. For the plain case only; what goes wrong is gone into step by step, by `Batches`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.backfill.store import Lease

# The UPDATE is bounded by what the lease found, so the range is locked before the first row, and without a lease there
# are no rows; it is ours to go on with only if it is still where we left it. (A plain `AND EXISTS (lease)` would put a
# node between table and UPDATE that costs a tenth.) Names are prefixed: the revision's own SQL sees them.
_STATEMENT = """
WITH lockstep_held AS (
  SELECT r.id, r.upper FROM migrator.backfill_range r
    JOIN migrator.backfill b ON b.name = r.backfill AND b.state = 'running'
   WHERE r.id = %s AND NOT r.done AND r.cursor IS NOT DISTINCT FROM %s::text[] FOR UPDATE OF r SKIP LOCKED),
lockstep_changed AS ({update} RETURNING 1),
lockstep_number AS (SELECT count(*) AS n FROM lockstep_changed),
lockstep_range AS (
  UPDATE migrator.backfill_range r SET cursor = %s, rows = r.rows + n, seen = r.seen + greatest(n, %s),
         batches = r.batches + 1, done = %s
    FROM lockstep_number WHERE r.id = (SELECT id FROM lockstep_held)),
lockstep_worker AS (
  UPDATE migrator.backfill_worker w SET rows = w.rows + n, batches = w.batches + 1, rate = %s, last_key = %s,
         seen = clock_timestamp(), note = NULL, ends = clock_timestamp() + make_interval(secs => %s)
    FROM lockstep_number WHERE w.id = %s AND (SELECT id FROM lockstep_held) IS NOT NULL)
SELECT (SELECT id FROM lockstep_held), n, 1000 * extract(epoch FROM clock_timestamp() - statement_timestamp())::float8
  FROM lockstep_number"""


HELD = "lockstep_held"


def stride(
    cursor: Any, held: Lease, update: tuple[str, list[str]], upper: tuple[str, ...], seen: int,
    worker: tuple[str, float, float],
) -> tuple[int, float] | None:  # fmt: skip
    """Do one batch up to a key; return its rows and the milliseconds it took the server, None if it is not ours.

    The UPDATE is one within the upper end of HELD. `worker` is its id, its rows a second and the seconds that are left.
    """
    sql, values = update
    name, rate, left_s = worker
    last = list(upper)
    before = None if held.cursor is None else list(held.cursor)
    cursor.execute(
        _STATEMENT.format(update=sql),
        [held.id, before, *values, last, seen, upper == held.upper, rate, last, min(left_s, 1e9), name],
    )
    found, rows, server_ms = cursor.fetchone()
    return None if found is None else (int(rows), float(server_ms))
