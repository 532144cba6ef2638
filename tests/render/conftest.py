"""Fixtures: the stand-in with both services of the Blueprint on a database of their own, and nothing deployed yet."""

from __future__ import annotations

import contextlib
import secrets

import psycopg2
import pytest
from sqlalchemy import make_url

from tests.render import commits
from tests.render.api import served
from tests.render.platform import ROOT, Platform


class World:
    """The stand-in, its API, and the database behind both services."""

    def __init__(self, platform, api, url, role):
        self.platform, self.api, self.owner_url, self.role = platform, api, url, role
        self.app, self.migrator = platform.app, platform.migrator
        self.password = "pa%ss-w0rd-of-the-app"
        plain = make_url(url).set(username=role, password=self.password)
        self.app_url = plain.render_as_string(hide_password=False)

    def rows(self, statement, *values):
        with contextlib.closing(psycopg2.connect(self.owner_url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []

    def secrets(self):
        return {self.platform.key, self.password, "pa%25ss-w0rd-of-the-app", make_url(self.owner_url).password} - {None}


@contextlib.contextmanager
def world_of(server, database, directory, blueprint=ROOT / "render.yaml"):
    role = f"app_{secrets.token_hex(4)}"
    platform = Platform(directory, blueprint)
    with served(platform) as api:
        world = World(platform, api, database, role)
        platform.configure(
            "app",
            DATABASE_URL=world.app_url,
            RENDER_API_KEY=platform.key,
            RENDER_API_URL=platform.url,
            REPORT_INTERVAL="200ms",
            PREDEPLOY_POLL="0.1s",
            PREDEPLOY_GRACE="3s",
            PREDEPLOY_PATIENCE="2s",
            PREDEPLOY_DEADLINE="60s",
            PREDEPLOY_DATABASE_WAIT="1s",
        )
        platform.configure(
            "migrator",
            MIGRATOR_DATABASE_URL=database,
            MIGRATOR_APP_ROLE=role,
            MIGRATOR_APP_PASSWORD=world.password,
            RELEASE_RETENTION="2s",
            MIGRATOR_REQUIRE_TLS="",
        )
        try:
            yield world
        finally:
            platform.close()
            for secret in world.secrets():
                assert secret not in platform.text, "a secret is in a log"
    with contextlib.suppress(psycopg2.Error):
        world.rows(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
def world(server, database, tmp_path):
    with world_of(server, database, tmp_path) as made:
        yield made


@pytest.fixture
def migrated(server, migrated_database, tmp_path, migrator):
    """A world whose database is at head, with the app's role and its rights, and commits "one" and "two" to push."""
    with world_of(server, migrated_database, tmp_path) as made:
        done = migrator("upgrade", env=made.migrator.env)
        assert done.code == 0, done.err
        made.platform.commit("one")
        made.platform.commit("two", commits.NICKNAME, commits.with_nickname)
        yield made


@pytest.fixture
def serving(migrated):
    """The same, and commit "one" serves."""
    migrated.platform.push("one")
    deploy = migrated.platform.settled(migrated.app, "one")
    assert deploy.status == "live", deploy.text
    return migrated
