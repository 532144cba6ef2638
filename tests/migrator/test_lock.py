"""Lock: one migrator at a time on a database."""

import signal

import pytest

from lockstep.postgres import lock
from tests.migrator.rig import until


@pytest.fixture
def gate(tmp_path):
    """What a revision waits for."""
    return tmp_path / "gate"


def waits(gate, then="pass"):
    return f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists():\n    time.sleep(0.02)\n{then}"


def test_the_key_is_stable():
    # Two versions of the migrator have to agree on it, or both would work at once.
    assert lock.key() == 6294037306416460655
    assert lock.key("another") != lock.key()


def test_of_two_migrators_one_works_and_the_other_waits_and_has_nothing_to_do(project, spawn, db, gate):
    project.revision("a1", waits(gate, "op.execute('CREATE TABLE t (id int)')"))
    first = spawn("upgrade", project=project)
    until(lambda: not db.lock_is_free(), "the first to hold the lock")
    second = spawn("upgrade", project=project)
    second.said("waiting    another migrator is at work (pid ")
    gate.touch()
    results = [first.result(), second.result()]
    assert [done.code for done in results] == [0, 0], results
    assert results[0].last == "done: 1 applied, the database is at a1 (safe to run again)"
    assert results[1].last == "done: nothing to do, the database is at a1 (safe to run again)"
    assert "migrator/unknown, connected " in results[1].out
    assert db.steps() == [("a1", "up", "finished")]


def test_one_that_may_not_wait_leaves_and_names_the_holder(project, spawn, run, db, gate):
    project.revision("a1", waits(gate))
    first = spawn("upgrade", project=project, IMAGE_COMMIT="c0ffee")
    until(lambda: not db.lock_is_free(), "the first to hold the lock")
    pid = db.one("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")
    done = run("upgrade", project=project, MIGRATOR_LOCK_WAIT="100ms")
    assert done.code == 3
    assert done.last.startswith(f"busy: another migrator is at work (pid {pid}, migrator/c0ffee, connected ")
    gate.touch()
    assert first.result().code == 0
    assert db.runs() == [("upgrade", "done")]


def test_many_at_once_on_an_empty_database_all_succeed_and_apply_once(project, spawn, db):
    for name in ("a1", "b2", "c3"):
        project.sql(name, f"CREATE TABLE {name} (id int)")
    running = [spawn("upgrade", project=project) for _ in range(3)]
    assert [item.result().code for item in running] == [0, 0, 0], [item.text for item in running]
    assert db.steps() == [("a1", "up", "finished"), ("b2", "up", "finished"), ("c3", "up", "finished")]


def test_the_lock_is_free_as_soon_as_a_killed_migrator_is_gone(project, spawn, run, db):
    project.sql("a1", "SELECT pg_sleep(60)")
    running = spawn("upgrade", project=project)
    until(lambda: [row for row in db.migrators() if "pg_sleep" in row[2]], "the statement to run")
    running.signal(signal.SIGKILL)
    running.result()
    until(db.lock_is_free, "the lock to be free")
    # The backend of the statement notices by client_connection_check_interval.
    until(lambda: not db.migrators(), "the statement's backend to leave")
    project._last = None
    project.sql("a1", "SELECT 1")
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert db.runs() == [("upgrade", "interrupted"), ("upgrade", "done")]


def test_those_who_wait_do_not_hold_up_an_index_that_is_built_concurrently(project, spawn, db, client):
    db.rows("CREATE TABLE t (id int)")
    project.outside("a1", "CREATE INDEX CONCURRENTLY ix ON t (id)")
    old = client()
    old.raw.set_session(isolation_level="REPEATABLE READ")
    old.run("SELECT 1 FROM pg_class")
    first = spawn("upgrade", project=project)
    until(db.waiting, "the index to wait for the old snapshot")
    second = spawn("upgrade", project=project)
    second.said("waiting    another migrator")
    old.close()
    assert [first.result().code, second.result().code] == [0, 0], first.text + second.text
    assert db.one("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix'::regclass")


@pytest.fixture
def held(client, db):
    """The lock, in the hands of somebody who keeps it."""
    client("another migrator").run("SELECT pg_advisory_lock(%s)", lock.key())
    assert not db.lock_is_free()


def test_looking_needs_no_lock(held, project, run):
    project.sql("a1", "SELECT 1")
    assert run("plan", project=project, MIGRATOR_LOCK_WAIT="0").code == 0
    assert run("status", project=project, MIGRATOR_LOCK_WAIT="0").code == 0
    assert run("upgrade", project=project, MIGRATOR_LOCK_WAIT="0").code == 3


def test_another_database_on_the_server_has_a_lock_of_its_own(held, project, run, server):
    project.sql("a1", "SELECT 1")
    with server.database() as other:
        done = run("upgrade", project=project, url=other, MIGRATOR_LOCK_WAIT="0")
        assert done.code == 0, done.text
