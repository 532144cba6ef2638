"""Tables that a Data API would serve to anyone with its public key, on a PostgreSQL with the roles such an API has."""

import contextlib

import psycopg2
import pytest

from lockstep.develop.sandbox import embedded
from tests.render import commits
from tests.render.platform import image

EVERYTHING = "GRANT ALL ON ALL TABLES IN SCHEMA public TO anon, authenticated"
BY_DEFAULT = (
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO anon, authenticated"
)


def rows(url, *statements):
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def server_with_an_api():
    """A server of its own: roles are shared by all databases of a server."""
    with embedded.throwaway() as server:
        rows(server.url(), "CREATE ROLE anon", "CREATE ROLE authenticated", "CREATE ROLE service_role BYPASSRLS")
        yield server


@pytest.fixture
def served(server_with_an_api, request):
    """An empty database whose schema public is served, as at Supabase."""
    server, name = server_with_an_api, f"d{abs(hash(request.node.name))}"
    rows(server.url(), f"CREATE DATABASE {name} TEMPLATE template0")
    yield server.url(name)
    rows(server.url(), f"DROP DATABASE {name} WITH (FORCE)")


def upgrade(migrator, url, **env):
    return migrator("upgrade", env={"MIGRATOR_DATABASE_URL": url, **env})


def test_a_revision_that_opens_a_table_is_refused_before_it_commits(served, migrator):
    rows(served, BY_DEFAULT)
    done = upgrade(migrator, served)
    assert done.code == 1
    assert (
        "create_users would open a table to everybody: anon may SELECT, INSERT, UPDATE, DELETE on public.users, which "
        "the Data API serves without row level security and 1 more"
    ) in done.err
    assert (
        "Cure: REVOKE ALL ON public.users FROM anon, authenticated, or ALTER TABLE public.users ENABLE ROW LEVEL "
        "SECURITY with a policy for the app's role (MIGRATOR_EXPOSED_SCHEMAS=none says that the Data API is off)."
    ) in done.err
    assert rows(served, "SELECT to_regclass('public.users')") == [(None,)]


def test_a_table_that_was_opened_by_hand_fails_the_next_run_and_the_check(served, migrator):
    assert upgrade(migrator, served).code == 0
    rows(served, "GRANT SELECT (email) ON users TO anon")
    done = upgrade(migrator, served)
    assert done.code == 1
    assert "a table is open to everybody: anon may SELECT on public.users" in done.err
    checked = migrator("check", env={"MIGRATOR_DATABASE_URL": served})
    assert checked.code == 1
    assert (
        "finding    anon may SELECT on public.users, which the Data API serves without row level security"
        in checked.out
    )
    rows(served, "REVOKE SELECT (email) ON users FROM anon")
    assert upgrade(migrator, served).code == 0


@pytest.mark.parametrize(
    "cure",
    [
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM anon, authenticated",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY; ALTER TABLE organisations ENABLE ROW LEVEL SECURITY",
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC, anon, authenticated",
    ],
    ids=["rights taken back", "row level security", "the schema closed"],
)
def test_each_way_out_satisfies_it(served, migrator, cure):
    assert upgrade(migrator, served).code == 0
    rows(served, EVERYTHING)
    assert upgrade(migrator, served).code == 1
    rows(served, cure)
    done = upgrade(migrator, served, MIGRATOR_STRICT="")
    assert done.code == 0, done.err


def test_an_api_that_is_off_or_serves_other_schemas_exposes_nothing(served, migrator):
    rows(served, BY_DEFAULT)
    assert upgrade(migrator, served, MIGRATOR_EXPOSED_SCHEMAS="none").code == 0
    assert upgrade(migrator, served, MIGRATOR_EXPOSED_SCHEMAS="api,graphql_public").code == 0
    assert upgrade(migrator, served, MIGRATOR_EXPOSED_SCHEMAS="api, public").code == 1


def test_a_later_revision_that_opens_a_table_is_rolled_back_alone(served, migrator, tmp_path):
    assert upgrade(migrator, served).code == 0
    opens = commits._revision("0000000000c1", "open_users", "op.execute('GRANT SELECT ON users TO anon')")
    top = image(tmp_path, "opens", (opens,))
    done = migrator("upgrade", env={"MIGRATOR_DATABASE_URL": served, "PYTHONPATH": str(top)}, cwd=top)
    assert done.code == 1
    assert "open_users would open a table to everybody: anon may SELECT on public.users" in done.err
    assert rows(served, "SELECT has_table_privilege('anon', 'users', 'SELECT')") == [(False,)]


def test_a_view_is_as_open_as_a_table_unless_it_asks_with_its_callers_rights(served, migrator):
    assert upgrade(migrator, served).code == 0
    rows(served, "CREATE VIEW everybody AS SELECT * FROM users", "GRANT SELECT ON everybody TO anon")
    done = upgrade(migrator, served)
    assert done.code == 1
    assert "Cure: REVOKE ALL ON public.everybody FROM anon (MIGRATOR_EXPOSED_SCHEMAS" in done.err
    rows(served, "DROP VIEW everybody")


def test_a_database_with_no_such_roles_is_asked_no_more(migrated_database, migrator):
    assert upgrade(migrator, migrated_database).code == 0
