"""Snapshots: a transaction that has rewritten tables in, whose older snapshot would find them empty out.

A rewrite, TRUNCATE, or a new table by an old name is not safe for a transaction with a snapshot from before: it takes
no lock that would stop the rewrite until it reads the table, and then finds none of its rows, with no error. READ
COMMITTED takes a snapshot for each statement and is safe; which level a session works at, PostgreSQL shows nobody.
So these count: a session that is idle in a transaction and keeps a snapshot all the same (no READ COMMITTED does,
but for an open cursor), and one that works in a transaction from before ours. One whose state is hidden from this role
counts where it is in a transaction from before the try, or on a first try in any.
https://www.postgresql.org/docs/current/mvcc-caveats.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockstep.postgres import prepared
from lockstep.postgres.blockers import Blocked, Blocker

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lockstep.postgres.control import Control

# Nobody but this transaction can have changed what it holds this lock on.
_HELD = """
SELECT relation::bigint, now()::text, pg_backend_pid() FROM pg_locks WHERE pid = pg_backend_pid()
   AND locktype = 'relation' AND mode = 'AccessExclusiveLock' AND relation >= 16384
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

_AS_COMMITTED = """
SELECT oid::bigint, relnamespace::bigint, relname::text, relfilenode::bigint FROM pg_class
 WHERE oid = ANY (%s::bigint[]::oid[]) AND relkind IN ('r', 'm')"""

_REWRITTEN = """
SELECT DISTINCT c.oid::regclass::text FROM pg_class c
  JOIN unnest(%(oids)s::bigint[], %(namespaces)s::bigint[], %(names)s::text[], %(files)s::bigint[])
       AS was (oid, namespace, name, file)
    ON c.oid = was.oid OR (c.relnamespace = was.namespace AND c.relname = was.name)
 WHERE c.relkind IN ('r', 'm', 'p', 'v') AND c.relfilenode <> was.file ORDER BY 1"""

_SESSIONS = """
SELECT a.pid, l.virtualtransaction, coalesce(a.application_name, ''), coalesce(a.state, 'state hidden from this role'),
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8, coalesce(a.query, ''), false
  FROM pg_stat_activity a
  JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'virtualxid' AND l.granted AND l.virtualxid = l.virtualtransaction
 WHERE a.datname = current_database() AND a.pid NOT IN (%(ours)s, pg_backend_pid())"""

_OLDER = f"""{_SESSIONS} AND (
   (a.backend_type = 'client backend' AND a.backend_xmin IS NOT NULL
    AND (a.state LIKE 'idle in transaction%%' OR a.xact_start < %(begun)s::timestamptz))
   OR (a.backend_type IS NULL AND a.usesysid IS NOT NULL
    AND (%(open)s::text[] IS NULL OR l.virtualtransaction = ANY (%(open)s::text[]))))
 ORDER BY a.xact_start NULLS LAST, a.pid"""

_OPEN = "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'virtualxid' AND granted"


@dataclass(frozen=True)
class OlderSnapshots(Blocked):
    """Who would find a rewritten table empty."""

    def __str__(self) -> str:
        """Return 'older snapshots, which would find "users" empty, held by …'."""
        return f"older snapshots, which would find {self.name} empty, held by {self.holders}"

    @property
    def missing(self) -> str:
        """Return it as what a run did not get."""
        return f"there are {self}"


def older(connection: Connection, control: Control, open_before: list[str] | None) -> OlderSnapshots | None:
    """Return who keeps a snapshot from before this transaction, if it has rewritten a table that was there.

    `open_before` are the transactions that were open when the try began; None where nobody has looked.
    """
    held = prepared.rows(connection, _HELD)
    if not held:
        return None
    there = control.rows(_AS_COMMITTED, ([oid for oid, *_ in held],))
    if not there:
        return None
    oids, namespaces, names, files = map(list, zip(*there, strict=True))
    was = {"oids": oids, "namespaces": namespaces, "names": names, "files": files}
    rewritten = prepared.rows(connection, _REWRITTEN, was)
    if not rewritten:
        return None
    _, begun, pid = held[0]
    found = control.rows(_OLDER, {"ours": pid, "begun": begun, "open": open_before})
    if not found:
        return None
    return OlderSnapshots(None, ", ".join(name for (name,) in rewritten), "", tuple(Blocker(*row) for row in found))


def open_now(control: Control) -> list[str]:
    """Return the transactions that are open."""
    return [transaction for (transaction,) in control.rows(_OPEN)]
