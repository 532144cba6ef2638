"""Pressure: the reason to pause where the database is too busy for a batch now, else None.

Each look is one statement on the control connection, once a second. What this role may not see counts as quiet.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lockstep.postgres.statements import without_literals

if TYPE_CHECKING:
    from lockstep.backfill.store import Backfill
    from lockstep.postgres.control import Control

SEGMENTS_PER_LOG = 0x1_0000_0000

# Who waits for us, or waits on the table: behind a DDL that waits for a long transaction, our batches would queue too.
_WAITS = """
WITH held AS (SELECT oid FROM pg_class WHERE oid = ANY (SELECT relid FROM (
                WITH RECURSIVE t AS (SELECT c.oid AS relid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                      WHERE n.nspname = %(namespace)s AND c.relname = %(relation)s
                                     UNION SELECT i.inhrelid FROM pg_inherits i JOIN t ON i.inhparent = t.relid)
                SELECT relid FROM t) x))
SELECT a.pid, coalesce(a.application_name, ''), extract(epoch FROM clock_timestamp() - a.query_start)::float8,
       coalesce(a.query, '')
  FROM pg_stat_activity a
 WHERE a.datname = current_database() AND a.wait_event_type = 'Lock' AND a.pid <> ALL (%(ours)s)
   AND a.query_start < clock_timestamp() - make_interval(secs => %(limit)s)
   AND (EXISTS (SELECT 1 FROM pg_locks l JOIN held h ON h.oid = l.relation WHERE l.pid = a.pid AND NOT l.granted)
        OR pg_blocking_pids(a.pid) && %(ours)s)
 ORDER BY a.query_start LIMIT 1"""

_OURS = """
SELECT coalesce(array_agg(w.pid), '{}') FROM migrator.backfill_worker w JOIN pg_stat_activity a
    ON a.pid = w.pid AND a.backend_start = w.backend_start"""

_LAG = """
SELECT coalesce(r.application_name, ''), pg_wal_lsn_diff(pg_current_wal_lsn(),
         coalesce(r.replay_lsn, r.flush_lsn, r.write_lsn, r.sent_lsn))::bigint,
       coalesce(extract(epoch FROM r.replay_lag), 0)::float8
  FROM pg_stat_replication r WHERE r.state <> 'backup' ORDER BY 2 DESC NULLS LAST LIMIT 1"""

_ARCHIVE = """
SELECT coalesce(s.last_archived_wal, s.last_failed_wal), pg_walfile_name(pg_current_wal_lsn()),
       (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size')
  FROM pg_stat_archiver s WHERE current_setting('archive_mode') <> 'off'"""

_DEAD = """
SELECT s.relname, s.n_dead_tup, s.n_live_tup, coalesce(s.autovacuum_count, 0) + coalesce(s.vacuum_count, 0),
       (SELECT option_value::float8 FROM pg_options_to_table(c.reloptions)
         WHERE option_name = 'autovacuum_vacuum_threshold'),
       (SELECT option_value::float8 FROM pg_options_to_table(c.reloptions)
         WHERE option_name = 'autovacuum_vacuum_scale_factor'),
       current_setting('autovacuum_vacuum_threshold')::float8,
       current_setting('autovacuum_vacuum_scale_factor')::float8,
       current_setting('autovacuum')::bool AND coalesce((SELECT option_value::bool
         FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_enabled'), true)
  FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
 WHERE s.relid = ANY (WITH RECURSIVE t AS (
         SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = %(namespace)s AND c.relname = %(relation)s
         UNION SELECT i.inhrelid FROM pg_inherits i JOIN t ON i.inhparent = t.oid) SELECT oid FROM t)
 ORDER BY s.n_dead_tup DESC LIMIT 1"""


@dataclass(frozen=True)
class Limits:
    """When to pause. Times in milliseconds, sizes in bytes."""

    lock_wait_ms: int = 500
    lag_ms: int = 10_000
    lag_bytes: int = 256 << 20
    archive_segments: int = 32
    dead_factor: float = 2.0  # times the number of dead rows at which autovacuum should have come
    vacuum_patience_ms: int = 600_000


@dataclass
class Pressure:
    """Looks at one database for one backfill; remembers what it takes two looks to see."""

    control: Control
    backfill: Backfill
    limits: Limits = field(default_factory=Limits)
    _queue: int = 0
    _behind_since: float | None = None
    _vacuums: int = 0

    def reason(self) -> str | None:
        """Return why to pause now, the first reason that holds."""
        for look in (self._waiting, self._lagging, self._archiving, self._vacuuming):
            if found := look():
                return found
        return None

    @property
    def _table(self) -> dict[str, Any]:
        return {"namespace": self.backfill.namespace, "relation": self.backfill.relation}

    def _waiting(self) -> str | None:
        ours = self.control.row(_OURS)[0]
        rows = self.control.rows(_WAITS, {**self._table, "ours": ours, "limit": self.limits.lock_wait_ms / 1000})
        if not rows:
            return None
        pid, application, seconds, query = rows[0]
        who = f"pid {pid} ({application or 'no application name'})"
        return f"{who} has waited {seconds:.1f} s for a lock on {self.backfill.relation}: {without_literals(query)}"

    def _lagging(self) -> str | None:
        rows = self.control.rows(_LAG)
        if not rows or rows[0][1] is None:
            return None
        name, behind, seconds = rows[0]
        if behind <= self.limits.lag_bytes and seconds * 1000 <= self.limits.lag_ms:
            return None
        return f"the replica {name or 'without a name'} is {behind / (1 << 20):.0f} MiB, {seconds:.0f} s behind"

    def _archiving(self) -> str | None:
        rows = self.control.rows(_ARCHIVE)
        if not rows or not rows[0][0]:
            return None
        archived, current, size = rows[0]
        queue = max(0, _segment(current, size) - _segment(archived, size) - 1)
        grown, self._queue = queue >= self._queue, queue
        if queue <= self.limits.archive_segments or not grown:
            return None
        return f"{queue} WAL segments wait to be archived, and they grow no fewer"

    def _vacuuming(self) -> str | None:
        rows = self.control.rows(_DEAD, self._table)
        if not rows:
            return None
        name, dead, live, vacuums, own_base, own_scale, base, scale, on = rows[0]
        due = (base if own_base is None else own_base) + (scale if own_scale is None else own_scale) * live
        now = time.monotonic()
        if not on or dead <= due * self.limits.dead_factor or vacuums != self._vacuums:
            self._behind_since, self._vacuums = None, vacuums
            return None
        self._behind_since = self._behind_since or now
        # Dead rows are what a backfill makes: only where autovacuum has not come for long is it behind.
        if (now - self._behind_since) * 1000 < self.limits.vacuum_patience_ms:
            return None
        return f"autovacuum is behind on {name}: {dead:,} dead rows, and none was taken away for a while"


def _segment(name: str, size: int) -> int:
    """Return the number of a WAL file, whatever its timeline; a name of another kind is 0."""
    try:
        return int(name[8:16], 16) * (SEGMENTS_PER_LOG // size) + int(name[16:24], 16)
    except ValueError:
        return 0
