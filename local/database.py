"""Database: the kept state in, a running server with the database and its two roles out."""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql
from sqlalchemy import URL

from local import state
from lockstep import errors
from lockstep.develop.sandbox import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "lockstep"
OWNER = "migrator"
APP = "app"
STRANGE = ("PG", "DATABASE_URL", "MIGRATOR_DATABASE_URL")


@dataclass(frozen=True)
class Database:
    """Where the two roles find the database, and where its server keeps its data."""

    port: int
    passwords: state.Passwords
    server: embedded.Server | None

    @property
    def owner_url(self) -> str:
        """The migrator's URL: its role owns the database."""
        return self._url(OWNER, self.passwords.migrator)

    @property
    def app_url(self) -> str:
        """The app's URL: its role reads and writes rows."""
        return self._url(APP, self.passwords.app)

    def environment(self) -> dict[str, str]:
        """Return this process's environment, changed so that both sides find this database and no other."""
        kept = {name: value for name, value in os.environ.items() if name not in strange_variables()}
        kept.setdefault("RENDER_GIT_COMMIT", _commit())
        return {**kept, "MIGRATOR_DATABASE_URL": self.owner_url, "DATABASE_URL": self.app_url}

    def _url(self, user: str, password: str) -> str:
        url = URL.create("postgresql", user, password, embedded.HOST, self.port, NAME)
        return url.render_as_string(hide_password=False)


def strange_variables() -> tuple[str, ...]:
    """Return what of the user's environment points to other databases, or changes every connection (PGOPTIONS)."""
    return tuple(name for name in os.environ if name.startswith(STRANGE) and name != "PG_BIN")


def refuse_if_in_use(directory: Path) -> None:
    """Raise Busy while another run holds the database."""
    directory.mkdir(parents=True, exist_ok=True)
    with embedded.held(directory / state.DATA):
        pass


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Database]:
    """Run the server for the length of the block; its database and roles are made at the first call."""
    passwords = state.passwords(directory)
    with embedded.server(directory / state.DATA, password=passwords.postgres, port=state.port(directory)) as server:
        state.keep_port(directory, server.port)
        _prepare(server, passwords)
        yield Database(server.port, passwords, server)


@contextlib.contextmanager
def reached(directory: Path) -> Iterator[Database]:
    """Find the database of a `make up` that runs now; else run the server for the length of the block."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(running(directory))
        except errors.Busy:
            port = state.port(directory)
            if port is None or embedded.is_free(port):
                raise errors.Busy("`make up` is only just starting", "Try again in a moment") from None
            found = Database(port, state.passwords(directory), None)
        yield found


def _commit() -> str:
    """Return the commit that is checked out, which the ledger records; empty where git does not know."""
    command = ["git", "-C", str(state.ROOT), "rev-parse", "--verify", "--quiet", "HEAD"]
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return ""


def _prepare(server: embedded.Server, passwords: state.Passwords) -> None:
    """Make what is missing: two roles that can log in, and the database of the first."""
    with contextlib.closing(psycopg2.connect(server.url())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            # A failed statement would be written to the server's log, and this one holds the password.
            cursor.execute("SET log_min_error_statement = panic")
            for role, password in ((OWNER, passwords.migrator), (APP, passwords.app)):
                if not _exists(cursor, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
                    create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                    cursor.execute(create.format(sql.Identifier(role), sql.Literal(password)))
            if not _exists(cursor, "SELECT 1 FROM pg_database WHERE datname = %s", NAME):
                create = sql.SQL("CREATE DATABASE {} OWNER {}")
                cursor.execute(create.format(sql.Identifier(NAME), sql.Identifier(OWNER)))


def _exists(cursor: psycopg2.extensions.cursor, query: str, name: str) -> bool:
    cursor.execute(query, (name,))
    return cursor.fetchone() is not None
