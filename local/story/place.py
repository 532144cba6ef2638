"""Place: a server's superuser in, a database with its two roles out, and what each process is told of it."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import sql
from sqlalchemy import make_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOT_OURS = ("PG", "MIGRATOR_", "DATABASE_", "RENDER_", "IMAGE_", "RELEASE_")
REPORT_INTERVAL = "300ms"


@dataclass(frozen=True)
class Place:
    """One database; its owner migrates, its app's role is made by the first `upgrade`."""

    superuser_url: str = field(repr=False)
    name: str
    owner: str
    app: str
    password: str = field(repr=False)
    retention: str = "20s"

    def url(self, user: str) -> str:
        """Return the database's URL for one of the two roles."""
        url = make_url(self.superuser_url).set(username=user, password=self.password, database=self.name)
        return url.render_as_string(hide_password=False)

    def of_migrator(self) -> dict[str, str]:
        """Return the environment of the pre-deploy job."""
        return {
            **_clean(),
            "MIGRATOR_DATABASE_URL": self.url(self.owner),
            "MIGRATOR_APP_ROLE": self.app,
            "MIGRATOR_APP_PASSWORD": self.password,
            "MIGRATOR_SHADOW_URL": self.superuser_url,
            "RELEASE_RETENTION": self.retention,
        }

    def of_app(self) -> dict[str, str]:
        """Return the environment of the app: it never holds the right to change the schema."""
        return {
            **_clean(), "DATABASE_URL": self.url(self.app), "REPORT_INTERVAL": REPORT_INTERVAL,
            "HOST": "127.0.0.1", "PORT": "0",
        }  # fmt: skip

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what the owner reads."""
        return _rows(self.url(self.owner), sql.SQL(query), values)


@contextlib.contextmanager
def made(superuser_url: str, *, retention: str = "20s") -> Iterator[Place]:
    """Make an empty database and its owner, who may make the app's role; take all of it away at the end."""
    mark = secrets.token_hex(4)
    place = Place(
        superuser_url, f"story_{mark}", f"story_owner_{mark}", f"story_app_{mark}", secrets.token_urlsafe(18), retention
    )
    names = {"name": sql.Identifier(place.name), "owner": sql.Identifier(place.owner), "app": sql.Identifier(place.app)}

    def run(statement: str, **values: sql.Composable) -> None:
        _rows(superuser_url, sql.SQL(statement).format(**names, **values))

    run("CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD {password}", password=sql.Literal(place.password))
    try:
        run("CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8'")
        yield place
    finally:
        run("DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        run("DROP ROLE IF EXISTS {app}")
        run("DROP ROLE {owner}")


@contextlib.contextmanager
def cloned(place: Place) -> Iterator[Place]:
    """Make a database that begins as another one is, with the same two roles; take it away at the end."""
    clone = replace(place, name=f"story_{secrets.token_hex(4)}")
    names = {"name": sql.Identifier(clone.name), "of": sql.Identifier(place.name), "owner": sql.Identifier(place.owner)}
    _rows(place.superuser_url, sql.SQL("CREATE DATABASE {name} TEMPLATE {of} OWNER {owner}").format(**names))
    try:
        yield clone
    finally:
        _rows(place.superuser_url, sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))


def _clean() -> dict[str, str]:
    """Return this process's environment without what points to other databases or builds."""
    return {name: value for name, value in os.environ.items() if name == "PG_BIN" or not name.startswith(NOT_OURS)}


def _rows(url: str, statement: sql.Composable, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []
