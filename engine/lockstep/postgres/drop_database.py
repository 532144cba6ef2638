"""Drop database: drop a throw-away database and end whatever session is still in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg2

from lockstep.postgres.statements import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

_HAS_FORCE = 130000
_END_OURS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = current_user"


def database(ask: Callable[..., object], server_version: int, name: str) -> None:
    """Drop a database, if it is there; `ask` runs a statement outside of any transaction, and not in that database.

    It is called as psycopg2's `cursor.execute` is: a name with a percent sign goes without parameters.

    Raises psycopg2.Error where somebody stays in it, or where it belongs to another role.

    One session of somebody whom the role may not end, or an autovacuum, and FORCE ends nobody at all (42501). Without
    it PostgreSQL has an autovacuum stop, and waits five seconds for others to leave: CountOtherDBBackends.
    """
    if server_version >= _HAS_FORCE:
        try:
            ask(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
        except psycopg2.errors.InsufficientPrivilege:
            pass
        else:
            return
    ask(_END_OURS, (name,))
    ask(f"DROP DATABASE IF EXISTS {quoted(name)}")
