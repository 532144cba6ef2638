"""Fixtures of the app's tests."""

from __future__ import annotations

import contextlib

import psycopg2
import pytest

from tests.app.rig import PASSWORD, ROLE, Database, Network, Process, eventually, is_ready, serving


@pytest.fixture(scope="session")
def app_role(server):
    """A role that may log in and nothing more; one for all modules that take this fixture."""

    def execute(statement, *values):
        with contextlib.closing(psycopg2.connect(server.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)

    with contextlib.suppress(psycopg2.errors.DuplicateObject):
        execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD %s", PASSWORD)
    yield ROLE
    with contextlib.suppress(psycopg2.errors.DependentObjectsStillExist):  # whoever is the last to end takes it away
        execute(f"DROP ROLE IF EXISTS {ROLE}")


@pytest.fixture
def bare(app_role, database):
    """A database that nobody migrated."""
    return Database(database)


@pytest.fixture
def migrated(bare):
    """A database with the app's tables and a ledger in which this release is recorded."""
    bare.make_tables()
    bare.make_ledger()
    bare.record()
    return bare


@pytest.fixture
def own_client(migrated):
    """A client of an app on a database that only this test has."""
    with serving(migrated.url) as open_client:
        eventually(lambda: is_ready(open_client))
        yield open_client


@pytest.fixture(scope="session")
def shared(app_role, server):
    """A database and an app on it for all tests that only read and write rows."""
    with server.database() as url:
        database = Database(url)
        database.make_tables()
        database.make_ledger()
        database.record()
        with serving(database.url) as client:
            eventually(lambda: is_ready(client))
            yield database, client


@pytest.fixture
def client(shared):
    """A client of an app whose gate is open and whose tables are empty."""
    database, open_client = shared
    database.execute("TRUNCATE users, organisations RESTART IDENTITY")
    return open_client


@pytest.fixture
def start():
    """Start `python -m app`: start(url, NAME="value"); whatever still runs at the end is killed."""
    with contextlib.ExitStack() as stack:

        def begin(url, **variables):
            process = Process(url, **variables)
            stack.callback(process.end)
            return process

        yield begin


@pytest.fixture
def network(migrated):
    """A network between the app and a migrated database."""
    made = Network(migrated.url)
    yield made
    made.close()
