"""Env connections: catch what env.py connects to while it runs, to lead it elsewhere or only to learn where it would.

A project's env.py may take its URL from anywhere, and make its engine long before it runs. So each connection is met
where SQLAlchemy makes it (`do_connect`), whatever the driver; one that a `creator=` makes passes by. Connections that
env.py left open are closed after it: a database with somebody in it can neither be copied nor dropped, and the next run
of env.py in this process would wait for a session lock that the last one took.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg2.extensions
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import Pool

from lockstep.stop import watchdog

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = "lockstep.target"  # in the pool's notes on a connection: where it was led; '' for where env.py wanted
BRIEFLY = "SET lock_timeout = '5s'"
_WHERE = {
    "host", "hostaddr", "port", "dbname", "database", "user", "password", "passfile", "service", "dsn", "unix_sock",
    "ssl", "ssl_context", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "channel_binding",
    "target_session_attrs", "direct_tls", "require_auth", "gssencmode",
}  # fmt: skip


class Asked(BaseException):
    """Where env.py would have connected to; nothing was connected."""

    def __init__(self, url: str) -> None:
        """Take the URL."""
        super().__init__()
        self.url = url


@dataclass
class _Run:
    """One run of env.py: where its connections are led, and which it made."""

    redirect: str = ""
    asks: bool = False
    made: list[Any] = field(default_factory=list)


_runs: list[_Run] = []  # the innermost last: a trial on a copy runs env.py while the run itself is inside of it


@contextlib.contextmanager
def met(redirect: str = "", *, asks: bool = False) -> Iterator[None]:
    """Meet what env.py connects to while the block runs; close afterwards what it left."""
    run = _Run(redirect, asks)
    if not _runs:
        event.listen(sa.Engine, "do_connect", _do_connect)
        event.listen(Pool, "checkout", _checkout)
    _runs.append(run)
    try:
        yield
    finally:
        _runs.remove(run)
        if not _runs:
            event.remove(sa.Engine, "do_connect", _do_connect)
            event.remove(Pool, "checkout", _checkout)
        for record in run.made:
            with contextlib.suppress(Exception):  # closed already, or its event loop is
                record.invalidate()


def was_led(connection: sa.Connection) -> bool:
    """Tell whether a connection of env.py's was met here, and so leads where it should."""
    return TARGET in connection.info


def tell(connection: Any = None, **_options: Any) -> None:
    """Stand in for `configure` where env.py is only asked: a `creator=` has connected by then, and its driver knows."""
    raise Asked(_of_driver(connection.connection.driver_connection) if connection is not None else "")


def _of_driver(raw: Any) -> str:
    """Return where a driver's connection leads, password and all, as psycopg2, psycopg and asyncpg tell it."""
    if hasattr(raw, "info"):
        told = raw.info.dsn_parameters if hasattr(raw.info, "dsn_parameters") else raw.info.get_parameters()
        return _url({**told, "password": raw.info.password}, ())
    if isinstance(place := getattr(raw, "_addr", None), tuple):
        given = raw._params  # noqa: SLF001 - asyncpg has no other way to tell
        return _url(
            {"host": place[0], "port": place[1], "user": given.user, "password": given.password,
             "database": given.database}, (),
        )  # fmt: skip
    return ""


def _do_connect(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> Any:
    """Make the connection here where it is to lead elsewhere; None where SQLAlchemy is to make it as asked."""
    run = _runs[-1]
    if dialect.name != "postgresql":
        return None
    if run.asks:
        raise Asked(_url(cparams, cargs))
    run.made.append(record)
    record.info[TARGET] = run.redirect
    # Not by changing what it connects with: that is kept, for all connections that this engine makes later.
    return dialect.connect(**_led(dialect.driver, cparams, run.redirect)) if run.redirect else None


def _checkout(raw: Any, record: Any, _proxy: Any) -> None:
    """Have the pool make another connection where an earlier run's leads elsewhere than this one's."""
    run = _runs[-1]
    if TARGET in record.info:
        if record.info[TARGET] != run.redirect:
            raise DisconnectionError("made for another run of env.py")
    elif run.redirect and not watchdog.knows(raw):
        # Of a `creator=`, so it leads to the real database: what env.py asks of it must not wait for ourselves.
        with contextlib.suppress(Exception), contextlib.closing(raw.cursor()) as cursor:
            cursor.execute(BRIEFLY)


def _led(driver: str, cparams: dict[str, Any], dsn: str) -> dict[str, Any]:
    """Return what a driver is to be called with: all that says how to connect as it was, and where to, of the URL."""
    kept = {name: value for name, value in cparams.items() if name not in _WHERE}
    parts = psycopg2.extensions.parse_dsn(dsn)
    if driver not in ("asyncpg", "pg8000"):
        return kept | parts
    given: dict[str, Any] = {name: parts[name] for name in ("user", "password") if name in parts}
    host, port = parts.get("host") or parts.get("hostaddr") or "localhost", int(parts.get("port") or 5432)
    given |= {"database": parts.get("dbname") or parts.get("user"), "host": host, "port": port}
    if driver == "pg8000" and host.startswith("/"):
        given |= {"unix_sock": f"{host}/.s.PGSQL.{port}", "host": None}
    if driver == "asyncpg":
        given |= {"ssl": parts.get("sslmode", "disable" if host.startswith("/") else "prefer")}
    return kept | given


def _url(cparams: dict[str, Any], cargs: Any) -> str:
    """Return the URL that a driver would have been called with."""
    parts = dict(psycopg2.extensions.parse_dsn(cargs[0])) if cargs and isinstance(cargs[0], str) else {}
    parts |= {name: value for name, value in cparams.items() if isinstance(value, str | int) and value is not True}
    query = {name: str(parts[name]) for name in ("sslmode", "sslrootcert") if name in parts}
    if isinstance(ssl := parts.get("ssl"), str):  # asyncpg's word for it
        query["sslmode"] = ssl
    host = str(parts.get("host") or parts.get("hostaddr") or "")
    if host.startswith("/"):
        query, host = query | {"host": host}, ""
    made = sa.URL.create(
        "postgresql", parts.get("user"), parts.get("password"), host or None,
        int(parts["port"]) if parts.get("port") else None, parts.get("database") or parts.get("dbname"), query,
    )  # fmt: skip
    return made.render_as_string(hide_password=False)
