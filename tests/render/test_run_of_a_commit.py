"""What the pre-deploy's job says on its command line: for which commit it is, and under which name."""

import contextlib

import psycopg2

from lockstep.ledger import tables


def rows(url, statement):
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_a_run_for_the_commit_of_the_image_goes_and_its_name_is_in_the_ledger(database, migrator):
    env = {"MIGRATOR_DATABASE_URL": database, "IMAGE_COMMIT": "abc123"}
    done = migrator("upgrade", "--expect-commit", "abc123", "--run-id", "run-1", env=env)
    assert done.code == 0, done.err
    assert rows(database, "SELECT run_id, commit, outcome FROM migrator.run") == [("run-1", "abc123", "done")]


def test_a_run_for_another_commit_is_refused_before_anything_is_touched(database, migrator):
    env = {"MIGRATOR_DATABASE_URL": database, "IMAGE_COMMIT": "newer", "RENDER_GIT_COMMIT": "abc123"}
    done = migrator("upgrade", "--expect-commit", "abc123", env=env)
    assert done.code == 1
    assert done.err == (
        "refused: this image was built from commit newer, and the run is for abc123. Cure: deploy the newest commit on "
        "both services; it brings its own run. (exit 1; run it again after that change)\n"
    )
    assert rows(database, "SELECT to_regnamespace('migrator')") == [(None,)]


def test_an_image_that_does_not_know_its_commit_runs_for_none(database, migrator):
    done = migrator("upgrade", "--expect-commit", "abc123", env={"MIGRATOR_DATABASE_URL": database})
    assert done.code == 1
    assert "built from commit unknown" in done.err


def test_a_name_that_is_none_is_refused(database, migrator):
    done = migrator("upgrade", "--run-id", "a name; of two", env={"MIGRATOR_DATABASE_URL": database})
    assert done.code == 2


def test_a_ledger_made_before_runs_had_names_is_brought_up_to_date(database, migrator):
    with contextlib.closing(psycopg2.connect(database)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE SCHEMA migrator; CREATE TABLE migrator.ledger (version int PRIMARY KEY, made timestamptz)"
            )
            cursor.execute(tables.UPGRADES[0])
            cursor.execute("INSERT INTO migrator.ledger (version) VALUES (1)")
            cursor.execute(
                "INSERT INTO migrator.run (verb, road, outcome, finished) VALUES ('upgrade', '', 'done', now())"
            )
    done = migrator("upgrade", "--run-id", "run-2", env={"MIGRATOR_DATABASE_URL": database})
    assert done.code == 0, done.err
    assert rows(database, "SELECT run_id FROM migrator.run ORDER BY id") == [(None,), ("run-2",)]
