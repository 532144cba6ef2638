"""Workers: many share one backfill, each range with one of them at a time, and a dead one's comes back."""

import psycopg2
import pytest

from lockstep.backfill import store
from tests.migrator.rig import until

FILL = """op.backfill("people", set={"handle": "handle(name)"}, where="handle IS NULL")"""
# Slow until enough was seen: however long the last worker takes to start, there is something left for it.
SLOW = (
    "CREATE OR REPLACE FUNCTION handle(name text) RETURNS text LANGUAGE plpgsql AS "
    "$$ BEGIN PERFORM pg_sleep(0.01); RETURN lower(name); END $$"
)
# In the same language: a call that is under way goes on with the new text in the language it began in.
QUICK = (
    "CREATE OR REPLACE FUNCTION handle(name text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN lower(name); END $$"
)
MORE = "INSERT INTO people (name) SELECT 'Name ' || n FROM generate_series(1, 12000) AS n"


@pytest.fixture
def begun(people, run, undone):
    """A slow backfill of 12,000 rows that nobody has begun."""
    project = people(0, FILL, before=[SLOW])
    assert run("upgrade", project=project).code == 0
    undone(undo=MORE)
    return project


@pytest.fixture
def session(db, begun):
    made = []

    def one():
        made.append(psycopg2.connect(db.url))
        return made[-1].cursor()

    yield one
    for connection in made:
        connection.close()


def test_no_two_sessions_lease_one_range_and_a_dead_session_gives_it_back(session, db):
    db.rows("UPDATE migrator.backfill SET state = 'running'")
    kinds = "unnest('{walk,rest,final}'::text[])"
    db.rows(f"INSERT INTO migrator.backfill_range (backfill, kind) SELECT 'people_handle', {kinds}")
    one, two, three = session(), session(), session()
    first, second = store.lease(one, "people_handle", 0), store.lease(two, "people_handle", 0)
    assert (first.kind, second.kind) == ("walk", "rest")
    assert store.lease(three, "people_handle", 0) is None  # the last look comes when nothing else is open
    db.rows("SELECT pg_terminate_backend(%s)", one.connection.info.backend_pid)
    again = until(lambda: store.lease(three, "people_handle", 0), "the lease")
    assert again == first


def test_three_workers_share_one_backfill(begun, spawn, run, db):
    workers = [spawn("backfill", project=begun) for _ in range(3)]
    most = until(
        lambda: db.rows("SELECT count(*) FROM migrator.backfill_worker WHERE rows > 0 HAVING count(*) = 3"),
        "three workers that have done something",
    )
    assert most == [(3,)]
    db.rows(QUICK)
    results = [worker.result() for worker in workers]
    assert [result.code for result in results] == [0, 0, 0], results
    assert db.rows("SELECT state FROM migrator.backfill") == [("done",)]
    assert db.one("SELECT count(*) FROM people WHERE handle IS DISTINCT FROM lower(name)") == 0
    assert db.one("SELECT count(*) FROM migrator.backfill_worker") == 0


def test_the_last_look_at_a_large_table_ends_at_the_deadline(people, run, db):
    slow = """CREATE FUNCTION looked() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('statement_timeout') <> '5s' THEN PERFORM pg_sleep(600); END IF; RETURN true; END $$"""
    fill = 'op.backfill("people", set={"handle": "lower(name)"}, where="CASE WHEN looked() THEN handle IS NULL END")'
    project = people(20, fill, before=[slow])
    done = run("upgrade", project=project, MIGRATOR_DEADLINE="10s")  # half of it is for backfills
    assert done.code == 0, done.text
    assert db.one("SELECT count(*) FROM people WHERE handle IS NULL") == 0
    assert db.one("SELECT state FROM migrator.backfill") == "running"
    db.rows("CREATE OR REPLACE FUNCTION looked() RETURNS bool LANGUAGE sql AS 'SELECT true'")
    done = run("backfill", project=project)
    assert (done.code, db.one("SELECT state FROM migrator.backfill")) == (0, "done"), done.text
