"""Look: ask whether a database is where the files lead, by their manifest, without Alembic or a revision file.

Most deploys have nothing to migrate. One question finds that out and, where it is so, writes the run into the ledger.
Where anything is not exactly as the last run left it, or is unknown, or fails, the whole line does its work.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.errors

from lockstep import __version__
from lockstep.ledger import fingerprint
from lockstep.postgres.limits import application_name

if TYPE_CHECKING:
    from lockstep.ledger.run_context import Run
    from lockstep.postgres.control import Control
    from lockstep.project.manifest import Manifest

# All of it in one statement and one snapshot. A replica or a read-only database refuses the INSERT by itself. Without
# the run lock: nothing is changed but this run's own row, and where another one is open this one is not written.
# The release is noted as one whose rollout begins, as releases.expect does.
_AT_REST = f"""
SET LOCAL application_name = %(application)s; SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '1s';
WITH asked AS (
SELECT heads
  FROM migrator.state
 WHERE pg_backend_pid() = %(pid)s AND heads = %(heads)s AND seals = %(seals)s
   AND step = (SELECT coalesce(max(id), 0) FROM migrator.step)
   AND heads = (SELECT array_agg(version_num::text ORDER BY version_num) FROM {{table}})
   AND (SELECT max(version) FROM migrator.ledger) >= %(ledger)s
   AND (%(models)s = '' OR EXISTS (SELECT FROM migrator.release
                                    WHERE digest = %(models)s AND broken_by IS NULL AND contract IS NOT NULL))
   AND NOT EXISTS (SELECT FROM migrator.run WHERE finished IS NULL)
   AND NOT EXISTS (SELECT FROM migrator.deferred)
   AND NOT EXISTS (SELECT FROM migrator.backfill WHERE state = 'failed')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated'))
   AND NOT EXISTS (SELECT FROM migrator.instance i
                   WHERE coalesce(ended, seen) < now() - interval '30 days'
                     AND EXISTS (SELECT FROM migrator.instance j WHERE j.seen > i.seen))
   AND 1 = (SELECT count(*) FROM pg_catalog.pg_class
             WHERE relname = (SELECT relname FROM pg_catalog.pg_class WHERE oid = {{regclass}}::regclass))
   AND (NOT %(makes_role)s OR EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %(role)s))
   AND %(app_schema)s IN ('', split_part(current_setting('search_path'), ',', 1))
   AND rights = {fingerprint.RIGHTS.format(path="current_setting('search_path')")}
), expected AS (
UPDATE migrator.release SET recorded = clock_timestamp(), commit = %(commit)s
 WHERE digest = %(models)s AND broken_by IS NULL AND EXISTS (SELECT FROM asked)
)
INSERT INTO migrator.run (verb, road, commit, version, host, run_id, finished, outcome, from_heads, to_heads)
SELECT 'upgrade', 'migrator', %(commit)s, %(version)s, %(host)s, %(run_id)s, clock_timestamp(), 'done', heads, heads
  FROM asked
RETURNING id"""  # noqa: S608 - our own text

# Where there is another version table as well, env.py has to say which one counts.
_ONE_TABLE = """
SELECT count(*) = 1 FROM pg_catalog.pg_class
 WHERE relname = (SELECT relname FROM pg_catalog.pg_class WHERE oid = to_regclass(%(table)s))"""
_USUAL_TABLES = ("migrator.alembic_version", "public.alembic_version")


def is_at_rest(run: Run, known: Manifest) -> bool:
    """Tell whether there is nothing to do, by one question, which then has written the run into the ledger."""
    settings, control = run.settings, run.control
    if len(known.heads) != 1:
        return False
    row = {
        "commit": settings.commit, "version": __version__, "host": os.uname().nodename, "role": settings.app_role,
        "run_id": settings.run_id or None, "heads": list(known.heads), "seals": known.seals, "models": known.models,
        "ledger": known.ledger, "app_schema": settings.app_schema, "application": application_name(settings),
        "makes_role": bool(settings.app_password),
        "pid": control.raw.get_backend_pid(),  # through a pooler, libpq knows only the pooler's own number
    }  # fmt: skip
    for table in _tables(known):
        run.interrupt.check()
        try:
            return bool(control.rows(_question(table), row))
        except psycopg2.errors.UndefinedTable:
            continue
        except psycopg2.Error:
            break
    return False


def is_at_head(control: Control, known: Manifest | None) -> bool:
    """Tell whether the database is where the files lead, by the ledger too; who only asks need not know more."""
    from lockstep.ledger import steps, tables  # noqa: PLC0415
    from lockstep.project import manifest  # noqa: PLC0415

    if known is None or not tables.version(control):
        return False
    for table in _tables(known):
        if control.row(_ONE_TABLE, {"table": table})[0]:
            heads = tuple(sorted(row[0] for row in control.rows(f"SELECT version_num FROM {table}")))  # noqa: S608 - as SQL names it
            break
    else:
        return False
    entries = steps.entries(control).values()
    seals = {item.revision: item.seal or "" for item in entries if item.direction != "down"}
    is_same = heads == known.heads and manifest.digest_of(seals) == known.seals
    return is_same and all(item.state == "finished" for item in entries)


def _tables(known: Manifest) -> tuple[str, ...]:
    """Return the names that the version table may have; none where only env.py could say."""
    if known.version_table is None:
        return ()
    return (known.version_table,) if known.version_table else _USUAL_TABLES


def _question(table: str) -> str:
    named = table.replace("%", "%%")
    return _AT_REST.format(table=named, regclass="'" + named.replace("'", "''") + "'")
