"""The walk-through of docs/deploy-render.md with its roles, none a superuser; and its stricter way, a schema apart."""

import contextlib

import psycopg2
import pytest
from sqlalchemy import make_url

from app import gate
from migrator import embedded

MADE_BY_HAND = """
CREATE ROLE anon; CREATE ROLE authenticated;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated;
CREATE ROLE migrator LOGIN CREATEROLE PASSWORD 'of-the-migrator';
GRANT CREATE, CONNECT ON DATABASE postgres TO migrator;
GRANT USAGE, CREATE ON SCHEMA public TO migrator;
"""
A_SCHEMA_OF_ITS_OWN = """
CREATE SCHEMA app_data AUTHORIZATION migrator;
ALTER ROLE migrator IN DATABASE postgres SET search_path = app_data;
"""


def run(url, statement):
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def hosted():
    """A server as a project at Supabase has it, after the statements of the walk-through."""
    with embedded.throwaway() as server:
        run(server.url(), MADE_BY_HAND)
        yield server


def upgrade(migrator, server, verb="upgrade"):
    url = make_url(server.url()).set(username="migrator", password="of-the-migrator")
    env = {"MIGRATOR_DATABASE_URL": url.render_as_string(hide_password=False), "MIGRATOR_APP_PASSWORD": "of-the-app"}
    return migrator(*verb.split(), env=env)


def app_url(server):
    return make_url(server.url()).set(username="app", password="of-the-app").render_as_string(hide_password=False)


def test_the_walk_through_leads_to_an_open_gate_and_to_no_table_that_is_open(hosted, migrator):
    done = upgrade(migrator, hosted)
    assert done.code == 0, done.err
    assert gate.main([], {"DATABASE_URL": app_url(hosted)}) == 0
    assert run(app_url(hosted), "SELECT count(*) FROM users") == [(0,)]


def test_everything_of_ours_is_in_schemas_that_the_data_api_does_not_serve(hosted, migrator):
    run(hosted.url(), A_SCHEMA_OF_ITS_OWN)
    done = upgrade(migrator, hosted)
    assert done.code == 0, done.err
    run(hosted.url(), "ALTER ROLE app IN DATABASE postgres SET search_path = app_data")
    tables = "SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)' ORDER BY 1"
    assert run(hosted.url(), tables) == [("app_data",), ("migrator",)]
    assert gate.main([], {"DATABASE_URL": app_url(hosted)}) == 0
    assert run(app_url(hosted), "INSERT INTO users (email, name) VALUES ('a@example.org', 'A') RETURNING id") == [(1,)]
    again = upgrade(migrator, hosted, "upgrade --deferred-only --check-drift")
    assert again.code == 0, again.err
    assert "checked    that the database is as the models say" in again.out
