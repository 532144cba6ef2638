"""Verbs: what an operator sees and says."""

import re
import time

import pytest

from lockstep.verbs import backfill
from tests.app.rig import Network
from tests.migrator.rig import at_a_terminal, until

SLOW = """op.backfill("people", set={"handle": "lower(name) || pg_sleep(0.01)"}, where="handle IS NULL")"""
MORE = "INSERT INTO people (name) SELECT 'Name ' || n FROM generate_series(1, 6000) AS n"


@pytest.fixture
def slow(people, run, undone):
    """A slow backfill of 6,000 rows that nobody has begun."""
    project = people(0, SLOW)
    assert run("upgrade", project=project).code == 0
    undone(undo=MORE)
    return project


@pytest.fixture
def worker(slow, spawn, run):
    """A worker that has done something."""
    made = spawn("backfill", project=slow)
    until(lambda: status(run, slow)["rows"] > 0, "some rows")
    return made


def status(run, project):
    return run("backfill", "status", "--json", project=project).json["backfills"][0]


def test_status_shows_how_far_it_is(slow, worker, run):
    assert "backfill   people_handle   running   " in run("backfill", "status", project=slow).out
    assert "backfill   people_handle   running   " in run("status", project=slow).out
    worker.signal(15)
    assert worker.result().code == 143
    found = status(run, slow)
    assert (found["name"], found["table"], found["state"]) == ("people_handle", "public.people", "running")
    assert 0 < found["rows"] < 6000
    assert run("status", "--json", project=slow).json["backfills"][0]["rows"] == found["rows"]


def test_the_time_is_up_and_the_next_run_goes_on(slow, run):
    done = run("backfill", project=slow, MIGRATOR_DEADLINE="4s")
    assert done.code == 3
    assert done.last.startswith("busy: the time is up and people_handle   ")
    assert "it goes on from where it is" in done.last
    before = status(run, slow)["rows"]
    assert run("backfill", project=slow, MIGRATOR_DEADLINE="4s").code == 3
    assert status(run, slow)["rows"] > before


def test_pause_resume_and_cancel_reach_a_worker_at_work(slow, worker, run):
    assert run("backfill", "pause", "people_handle", project=slow).code == 0
    worker.said("by an operator; `migrator backfill resume people_handle` goes on")
    held = status(run, slow)
    assert (held["state"], held["note"]) == ("paused", "paused by an operator")
    assert run("backfill", "resume", project=slow).code == 0
    until(lambda: status(run, slow)["rows"] > held["rows"], "more rows")
    assert run("backfill", "cancel", project=slow).code == 0
    assert worker.result().code == 0
    found = status(run, slow)
    assert (found["state"], found["note"]) == ("cancelled", "cancelled by an operator; what was written stays")


def test_a_paused_backfill_is_left_to_the_operator(slow, run):
    run("backfill", "pause", project=slow)
    done = run("backfill", project=slow)
    assert (done.code, done.last) == (0, "done: 1 unfinished (safe to run again)")


def test_verbs_on_nothing_are_refused(people, run):
    project = people(1)
    assert run("upgrade", project=project).code == 0
    assert run("backfill", "pause", project=project).last.startswith("refused: there is nothing to pause.")
    assert run("backfill", "pause", "nobody", project=project).last.startswith("refused: there is no backfill nobody")
    assert run("backfill", project=project).last == "done: nothing is left to do (safe to run again)"
    assert run("backfill", "stop", project=project).code == 2


def test_a_database_without_a_ledger_has_no_backfill(project, run):
    assert run("backfill", project=project).last == "done: there is no backfill (safe to run again)"


def test_a_signal_ends_a_worker_and_what_it_did_is_counted(slow, worker, run, db):
    worker.signal(15)
    done = worker.result()
    assert done.code == 143, done.text
    assert done.err.startswith("interrupted: ")
    assert db.one("SELECT count(handle) FROM people") == status(run, slow)["rows"]


def test_a_person_at_a_terminal_sees_a_bar_that_is_gone_at_the_end(slow, db):
    db.rows("DELETE FROM people WHERE id > 300")
    code, seen = at_a_terminal(
        "-m", "migrator", "backfill", MIGRATOR_DATABASE_URL=db.url, MIGRATOR_CONFIG=str(slow.ini)
    )
    assert code == 0, seen
    bars = re.findall(r"\r\x1b\[K([^\r]*[━╸╺][^\r]* people_handle   running   \d+ % of about [^\r]*)", seen)
    assert bars, seen
    assert {len(re.findall("[━╸╺]", bar)) for bar in bars} == {24}
    assert "\n" not in "".join(bars)
    assert "\r\x1b[K" in seen.rpartition("╸")[2], seen  # it is gone before the last word


def test_a_connection_that_is_lost_is_made_again_after_a_pause(people, run, db, undone):
    project = people(0)
    assert run("upgrade", project=project).code == 0
    undone(undo="INSERT INTO people (name) SELECT 'Name ' || n FROM generate_series(1, 50) AS n")
    db.rows(
        "CREATE SEQUENCE tries; CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF nextval('tries') <= 2 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END $$; "
        "CREATE TRIGGER cut BEFORE UPDATE ON people FOR EACH STATEMENT EXECUTE FUNCTION cut()"
    )
    before = time.monotonic()
    done = run("backfill", project=project)
    assert done.code == 0, done.text
    assert time.monotonic() - before >= 2 * backfill.WAIT_S
    assert done.out.count("waiting    ") == 2
    assert db.one("SELECT count(handle) FROM people") == 50


def test_a_server_that_is_away_is_asked_for_again_after_a_pause(people, run, spawn, db, undone, client):
    project = people(100)
    assert run("upgrade", project=project).code == 0
    undone()
    client().run("LOCK TABLE people")
    network = Network(db.url)
    running = spawn("backfill", project=project, url=network.url, MIGRATOR_WAIT="1ms", MIGRATOR_DEADLINE="6s")
    until(db.waiting, "it to wait for the table")
    network.cut()
    done = running.result()
    network.close()
    assert done.code == 5, done.text
    assert 0 < done.out.count("waiting    ") < 10
