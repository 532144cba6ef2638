"""Fixtures: the stand-in with both services of the Blueprint on a database of their own, and nothing deployed yet."""

from __future__ import annotations

import contextlib
import secrets
from urllib.parse import quote

import psycopg2
import pytest
from sqlalchemy import make_url

from tests.conftest import run_migrator
from tests.render import commits
from tests.render.api import served
from tests.render.platform import ROOT, Platform, commit_id, image

PASSWORD = "pa%ss-w0rd-of-the-app"


class World:
    """The stand-in, its API, and the database behind both services."""

    def __init__(self, platform, api, url, role):
        self.platform, self.api, self.owner_url, self.role = platform, api, url, role
        self.app, self.migrator = platform.app, platform.migrator
        self.password = PASSWORD
        plain = make_url(url).set(username=role, password=self.password)
        self.app_url = plain.render_as_string(hide_password=False)

    def rows(self, statement, *values):
        with contextlib.closing(psycopg2.connect(self.owner_url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []

    def secrets(self):
        """What must be nowhere, by what it is: the key, and both passwords as they are and as a URL has them."""
        owner = make_url(self.owner_url).password or "no-password-here"
        known = {"key": self.platform.key, "app": PASSWORD, "app in a URL": quote(PASSWORD), "owner": owner}
        return known | {"owner in a URL": quote(owner)}

    def leaks(self, text):
        """Return which secrets a text holds."""
        return [name for name, secret in self.secrets().items() if secret in text]

    def ledger(self):
        """Everything that runs wrote down."""
        if not self.rows("SELECT to_regclass('migrator.run')")[0][0]:
            return ""
        tables = ("run", "step", "release", "instance", "deferred")
        return "\n".join(str(row) for table in tables for row in self.rows(f"SELECT t::text FROM migrator.{table} t"))


def migrator_env(url, role):
    return {
        "MIGRATOR_DATABASE_URL": url,
        "MIGRATOR_APP_ROLE": role,
        "MIGRATOR_APP_PASSWORD": PASSWORD,
        "RELEASE_RETENTION": "10min",
        "MIGRATOR_REQUIRE_TLS": "",
    }


@contextlib.contextmanager
def world_of(database, directory, role, *, images=None, blueprint=ROOT / "render.yaml", make=Platform):
    platform = make(directory, blueprint, images)
    with served(platform) as api:
        world = World(platform, api, database, role)
        platform.configure(
            "app",
            DATABASE_URL=world.app_url,
            RENDER_API_KEY=platform.key,
            RENDER_API_URL=platform.url,
            REPORT_INTERVAL="200ms",
            PREDEPLOY_POLL="0.2s",
            PREDEPLOY_GRACE="30s",
            PREDEPLOY_PATIENCE="20s",
            PREDEPLOY_DEADLINE="60s",
            PREDEPLOY_DATABASE_WAIT="300ms",
        )
        platform.configure("migrator", **migrator_env(database, role))
        try:
            yield world
        finally:
            platform.close()
            leaked = world.leaks(platform.text) + world.leaks(world.ledger()) + world.leaks(platform.command_lines)
            assert not leaked, f"the secrets {leaked} are in a log, in the ledger or in a command line"


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """What "one" and "two" were built to; nobody changes them."""
    top = tmp_path_factory.mktemp("images")
    return {
        commit_id("one"): image(top, "one"),
        commit_id("two"): image(top, "two", commits.NICKNAME, commits.with_nickname),
    }


@pytest.fixture(scope="session")
def migrated_for_an_app(server, checkpoint):
    """The name of a database at head, and of the app's role that has its rights on it."""
    role = f"app_{secrets.token_hex(4)}"
    with server.database() as url:
        done = run_migrator("upgrade", "--checkpoint", checkpoint, env=migrator_env(url, role))
        if done.code or "loaded from the checkpoint" not in done.out:
            pytest.fail(done.out + done.err)
        yield make_url(url).database, role
    server.execute("DROP ROLE {}", role)


@pytest.fixture
def world(database, server, images, tmp_path):
    """The stand-in on an empty database; the app's role is the migrator's to make."""
    role = f"app_{secrets.token_hex(4)}"
    with world_of(database, tmp_path, role, images=images) as made:
        yield made
        made.rows(f"DROP OWNED BY {role}")
    server.execute("DROP ROLE IF EXISTS {}", role)


@pytest.fixture
def migrated(server, migrated_for_an_app, images, tmp_path):
    """The stand-in on a database at head."""
    template, role = migrated_for_an_app
    with server.database(template) as url, world_of(url, tmp_path, role, images=images) as made:
        yield made


@pytest.fixture
def serving(migrated):
    """The same, and commit "one" serves; that its pre-deploy lets it in is for the tests to show."""
    command = migrated.app.written.pop("preDeployCommand")
    migrated.platform.push("one")
    deploy = migrated.platform.settled(migrated.app, "one")
    assert deploy.status == "live", deploy.text
    migrated.app.written["preDeployCommand"] = command
    return migrated
