"""Store: backfills, their ranges and their workers as the ledger has them.

What belongs to a batch is written through the batch's own cursor, in its transaction; all else on the control
connection.
"""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2.errors

if TYPE_CHECKING:
    from datetime import datetime

    from lockstep.postgres.control import Control

OPEN = ("new", "running", "failed")  # what a worker takes up; `paused` waits for a person
UNFINISHED = (*OPEN, "paused")

_ALL = """
SELECT b.name, b.revision, b.namespace, b.relation, b.assignments, b.predicate, b.search_path, b.batch_size,
       b.before_serving, b.on_error, b.state, b.note, b.estimate, b.declared, b.started, b.finished,
       coalesce(r.rows, 0)::bigint, coalesce(r.seen, 0)::bigint, coalesce(r.batches, 0)::bigint,
       coalesce(r.walked, false),
       (SELECT count(*) FROM migrator.backfill_aside a WHERE a.backfill = b.name),
       coalesce(w.number, 0), coalesce(w.rate, 0)::float8, w.last_key, w.ends, w.note
  FROM migrator.backfill b
  LEFT JOIN LATERAL (SELECT sum(rows) AS rows, sum(seen) AS seen, sum(batches) AS batches,
                            bool_and(done OR kind = 'final') AS walked
                       FROM migrator.backfill_range r WHERE r.backfill = b.name) r ON true
  LEFT JOIN LATERAL (SELECT count(*) AS number, sum(w.rate) AS rate, max(w.ends) AS ends,
                            (array_agg(to_json(w.last_key) ORDER BY w.seen DESC))[1] AS last_key, max(w.note) AS note
                       FROM migrator.backfill_worker w JOIN pg_stat_activity a
                         ON a.pid = w.pid AND a.backend_start = w.backend_start WHERE w.backfill = b.name) w ON true
 WHERE b.revision IS NOT NULL ORDER BY b.declared, b.name"""

_LEASE = """
SELECT r.id, r.kind, r.namespace, r.relation, r.cursor, r.upper, r.done
  FROM migrator.backfill_range r JOIN migrator.backfill b ON b.name = r.backfill AND b.state = 'running'
 WHERE r.backfill = %(name)s AND NOT r.done
   AND (r.kind <> 'final' OR NOT EXISTS (SELECT 1 FROM migrator.backfill_range o
         WHERE o.backfill = %(name)s AND NOT o.done AND o.kind <> 'final'))
 ORDER BY r.id = %(last)s DESC, r.kind = 'walk' DESC, r.id LIMIT 1 FOR UPDATE OF r SKIP LOCKED"""

_RANGE_MOVED = """
UPDATE migrator.backfill_range SET cursor = %(cursor)s, rows = rows + %(rows)s, seen = seen + %(seen)s,
       batches = batches + 1, done = %(done)s WHERE id = %(id)s"""

_WORKER_MOVED = """
UPDATE migrator.backfill_worker SET rows = rows + %(rows)s, batches = batches + 1, rate = %(rate)s,
       last_key = %(cursor)s, seen = clock_timestamp(), note = NULL,
       ends = clock_timestamp() + make_interval(secs => %(left)s) WHERE id = %(worker)s"""


@dataclass(frozen=True)
class Backfill:
    """One backfill as the ledger has it; `seen` counts the rows walked over, `rows` those written."""

    name: str
    revision: str
    namespace: str
    relation: str
    assignments: dict[str, str]
    predicate: str
    search_path: str
    batch_size: int
    before_serving: bool
    on_error: str
    state: str
    note: str | None
    estimate: int | None
    declared: datetime
    started: datetime | None
    finished: datetime | None
    rows: int
    seen: int
    batches: int
    walked: bool
    aside: int
    workers: int
    rate: float
    last_key: tuple[str, ...] | None
    ends: datetime | None
    pause: str | None

    @property
    def share(self) -> float | None:
        """Return how much of the table is walked, 0 to 1; None where nobody knows."""
        if self.state == "done":
            return 1.0
        if self.walked:
            return 0.999
        return min(0.999, self.seen / self.estimate) if self.estimate else None

    @property
    def unfinished(self) -> bool:
        """Tell whether there is still something to do."""
        return self.state in UNFINISHED


@dataclass(frozen=True)
class Lease:
    """A range that is ours until the transaction ends."""

    id: int
    kind: str
    namespace: str | None
    relation: str | None
    cursor: tuple[str, ...] | None
    upper: tuple[str, ...] | None


@dataclass(frozen=True)
class Moved:
    """What one batch did to its range."""

    cursor: tuple[str, ...] | None
    rows: int
    seen: int
    done: bool


def there(control: Control) -> bool:
    """Tell whether the ledger knows of backfills."""
    return bool(control.row("SELECT to_regclass('migrator.backfill') IS NOT NULL")[0])


def every(control: Control) -> list[Backfill]:
    """Return all backfills, in the order they were declared."""
    # Asked around every revision, and most projects have none.
    try:
        if not control.row("SELECT EXISTS (SELECT FROM migrator.backfill)")[0]:
            return []
    except psycopg2.errors.UndefinedTable:  # a ledger from before there were backfills
        return []
    return [_made(row) for row in control.rows(_ALL)]


def one(control: Control, name: str) -> Backfill | None:
    """Return a backfill by its name."""
    return next((item for item in every(control) if item.name == name), None)


def state(control: Control, name: str) -> tuple[str, str | None]:
    """Return a backfill's state now, and the note that goes with it."""
    rows = control.rows("SELECT state, note FROM migrator.backfill WHERE name = %s", (name,))
    return (rows[0][0], rows[0][1]) if rows else ("cancelled", "its row is gone")


def set_state(control: Control, name: str, to: str, note: str | None, *, of: tuple[str, ...]) -> bool:
    """Move a backfill from one of some states to another; tell whether it was in one of them."""
    return bool(
        control.rows(
            "UPDATE migrator.backfill SET state = %s, note = %s, "
            "finished = CASE WHEN %s IN ('cancelled', 'done') THEN clock_timestamp() END "
            "WHERE name = %s AND state = ANY (%s) RETURNING name",
            (to, note, to, name, list(of)),
        )
    )


def lease(cursor: Any, name: str, last: int) -> Lease | None:
    """Lease a range for the transaction that is open: the last one again if it is free, else one nobody has."""
    cursor.execute(_LEASE, {"name": name, "last": last})
    row = cursor.fetchone()
    return None if row is None else Lease(*row[:4], _key(row[4]), _key(row[5]))


def moved(cursor: Any, worker: str, held: Lease, done: Moved, rate: float, left_s: float) -> None:
    """Write how far a range is, in the transaction of the batch that took it there."""
    values = {
        "id": held.id, "cursor": _array(done.cursor), "rows": done.rows, "seen": done.seen, "done": done.done,
        "worker": worker, "rate": rate, "left": min(left_s, 1e9),
    }  # fmt: skip
    cursor.execute(f"{_RANGE_MOVED}; {_WORKER_MOVED}", values)


def share_out(cursor: Any, name: str, held: Lease, upper: tuple[str, ...], *, last: bool) -> Lease:
    """Cut a part to walk off what is not shared out yet, and return it."""
    cursor.execute(
        "UPDATE migrator.backfill_range SET cursor = %s, done = %s WHERE id = %s; "
        "INSERT INTO migrator.backfill_range (backfill, kind, namespace, relation, cursor, upper) "
        "VALUES (%s, 'walk', %s, %s, %s, %s) RETURNING id",
        (list(upper), last, held.id, name, held.namespace, held.relation, _array(held.cursor), list(upper)),
    )
    return Lease(cursor.fetchone()[0], "walk", held.namespace, held.relation, held.cursor, upper)


def finish(cursor: Any, name: str, held: Lease) -> None:
    """Write that all is done, in the transaction that saw that nothing is left; it outlives a crash."""
    cursor.execute(
        "SET LOCAL synchronous_commit TO DEFAULT; "
        "UPDATE migrator.backfill_range SET done = true WHERE id = %s; "
        "UPDATE migrator.backfill SET state = 'done', note = NULL, finished = clock_timestamp() WHERE name = %s",
        (held.id, name),
    )


def set_aside(cursor: Any, name: str, held: Lease, key: tuple[str, ...], why: tuple[str | None, str]) -> None:
    """Write down a row that fails, so that nobody tries it again."""
    cursor.execute(
        "INSERT INTO migrator.backfill_aside (backfill, namespace, relation, key, sqlstate, message) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (name, held.namespace, held.relation, list(key), *why),
    )


def aside(control: Control, name: str) -> list[tuple[Any, ...]]:
    """Return the rows set aside: table, key, SQLSTATE, message."""
    return control.rows(
        "SELECT relation, key, sqlstate, message FROM migrator.backfill_aside WHERE backfill = %s ORDER BY found, key",
        (name,),
    )


def join(control: Control, name: str, pid: int) -> str:
    """Write down a new worker and return its id; those whose session is gone are forgotten."""
    control.rows(
        "DELETE FROM migrator.backfill_worker w WHERE backfill = %s AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a "
        "WHERE a.pid = w.pid AND a.backend_start = w.backend_start)",
        (name,),
    )
    worker = str(uuid.uuid4())
    control.rows(
        "INSERT INTO migrator.backfill_worker (id, backfill, pid, backend_start, host) "
        "SELECT %s, %s, pid, backend_start, %s FROM pg_stat_activity WHERE pid = %s",
        (worker, name, socket.gethostname(), pid),
    )
    return worker


def leave(control: Control, worker: str) -> None:
    """Take a worker's row back."""
    control.rows("DELETE FROM migrator.backfill_worker WHERE id = %s", (worker,))


def note(control: Control, worker: str, text: str | None) -> None:
    """Write why a worker pauses."""
    control.rows(
        "UPDATE migrator.backfill_worker SET note = %s, rate = 0, seen = clock_timestamp() WHERE id = %s",
        (text, worker),
    )


def _made(row: tuple[Any, ...]) -> Backfill:
    values = list(row)
    values[23] = _key(values[23])
    return Backfill(*values)


def _key(value: list[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def _array(value: tuple[str, ...] | None) -> list[str] | None:
    return None if value is None else list(value)
