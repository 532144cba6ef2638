"""What a run leaves behind beside the database, by force or because it may not drop it, is gone after the next."""

import contextlib
import signal
import threading

import psycopg2
import pytest
import sqlalchemy.exc
from sqlalchemy import make_url

from lockstep import settings
from lockstep.develop.sandbox import throwaway
from lockstep.errors import Refused
from lockstep.ledger.run_context import Means
from lockstep.postgres import connect
from lockstep.stop import deadline as clock
from lockstep.stop.interrupt import Interrupt
from migrator import dry_run
from tests.migrator.rig import Client, until

COPIES = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
LOCKED = "SELECT 1 FROM pg_stat_activity WHERE query ~ ('^DROP DATABASE.*' || %s) AND wait_event_type = 'Lock'"
SLEEPING = "SELECT 1 FROM pg_stat_activity WHERE starts_with(datname, %s) AND wait_event = 'PgSleep'"
# Asked of the copy alone: goes on once somebody else has connected to it.
GUEST = """DO $$ BEGIN WHILE current_database() LIKE 'migrator_copy_%' AND 2 > (SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database()) LOOP PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP; END $$"""


@pytest.fixture
def prefix(db):
    """What the names of this database's copies begin with."""
    return f"migrator_copy_{db.one('SELECT oid FROM pg_database WHERE datname = current_database()')}_"


@pytest.fixture
def owner(server, db):
    """The URL of the database for a role that owns it, may create others, and may not end a superuser's sessions."""
    name = make_url(db.url).database
    server.execute("CREATE ROLE {} LOGIN CREATEDB PASSWORD 'made-up'", role := f"owner_of_{name}")
    server.execute("ALTER DATABASE {} OWNER TO {}", name, role)
    yield make_url(db.url).set(username=role, password="made-up").render_as_string(hide_password=False)
    db.rows(f'REASSIGN OWNED BY "{role}" TO CURRENT_USER; DROP OWNED BY "{role}"')
    server.execute("DROP ROLE {}", role)


@pytest.fixture
def left(server, prefix):
    """Make a copy as a run leaves one, of the role's or of nobody's; all copies are gone in the end."""
    made = []

    def one(owner=None, name="00ff00ff00ff", before=prefix):
        made.append(before + name)
        server.execute("CREATE DATABASE {} TEMPLATE template0", made[-1])
        if owner:
            server.execute("ALTER DATABASE {} OWNER TO {}", made[-1], make_url(owner).username)
        return made[-1]

    yield one
    with contextlib.closing(psycopg2.connect(server.url)) as connection, connection.cursor() as cursor:
        cursor.execute(COPIES, (prefix,))
        made += [name for (name,) in cursor.fetchall()]
    for name in made:
        server.execute("DROP DATABASE IF EXISTS {}", name)


def test_a_copy_that_a_killed_run_left_is_dropped_by_the_next_and_nobody_elses_is(project, run, db, prefix, left):
    mine, other = left(), left(before=prefix[:-1] + "0_")
    project.outside("a1", "CREATE TABLE t (id int)")
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert "checked    a1   on a copy of the schema" in done.out
    there = db.rows("SELECT datname FROM pg_database WHERE datname = ANY (%s)", [mine, other])
    assert there == [(other,)]
    assert db.rows(COPIES, prefix) == []


def test_a_copy_of_an_odd_name_is_dropped_as_well(project, run, db, prefix, left):
    project.sql("a1", "CREATE TABLE t (id int)")
    left(name='50% of "it"')
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert db.rows(COPIES, prefix) == []


def test_a_copy_is_dropped_by_the_next_run_be_there_nothing_to_do(project, run, db, prefix, left):
    project.sql("a1", "CREATE TABLE t (id int)")
    assert run("upgrade", project=project).code == 0
    left()
    assert run("upgrade", project=project).out.splitlines()[-1].startswith("done: nothing to do")
    assert db.rows(COPIES, prefix) == []


def test_a_copy_is_dropped_although_somebody_was_in_it_whom_the_role_may_not_end(
    server, owner, project, spawn, db, prefix, left
):
    project.outside("a1", GUEST, "VACUUM", "CREATE TABLE t (id int)")
    running = spawn("upgrade", project=project, url=owner)
    [(copy,)] = until(lambda: db.rows(COPIES, prefix) or running.process.poll(), "a copy")
    with contextlib.closing(Client(server.named(copy), "a guest")):
        until(lambda: running.process.poll() is not None or _dropping(db, prefix), "the drop")
    done = running.result()
    assert done.code == 0, done.text
    assert "checked    a1   on a copy of the schema" in done.out
    assert "left  " not in done.text
    assert db.rows(COPIES, prefix) == []


def _dropping(db, prefix):
    """Tell whether a migrator waits until nobody is in a copy any more."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query ~ %s"
    return db.rows(sql, f'^DROP DATABASE IF EXISTS "?{prefix}\\w*"?$')


def test_a_throw_away_database_is_dropped_although_somebody_was_in_it_whom_the_role_may_not_end(server, owner, db):
    with throwaway.database(owner) as url:
        name = make_url(url).database
        guest = Client(server.named(name), "a guest")
        leaves = threading.Thread(target=lambda: (until(lambda: _dropping(db, name), "the drop"), guest.close()))
        leaves.start()
    leaves.join()
    assert db.rows(COPIES, name) == []


def test_a_throw_away_database_that_somebody_stays_in_is_named(server, owner, db):
    made = contextlib.ExitStack()
    name = make_url(made.enter_context(throwaway.database(owner))).database
    with contextlib.closing(Client(server.named(name), "a guest")), pytest.raises(Refused) as refused:
        made.close()
    assert refused.value.message.startswith(f"{name} stays on ")
    assert refused.value.message.endswith(f'database "{name}" is being accessed by other users')
    assert refused.value.cure == "drop that database by hand"
    server.execute("DROP DATABASE {}", name)


def test_a_session_of_a_killed_run_does_not_keep_its_copy_while_a_guest_is_in_it(
    server, owner, project, spawn, db, prefix, left
):
    copy = left(owner)
    project.sql("a1", "CREATE TABLE t (id int)")
    ours = Client(make_url(owner).set(database=copy).render_as_string(hide_password=False))
    with contextlib.closing(ours):
        with contextlib.closing(Client(server.named(copy), "a guest")):
            running = spawn("upgrade", project=project, url=owner)
            until(lambda: running.process.poll() is not None or _dropping(db, prefix), "the drop")
        assert running.result().code == 0, running.text
    assert db.rows(COPIES, prefix) == []


def test_a_copy_that_cannot_be_dropped_is_named_and_keeps_nothing_from_being_done(
    owner, project, run, db, prefix, left
):
    copy = left()
    project.outside("a1", "CREATE TABLE t (id int)")
    done = run("upgrade", project=project, url=owner)
    assert done.code == 0, done.text
    assert done.out.splitlines()[:2] == [
        f"left       {copy}   a copy of the schema, which the next run is to drop: must be owner of database {copy}",
        "checked    a1   on a copy of the schema: it cannot be rolled back",
    ]
    assert db.rows(COPIES, prefix) == [(copy,)]


def test_a_copy_is_dropped_although_its_lock_is_held_for_longer_than_a_revision_may_wait(
    project, spawn, db, prefix, left
):
    copy = left()
    project.sql("a1", "CREATE TABLE t (id int)")
    with contextlib.closing(Client(db.url)) as client:
        client.run(f"COMMENT ON DATABASE {copy} IS 'held'")
        running = spawn("upgrade", project=project, MIGRATOR_LOCK_TIMEOUT="1ms")
        until(lambda: running.process.poll() is not None or db.rows(LOCKED, prefix), "the lock")
        db.rows("SELECT pg_sleep(0.1)")
    assert running.result().code == 0, running.text
    assert db.rows(COPIES, prefix) == []


@pytest.fixture
def means(db):
    """What a run works with, connected."""
    own = settings.load(env={"MIGRATOR_DATABASE_URL": db.url})
    deadline, interrupt = clock.Deadline.after(3_600_000), Interrupt()
    control = connect.control(own, deadline, interrupt, print)
    yield Means(control, own, deadline, interrupt, print)
    control.close()


def test_a_copy_is_given_more_time_than_the_ledger_and_no_more_afterwards(means):
    shown = "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"
    before = means.control.row(shown)
    with dry_run._unhurried(means):
        assert means.control.row(shown) == ("5s", "1min")
    assert (before, means.control.row(shown)) == (("50ms", "10s"), before)


def test_a_copy_that_there_is_no_time_left_for_is_named(means, left, db, prefix):
    said, copies = [], sorted([left(name="1"), left(name="2")])
    dry_run.drop_left_behind(means._replace(deadline=clock.Deadline.after(0), tell=said.append))
    reason = "a copy of the schema, which the next run is to drop: there was no time left for it"
    assert sorted(said) == [f"left       {copy}   {reason}" for copy in copies]
    assert sorted(db.rows(COPIES, prefix)) == [(copy,) for copy in copies]


def test_a_signal_cancels_what_runs_in_a_copy_so_that_there_is_time_to_drop_it(means, db, prefix):
    def ask():
        until(lambda: db.rows(SLEEPING, prefix), "the statement")
        means.interrupt.cancel()

    with dry_run._copy(means) as (_, engine), engine.connect() as connection:
        thread = threading.Thread(target=ask)
        thread.start()
        with pytest.raises(sqlalchemy.exc.OperationalError, match="canceling statement due to user request"):
            connection.exec_driver_sql("SELECT pg_sleep(100)")
        thread.join()
    assert db.rows(COPIES, prefix) == []


def test_a_run_that_is_stopped_while_it_tries_a_copy_leaves_none(project, spawn, db, prefix):
    project.outside("a1", "SELECT pg_sleep(60)", "CREATE TABLE t (id int)")
    running = spawn("upgrade", project=project, patient=True)
    until(lambda: db.rows(SLEEPING, prefix), "the statement")
    running.signal(signal.SIGTERM)
    done = running.result()
    assert (done.code, "unchecked" in done.text) == (143, False), done.text
    assert "(exit 143; safe to run again as it is)" in done.last
    assert db.rows(COPIES, prefix) == []
