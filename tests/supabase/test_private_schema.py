"""The walk-through of docs/deploy-render.md with its roles, none a superuser; and its stricter way, a schema apart."""

import contextlib

import psycopg2
import pytest
from sqlalchemy import make_url

from app import gate
from lockstep.develop.sandbox import embedded

MADE_BY_HAND = """
CREATE ROLE anon; CREATE ROLE authenticated;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated;
CREATE ROLE migrator LOGIN CREATEROLE PASSWORD 'of-the-migrator';
GRANT CREATE, CONNECT ON DATABASE postgres TO migrator;
GRANT USAGE, CREATE ON SCHEMA public TO migrator;
"""
HOME = "app_data"


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


def upgrade(migrator, server, verb="upgrade", **env):
    url = make_url(server.url()).set(username="migrator", password="of-the-migrator")
    known = {"MIGRATOR_DATABASE_URL": url.render_as_string(hide_password=False), "MIGRATOR_APP_PASSWORD": "of-the-app"}
    return migrator(*verb.split(), env=known | env)


def app_url(server):
    return make_url(server.url()).set(username="app", password="of-the-app").render_as_string(hide_password=False)


def test_the_walk_through_leads_to_an_open_gate_and_to_no_table_that_is_open(hosted, migrator):
    done = upgrade(migrator, hosted)
    assert done.code == 0, done.err
    assert gate.main([], {"DATABASE_URL": app_url(hosted)}) == 0
    assert run(app_url(hosted), "SELECT count(*) FROM users") == [(0,)]


def schemas(server):
    tables = "SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)' ORDER BY 1"
    return [row[0] for row in run(server.url(), tables)]


def test_by_a_setting_everything_of_ours_is_in_schemas_that_the_data_api_does_not_serve(hosted, migrator):
    done = upgrade(migrator, hosted, MIGRATOR_APP_SCHEMA=HOME)
    assert done.code == 0, done.err
    assert "settled    the app's tables in schema app_data" in done.out
    assert schemas(hosted) == ["app_data", "migrator"]
    assert gate.main([], {"DATABASE_URL": app_url(hosted)}) == 0
    assert run(app_url(hosted), "INSERT INTO users (email, name) VALUES ('a@example.org', 'A') RETURNING id") == [(1,)]
    again = upgrade(migrator, hosted, "upgrade --deferred-only --check-drift", MIGRATOR_APP_SCHEMA=HOME)
    assert again.code == 0, again.err
    assert "checked    that the database is as the models say" in again.out
    nothing = upgrade(migrator, hosted, MIGRATOR_APP_SCHEMA=HOME)
    assert (nothing.code, "nothing to do" in nothing.out) == (0, True), nothing.err


def test_what_was_on_the_path_besides_stays_on_it(hosted, migrator):
    """A project at Supabase has its extensions in a schema of theirs, by the database's own search path."""
    run(hosted.url(), "CREATE SCHEMA extensions")
    run(hosted.url(), 'ALTER DATABASE postgres SET search_path = "$user", public, extensions')
    assert upgrade(migrator, hosted, MIGRATOR_APP_SCHEMA=HOME).code == 0
    assert schemas(hosted) == ["app_data", "migrator"]
    assert run(app_url(hosted), "SHOW search_path") == [("app_data, extensions",)]


def test_a_later_revision_lands_there_and_the_app_may_use_what_it_makes(hosted, migrator):
    assert upgrade(migrator, hosted, "upgrade 3f1c7a90b5d2", MIGRATOR_APP_SCHEMA=HOME).code == 0
    done = upgrade(migrator, hosted)  # the roles know where they are at home, and the setting is not needed for it
    assert done.code == 0, done.err
    assert schemas(hosted) == ["app_data", "migrator"]
    assert run(app_url(hosted), "SELECT count(*) FROM organisations") == [(0,)]


def test_a_database_whose_tables_are_elsewhere_is_not_moved(hosted, migrator):
    assert upgrade(migrator, hosted).code == 0
    done = upgrade(migrator, hosted, MIGRATOR_APP_SCHEMA=HOME)
    assert done.code == 1
    assert "MIGRATOR_APP_SCHEMA names app_data, and this database was migrated to another schema" in done.err
    assert "ALTER TABLE … SET SCHEMA" in done.err
    assert schemas(hosted) == ["migrator", "public"]
    assert run(hosted.url(), "SELECT to_regnamespace('app_data')") == [(None,)]


def test_a_role_whose_path_the_migrator_may_not_set_is_named_with_the_statement(hosted, migrator):
    run(hosted.url(), "CREATE ROLE app LOGIN PASSWORD 'of-the-app'")  # not the migrator's, so not its to change
    done = upgrade(migrator, hosted, MIGRATOR_APP_SCHEMA=HOME)
    assert done.code == 1
    statement = "ALTER ROLE app IN DATABASE postgres SET search_path = app_data"
    assert f"run by hand: {statement}" in done.err
    run(hosted.url(), statement)
    assert upgrade(migrator, hosted, MIGRATOR_APP_SCHEMA=HOME).code == 0
    assert gate.main([], {"DATABASE_URL": app_url(hosted)}) == 0


@pytest.mark.parametrize("name", ["migrator", "pg_own", "information_schema", "App", "a b", "x" * 64, "a;b"])
def test_a_name_that_is_none_for_it_is_refused_before_connecting(name, migrator):
    nobody = "postgresql://migrator@127.0.0.1:1/postgres"
    done = migrator("upgrade", env={"MIGRATOR_DATABASE_URL": nobody, "MIGRATOR_APP_SCHEMA": name})
    assert done.code == 2
    assert "is not a schema for the app's tables" in done.err
