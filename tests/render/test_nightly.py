"""The migrator's own schedule: what was held back is applied, and what drifted is said."""

import contextlib

import psycopg2

NIGHTLY = ("upgrade", "--deferred-only", "--check-drift")


def run(url, statement):
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


def test_a_night_with_nothing_to_do_says_that_nothing_drifted(migrated_database, migrator):
    done = migrator(*NIGHTLY, env={"MIGRATOR_DATABASE_URL": migrated_database})
    assert done.code == 0, done.err
    assert "checked    that the database is as the models say" in done.out


def test_a_change_by_hand_fails_the_nights_run(migrated_database, migrator):
    run(migrated_database, "ALTER TABLE users ADD COLUMN by_hand int")
    done = migrator(*NIGHTLY, env={"MIGRATOR_DATABASE_URL": migrated_database})
    assert done.code == 1
    assert (
        "the database differs from the models: column users.by_hand: type integer here, nothing in the models"
        in done.err
    )
    assert "write the change as a revision, or take it back" in done.err


def test_a_table_of_nobodys_in_a_schema_that_is_not_ours_is_not_drift(migrated_database, migrator):
    run(migrated_database, "CREATE SCHEMA auth; CREATE TABLE auth.users (id int)")
    done = migrator(*NIGHTLY, env={"MIGRATOR_DATABASE_URL": migrated_database})
    assert done.code == 0, done.err


def test_a_database_that_waits_for_a_deploy_is_not_compared(migrator, database):
    assert migrator("upgrade", "8d20c4e6f17b", env={"MIGRATOR_DATABASE_URL": database}).code == 0
    done = migrator(*NIGHTLY, env={"MIGRATOR_DATABASE_URL": database})
    assert done.code == 0, done.err
    assert "not looked for" in done.out
