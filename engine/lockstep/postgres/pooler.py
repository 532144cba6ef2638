"""Pooler: refuse a connection whose session is not ours alone.

A pooler in transaction mode gives each transaction another server session: the run lock then locks nothing, and SET
bounds somebody else's statements. A URL often tells; the connection itself always does.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.extensions

from lockstep.errors import Refused, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.postgres.address import Address
    from lockstep.postgres.control import Control

TRANSACTION_PORT = 6543
SESSION_PORT = 5432
ROUNDS = 3
PATIENCE_S = 5.0
_SUPABASE = (".supabase.co", ".supabase.com", ".supabase.red")
_DIRECT = r"(?i)db\.([a-z0-9]+)\.supabase\.(co|com|red)"
_SHARED = r"(?i).*\.pooler\.supabase\.(co|com)"


def look_at(where: Address) -> None:
    """Raise Usage for a URL of Supabase's that cannot serve a migrator, with the one that can."""
    if not where.host.lower().endswith(_SUPABASE):
        return
    parts = psycopg2.extensions.parse_dsn(where.dsn)
    user, name = parts.get("user", ""), parts.get("dbname", "postgres")
    direct = re.fullmatch(_DIRECT, where.host)
    if where.port == TRANSACTION_PORT and (direct or re.fullmatch(_SHARED, where.host)):
        host, role = (where.host, user) if not direct else ("<pooler host>", f"{user.split('.')[0]}.{direct[1]}")
        raise Usage(
            f"port {TRANSACTION_PORT} of {where.host} is a pooler in transaction mode: no lock, no limit holds there",
            f"use the session pooler: postgresql://{role}:…@{host}:{SESSION_PORT}/{name}"
            + (" (its host is under Connect in the dashboard)" if direct else ""),
        )
    if re.fullmatch(_SHARED, where.host) and "." not in user and "reference" not in parts.get("options", ""):
        raise Usage(
            f"the user {user or '(none)'} names no project, and the pooler finds the database by it",
            f"write it with the project's reference: {user or 'postgres'}.<ref>",
        )
    if direct and user.endswith(f".{direct[1]}"):
        raise Usage(
            f"the user {user} is one for the pooler, and {where.host} is the database itself",
            f"write {user.removesuffix(f'.{direct[1]}')}, or give the pooler's host",
        )


def advice(where: Address) -> str:
    """Return what to do where a host does not answer because it has IPv6 alone; '' where that is not the reason."""
    direct = re.fullmatch(_DIRECT, where.host)
    if direct:
        user = psycopg2.extensions.parse_dsn(where.dsn).get("user", "postgres")
        return (
            f"{where.host} is reached by IPv6 alone, which Render and hosted CI do not have: use the session pooler, "
            f"postgresql://{user}.{direct[1]}:…@<pooler host>:{SESSION_PORT}/… (under Connect in the dashboard)"
        )
    import socket  # noqa: PLC0415 - milliseconds

    with contextlib.suppress(OSError, UnicodeError):  # several hosts together are no name that can be looked up
        families = {entry[0] for entry in socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)}
        if families == {socket.AF_INET6} and "." in where.host:
            return f"{where.host} has IPv6 addresses only: give a host with IPv4, or run where there is IPv6"
    return ""


def verdict(control: Control, open_another: Callable[[], psycopg2.extensions.connection]) -> str:
    """Return 'direct', or 'pooler, session mode' where one keeps sessions; raise Refused for one that does not."""
    # Without a pooler the process id that the handshake gave is the server's; a pooler makes one up.
    if control.raw.get_backend_pid() == control.pid == _pid(control.rows):
        return "direct"
    _test(control, open_another)
    return "pooler, session mode"


def _test(control: Control, open_another: Callable[[], psycopg2.extensions.connection]) -> None:
    """Take a session lock and look for it from a second session, a few times; raise Refused where it does not hold."""
    import secrets  # noqa: PLC0415 - only behind a pooler: it costs milliseconds

    key = secrets.randbits(62)
    with contextlib.closing(_bounded(open_another)) as other:
        other.autocommit = True

        def rows(sql: str) -> list:
            return _bounded(lambda: _run(other, sql), lambda: _cut(other))

        for _ in range(ROUNDS):
            # A pooler hands out the server session that was given back last: the other client gets ours.
            kept = control.row(f"SELECT pg_backend_pid(), pg_try_advisory_lock({key})")[0] == control.pid
            theirs, taken = rows(f"SELECT pg_backend_pid(), pg_try_advisory_lock({key})")[0]
            if taken:
                rows(f"SELECT pg_advisory_unlock({key})")
            free = control.row(f"SELECT pg_backend_pid() = {control.pid} AND pg_advisory_unlock({key})")[0]
            if not kept or taken or theirs == control.pid or not free:
                raise Refused(
                    f"{control.where.shown} is a pooler in transaction mode: each transaction gets another session, "
                    "so that no lock and no limit holds",
                    "give the URL of a pooler in session mode, or of the database itself",
                )


def _pid(rows: Callable[[str], list]) -> int:
    return int(rows("SELECT pg_backend_pid()")[0][0])


def _run(raw: psycopg2.extensions.connection, sql: str) -> list:
    with raw.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def _cut(raw: psycopg2.extensions.connection) -> None:
    """Cut a connection whose answer does not come: closing it would wait for the one who waits for that answer."""
    import socket  # noqa: PLC0415 - milliseconds

    with socket.socket(fileno=os.dup(raw.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)


def _bounded(ask: Callable[[], object], cut: Callable[[], None] = lambda: None) -> list:
    """Ask, and wait for a bounded time: a pooler with no session left lets its client wait for ever."""
    answers: list = []

    def work() -> None:
        with contextlib.suppress(psycopg2.Error):
            answers.append(ask())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    if not answers:
        cut()
        raise Refused("the pooler has no second session for the migrator", "let its pool have 3 sessions at least")
    return answers[0]
