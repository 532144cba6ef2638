"""Poolers: one in session mode serves the migrator, one in transaction mode is refused, whatever its URL looks like."""

import contextlib

import psycopg2
import pytest

from lockstep.errors import Usage
from lockstep.postgres import pooler
from lockstep.postgres.address import address


def upgrade(migrator, url, *flags, **env):
    return migrator("upgrade", *flags, env={"MIGRATOR_DATABASE_URL": url, **env})


def rows(url, statement):
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def test_a_pooler_in_session_mode_serves_an_upgrade(database, migrator, pooler):
    done = upgrade(migrator, pooler(database, "session"))
    assert done.code == 0, done.err
    assert "done: 8 applied" in done.out
    assert upgrade(migrator, database).code == 0


def test_a_pooler_in_transaction_mode_is_refused_and_nothing_is_changed(database, migrator, pooler):
    done = upgrade(migrator, pooler(database, "transaction"))
    assert done.code == 1, done.out
    assert "is a pooler in transaction mode: each transaction gets another session" in done.err
    assert "Cure: give the URL of a pooler in session mode, or of the database itself. (exit 1;" in done.err
    assert rows(database, "SELECT to_regnamespace('migrator')") == [(None,)]


def test_it_is_refused_while_other_clients_keep_its_pool_busy(database, migrator, pooler):
    url = pooler(database, "transaction")
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(contextlib.closing(psycopg2.connect(url)))
            client.autocommit = True
            client.cursor().execute("SELECT 1")
        done = upgrade(migrator, url)
    assert done.code == 1, done.out
    assert "transaction mode" in done.err


def test_no_lock_of_the_test_stays_behind_in_a_pool(database, migrator, pooler):
    upgrade(migrator, pooler(database, "transaction"))
    assert rows(database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_a_pool_of_one_session_is_said_to_be_too_small(database, migrator, pooler):
    done = upgrade(migrator, pooler(database, "session", pool_size=1))
    assert done.code == 1
    assert "the pooler has no second session for the migrator. Cure: let its pool have 3 sessions at least." in done.err


def test_the_statement_timeout_of_the_role_is_lifted_after_connecting(database, server, migrator, pooler):
    """As at Supabase, where it is two minutes: here two seconds, and a statement that takes longer."""
    name = address(database).dsn.rsplit("/", 1)[-1]
    rows(
        database,
        "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(2.2); END';"
        "CREATE EVENT TRIGGER slow ON ddl_command_end WHEN TAG IN ('CREATE SCHEMA') EXECUTE FUNCTION slow()",
    )
    server.execute("ALTER DATABASE {} SET statement_timeout = '2s'", name)
    done = upgrade(migrator, pooler(database, "session"))
    assert done.code == 0, done.err


REF = "abcdefghijklmnopqrst"
SHARED = "aws-0-eu-central-1.pooler.supabase.com"
DIRECT = f"db.{REF}.supabase.co"
HINT = "(its host is under Connect in the dashboard)"


@pytest.mark.parametrize(
    ("url", "message", "cure"),
    [
        (
            f"postgresql://migrator.{REF}:secret@{SHARED}:6543/postgres",
            f"port 6543 of {SHARED} is a pooler in transaction mode: no lock, no limit holds there",
            f"use the session pooler: postgresql://migrator.{REF}:***@{SHARED}:5432/postgres",
        ),
        (
            f"postgresql://postgres:secret@{DIRECT}:6543/postgres",
            f"port 6543 of {DIRECT} is a pooler in transaction mode: no lock, no limit holds there",
            f"use the session pooler: postgresql://postgres.{REF}:***@<pooler host>:5432/postgres {HINT}",
        ),
        (
            f"postgresql://postgres:secret@{SHARED}:5432/postgres",
            "the user postgres names no project, and the pooler finds the database by it",
            "write it with the project's reference: postgres.<ref>",
        ),
        (
            f"postgresql://migrator.{REF}:secret@{DIRECT}/postgres",
            f"the user migrator.{REF} is one for the pooler, and {DIRECT} is the database itself",
            "write migrator, or give the pooler's host",
        ),
    ],
    ids=["shared 6543", "dedicated 6543", "no project", "project at the database"],
)
def test_a_url_that_cannot_serve_is_refused_before_connecting_with_the_one_that_can(url, message, cure, migrator):
    done = upgrade(migrator, url)
    assert done.code == 2
    assert done.err == f"usage: {message}. Cure: {cure}. (exit 2; run it again after that change)\n"
    assert "secret" not in done.err + done.out


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://postgres.{REF}:s@{SHARED}:5432/postgres",
        f"postgresql://migrator.{REF}:s@{SHARED}/postgres?sslmode=verify-full",
        f"postgresql://postgres:s@{SHARED}:5432/postgres?options=reference%3D{REF}",
        f"postgresql://postgres:s@{DIRECT}:5432/postgres",
        "postgresql://somebody:s@localhost:6543/somewhere",
    ],
)
def test_a_url_that_may_serve_is_left_to_the_test_after_connecting(url):
    pooler.look_at(address(url))


def test_a_host_that_has_ipv6_alone_is_named_when_it_does_not_answer(migrator):
    done = upgrade(migrator, f"postgresql://postgres:secret@{DIRECT}:5432/postgres", MIGRATOR_WAIT="0s")
    assert done.code == 5
    assert f"{DIRECT} is reached by IPv6 alone, which Render and hosted CI do not have" in done.err
    assert f"use the session pooler, postgresql://postgres.{REF}:…@<pooler host>:5432" in done.err
    assert "secret" not in done.err


def test_the_password_is_in_no_message_about_a_url():
    with pytest.raises(Usage) as raised:
        pooler.look_at(address(f"postgresql://postgres:secret@{SHARED}:6543/postgres"))
    assert "secret" not in str(raised.value)
