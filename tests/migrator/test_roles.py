"""The two roles: the migrator's own name must not pull the app's tables into the ledger's schema."""

import psycopg2
import pytest
from sqlalchemy import make_url


@pytest.fixture
def owned_by_migrator(server, database):
    """A database owned by a role named `migrator`, as `make up`, compose and the docs make it."""
    name = make_url(database).database
    with psycopg2.connect(server.url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = 'migrator'")
        if not cursor.fetchone():
            cursor.execute("CREATE ROLE migrator LOGIN PASSWORD 'made-up'")
        cursor.execute("ALTER ROLE migrator PASSWORD 'made-up'")
    connection.close()
    server.execute("ALTER DATABASE {} OWNER TO migrator", name)
    return make_url(database).set(username="migrator", password="made-up").render_as_string(hide_password=False)


def test_a_role_named_like_the_ledger_keeps_the_apps_tables_out_of_it(owned_by_migrator, migrator):
    for _ in range(2):  # the second run meets the schema that "$user" could stand for
        done = migrator("upgrade", env={"MIGRATOR_DATABASE_URL": owned_by_migrator})
        assert done.code == 0, done.err
    done = migrator("downgrade", "-1", env={"MIGRATOR_DATABASE_URL": owned_by_migrator})
    assert done.code == 0, done.err
    with psycopg2.connect(owned_by_migrator) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'users'")
        assert cursor.fetchall() == [("public",)]
    connection.close()
