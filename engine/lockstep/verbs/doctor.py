"""`migrator doctor`: how we were started and what stands between us and the database, as only a live platform tells."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from lockstep import settings as given
from lockstep.errors import EXIT_DONE
from lockstep.ledger import tables
from lockstep.postgres import connect, pooler, tls
from lockstep.upgrade import connected_run, exposure
from lockstep_gate import masking

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.postgres.control import Control
    from lockstep.report import Report
    from lockstep.settings import Settings

PLATFORM = ("RENDER", "IS_PULL_REQUEST", "MIGRATOR_", "IMAGE_COMMIT", "PG")

_ROLE = """
SELECT current_user, r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolbypassrls,
       has_database_privilege(current_database(), 'CREATE'),
       (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()),
       (SELECT string_agg(nspname, ', ' ORDER BY nspname) FROM pg_namespace
         WHERE has_schema_privilege(oid, 'CREATE') AND nspname !~ '^pg_')
  FROM pg_roles r WHERE r.rolname = current_user"""


def main(settings: Settings, report: Report, _arguments: Namespace) -> int:
    """Print every finding, secrets masked, and change nothing."""
    findings = _process()
    for name, text in findings:
        report.line(f"{name:<10} {text}")
    with connected_run.connected(settings, report) as run:
        seen = _database(run.control, settings)
    for name, text in seen:
        report.line(f"{name:<10} {text}")
    report.data["findings"] = [{"about": name, "finding": text} for name, text in (*findings, *seen)]
    return report.finish(EXIT_DONE, "done", "done: nothing was changed")


def _process() -> list[tuple[str, str]]:
    variables = [(name, value) for name, value in sorted(os.environ.items()) if name.startswith(PLATFORM)]
    baked, told = (os.environ.get(name) or "none" for name in ("IMAGE_COMMIT", "RENDER_GIT_COMMIT"))
    return [
        ("argv", " ".join(sys.orig_argv)),
        ("user", f"{os.getuid()}, groups {', '.join(map(str, os.getgroups()))}"),
        *(("variable", f"{name}={masking.variable(name, value)}") for name, value in variables),
        ("commit", f"baked in {baked}, given {told}, taken {given.commit(os.environ)}"),
    ]


def _database(control: Control, settings: Settings) -> list[tuple[str, str]]:
    number = control.server_version
    user, is_super, may_roles, may_databases, passes_rls, may_create, owner, schemas = control.row(_ROLE)
    words = ("superuser", "CREATEROLE", "CREATEDB", "BYPASSRLS", "CREATE on the database")
    has = (is_super, may_roles, may_databases, passes_rls, may_create)
    rights = [word for word, right in zip(words, has, strict=True) if right]
    asked = time.time()
    theirs = float(control.row("SELECT extract(epoch FROM clock_timestamp())")[0])
    ours = (asked + time.time()) / 2
    exposed = exposure.find(control.rows, settings)
    between = pooler.verdict(control, lambda: connect.open_connection(control.where, connect.CONNECT_TIMEOUT_S))
    return [
        ("database", f"{control.where.shown}, PostgreSQL {number // 10000}.{number % 10000}"),
        ("role", f"{user}: {', '.join(rights) or 'no rights of its own'}; the database is {owner}'s"),
        ("schemas", f"it may create in {schemas or 'none'}"),
        ("pooler", between),
        ("tls", tls.verdict(control.raw)[0]),
        ("clock", f"the database's is {theirs - ours:+.1f} s from this machine's"),
        ("ledger", f"version {tables.version(control)}" if tables.version(control) else "none yet"),
        ("data api", f"{len(exposed)} tables open to everybody" if exposed else "no table open to everybody"),
    ]
