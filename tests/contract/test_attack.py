"""Attack: revisions against a release that lives, each with the verdict that is right for it, and what really happens."""

from __future__ import annotations

import psycopg2
import pytest
import sqlalchemy as sa

from lockstep.contract.footprint import reach, reading
from tests.contract.attack import database, judged, models, operations
from tests.contract.attack.devious import DEVIOUS
from tests.contract.attack.revisions import CLEAN, DEFERRED, REVISIONS, SAID

# These fail, if at all, by what they do to the whole server.
SLOW = {"slow_query"}
# What fails does so later, or for greater values: of more rows than the operations write.
LATER = {
    "column-narrowed", "rows-with-keys-of-their-own", "char-for-varchar", "timestamp-with-precision",
    "publication-altered-to-all-verbs", "rows-copied-with-keys", "sequence-made-anew",
}  # fmt: skip
ALL = (*REVISIONS, *DEVIOUS)


@pytest.fixture(scope="module")
def attacked(server):
    """The name of a database in which the release lives."""
    with server.database() as url:
        database.make(url)
        judged.record(url)
        yield sa.make_url(url).database


@pytest.fixture
def copy(server, attacked):
    with server.database(attacked) as url:
        yield url


@pytest.mark.parametrize("revision", ALL, ids=lambda one: one.name)
def test_a_revision_has_its_verdict(server, copy, revision):
    with psycopg2.connect(copy) as connection:
        version = connection.server_version // 10000
    connection.close()
    try:
        with judged.judged(copy, *revision.steps) as verdict:
            assert verdict.word == revision.right_on(version), verdict
    except sa.exc.DBAPIError as error:
        if "ICU is not supported" not in str(error):
            raise
        pytest.skip("this server is built without ICU")
    finally:
        if len(revision.steps) > 1:  # all but the last are committed, and roles are the whole server's
            database.roles_again(server.url)


@pytest.mark.nightly
@pytest.mark.parametrize("revision", ALL, ids=lambda one: one.name)
def test_a_revision_that_is_passed_in_silence_breaks_nothing(server, copy, revision):
    """Run all that the release does, on a connection from before the revision and on new ones."""
    app = sa.make_url(database.as_app(copy)).set(drivername="postgresql+psycopg2")
    old = sa.create_engine(app, pool_size=1, max_overflow=0)
    new = sa.create_engine(app, poolclass=sa.NullPool)
    names = set(operations.OPS) - SLOW
    try:
        with old.connect() as connection:
            connection.exec_driver_sql("SELECT 1 FROM accounts")
        with judged.judged(copy, *revision.steps, keep=True) as verdict:
            pass
        failed = {
            name: error
            for engine in (old, new)
            for name, error in operations.run(engine, [5000], names).items()
            if error
        }
        if verdict.word == CLEAN:
            assert not failed
        elif revision.right == DEFERRED and revision.name not in LATER:
            assert failed, f"deferred for nothing: {verdict}"
    except sa.exc.DBAPIError as error:
        if "ICU is not supported" not in str(error):
            raise
    finally:
        old.dispose()
        database.roles_again(server.url)


def test_what_is_unknown_is_said_with_whom_and_how_to_find_out(copy):
    with judged.judged(copy, "ALTER TABLE accounts ALTER is_active DROP DEFAULT") as verdict:
        assert verdict.word == SAID
        first, second, third = verdict.told
    assert first.startswith("may break  x   release abc (1 instance since ")
    assert (
        second
        == "           public.accounts.is_active: the release needs true where it leaves it out; the schema would offer NULL"
    )
    assert third == "           to find out: let the new release send the value, and change the default later"


def test_what_is_unknown_is_kept_in_the_ledger_with_the_revision(copy):
    with judged.judged(copy, "DROP FUNCTION order_fee(integer)", keep=True):
        pass
    with judged.control(copy) as session:
        rows = session.rows("SELECT revision, release, rule, place FROM migrator.unknown")
    assert rows == [("r0", judged.DIGEST, "function-gone", "public.order_fee(integer)")]


def test_what_is_unknown_is_deferred_under_strict(copy):
    with judged.judged(copy, "DROP FUNCTION order_fee(integer)", strict=True) as verdict:
        assert verdict.word == DEFERRED


def test_a_warning_never_marks_a_release_as_broken(copy):
    with judged.control(copy) as session:
        session.rows(
            "UPDATE migrator.instance SET seen = now() - interval '10 days', started = now() - interval '10 days'"
        )
        session.rows("UPDATE migrator.release SET recorded = now() - interval '10 days'")
    with judged.judged(copy, "ALTER TYPE account_status ADD VALUE 'archived'", strict=True, keep=True):
        pass
    with judged.control(copy) as session:
        assert session.rows("SELECT broken_by FROM migrator.release") == [(None,)]


def test_nothing_is_read_where_no_release_lives(copy, monkeypatch):
    with judged.control(copy) as session:
        session.rows(
            "UPDATE migrator.instance SET seen = now() - interval '10 days', started = now() - interval '10 days'"
        )
        session.rows("UPDATE migrator.release SET recorded = now() - interval '10 days'")
    monkeypatch.setattr("lockstep.contract.footprint.reading.everything", lambda *_: pytest.fail("read"))
    with judged.judged(copy, "DROP FUNCTION order_fee(integer)") as verdict:
        assert verdict.word == CLEAN


def test_the_role_that_an_instance_signs_in_with_is_looked_at_without_being_named(copy):
    with judged.judged(copy, "REVOKE SELECT ON orders FROM @APP@", app_role=None) as verdict:
        assert verdict.word == DEFERRED
        assert "statement-refused" in verdict.rules


def test_a_workers_own_role_counts(copy):
    with judged.control(copy) as session:
        session.rows(f"GRANT SELECT ON accounts TO {database.WORKER}")
        session.rows(
            "INSERT INTO migrator.instance (id, release, role) VALUES (gen_random_uuid(), %s, %s)",
            (judged.DIGEST, database.WORKER),
        )
    with judged.judged(copy, "REVOKE SELECT ON accounts FROM @WORKER@") as verdict:
        assert verdict.word == DEFERRED


TENANTS = (
    "ALTER TABLE blue.countries DROP COLUMN name",
    "DROP TABLE blue.countries",
    "ALTER TABLE blue.countries ALTER name TYPE integer USING 1",
    "REVOKE SELECT ON blue.countries FROM @APP@",
    (
        "CREATE FUNCTION blue.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; "
        "CREATE TRIGGER no BEFORE INSERT ON blue.countries FOR EACH ROW EXECUTE FUNCTION blue.no()"
    ),
)


@pytest.fixture
def tenants(copy):
    """A session on a database with schemas of tenants, of which the release reports the first two."""
    with judged.control(copy) as session:
        for schema in ("amber", "blue", "green"):
            session.rows(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.countries (LIKE countries INCLUDING ALL)")
            session.rows(f"GRANT USAGE ON SCHEMA {schema} TO {database.ROLE}")
            session.rows(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.countries TO {database.ROLE}")
        session.rows("UPDATE migrator.instance SET schemas = '{amber,blue,not_there}'")
        yield session


@pytest.mark.parametrize("sql", TENANTS)
def test_a_release_that_reports_schemas_is_checked_in_each_of_them(copy, tenants, sql):
    with judged.judged(copy, sql) as verdict:
        assert verdict.word == DEFERRED, verdict
    with judged.judged(copy, sql.replace("blue", "green")) as verdict:
        assert verdict.word != DEFERRED, "it is not of the release"
    tenants.rows("UPDATE migrator.instance SET schemas = NULL")
    with judged.judged(copy, sql) as verdict:
        assert verdict.word != DEFERRED, "nobody has said that it is of the release"


def test_a_tenant_that_never_had_a_column_holds_nothing_back(copy, tenants):
    tenants.rows("ALTER TABLE amber.countries DROP COLUMN name")
    with judged.judged(copy, "ALTER TABLE amber.countries ADD COLUMN other integer") as verdict:
        assert verdict.word == CLEAN, verdict
    with judged.judged(copy, "DROP TABLE amber.countries") as verdict:
        assert verdict.word == DEFERRED, verdict


def test_the_role_of_an_instance_is_told_by_the_server(copy):
    with judged.control(copy) as session:
        session.rows(f"GRANT SELECT, INSERT, UPDATE ON migrator.instance TO {database.ROLE}")
    with psycopg2.connect(database.as_app(copy)) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO migrator.instance (id, release) VALUES (gen_random_uuid(), 'x') RETURNING role")
        assert cursor.fetchall() == [(database.ROLE,)]
    connection.close()


def test_a_second_revision_is_compared_with_what_the_first_one_left(copy):
    with judged.judged(copy, "DROP FUNCTION order_fee(integer)", "CREATE TABLE fresh (id integer)") as verdict:
        assert verdict.word == CLEAN
    with judged.judged(copy, "CREATE SCHEMA crm", "DROP FUNCTION account_total(bigint)") as verdict:
        assert verdict.word == SAID


def test_what_was_done_outside_of_the_transaction_is_compared_too(copy):
    with judged.control(copy) as session:
        session.rows(
            "INSERT INTO migrator.step (run, revision, direction, state) SELECT max(id), 'r0', 'up', 'started' FROM migrator.run"
        )
        with judged.judged(
            copy, "SELECT 1", between=lambda: session.rows("DROP INDEX uq_subscriptions_active")
        ) as verdict:
            assert verdict.word == SAID
        assert "unique-gone" in verdict.rules


TAKEN = (
    "REVOKE SELECT ON orders FROM @APP@",
    "REVOKE USAGE ON SCHEMA library FROM @APP@",
    "REVOKE ALL ON SEQUENCE ticket_seq FROM @APP@",
    "REVOKE ALL ON SEQUENCE slug_seq FROM @APP@",
)


@pytest.mark.parametrize("sql", TAKEN)
def test_rights_that_the_run_grants_again_are_granted_before_the_step_commits(copy, sql):
    with judged.judged(copy, sql, granted=True) as verdict:
        assert verdict.word == CLEAN, verdict
    with judged.judged(copy, sql) as verdict:
        assert verdict.word == DEFERRED, verdict


def test_what_a_release_reaches_does_not_depend_on_which_table_is_followed_first(copy):
    engine = sa.create_engine(sa.make_url(copy).set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        snapshot = reading.everything(connection, ())
    mapped = [one.oid for one in snapshot.relations.values() if one.name in models.Base.metadata.tables]
    reached = {reach.reach(snapshot, (first, *mapped)) for first in mapped}
    assert len(reached) == 1
    assert reached.pop().functions >= {"audit", "touch", "keep_counter"}
