"""Pressure: the backfill steps back when the database suffers, and says why."""

import contextlib
import dataclasses
import threading
import types

import psycopg2
import psycopg2.extras
import pytest

from lockstep.backfill.pace import Pace
from lockstep.backfill.pressure import Limits, Pressure
from lockstep.develop.sandbox import embedded
from lockstep.postgres import connect
from lockstep.postgres.address import address
from lockstep.postgres.control import Control
from tests.migrator.rig import until

BACKFILL = types.SimpleNamespace(namespace="public", relation="people")


@contextlib.contextmanager
def in_thread(function):
    """Run a statement that waits beside the block."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    yield
    thread.join(30)


@pytest.fixture
def look(db, run, project):
    """Ask for the reason to pause, under limits of the test's own."""
    project.sql("a1", "CREATE TABLE people (id int PRIMARY KEY)", "INSERT INTO people SELECT generate_series(1, 1000)")
    assert run("upgrade", project=project).code == 0
    where = address(db.url)
    control = Control(connect.open_connection(where, 5), where)
    made = {}

    def reason(**limits):
        pressure = made.setdefault("pressure", Pressure(control, BACKFILL))
        pressure.limits = dataclasses.replace(Limits(), **limits)
        return pressure.reason()

    yield reason
    control.close()


def test_a_quiet_database_gives_no_reason(look):
    assert look() is None


def test_somebody_who_waits_long_for_a_lock_on_the_table_does(look, db, client):
    holder, waiter = client("holder"), client("the waiter")
    holder.run("SELECT 1 FROM people")
    with in_thread(lambda: waiter.run("ALTER TABLE people ADD note text DEFAULT 'secret'")):
        until(lambda: db.rows("SELECT 1 FROM pg_locks WHERE NOT granted"), "the waiter")
        found = until(lambda: look(lock_wait_ms=10), "a reason")
        assert f"pid {waiter.pid} (the waiter) has waited " in found
        assert found.endswith(" s for a lock on people: ALTER TABLE people ADD note text DEFAULT ?")
        holder.raw.rollback()
    assert look(lock_wait_ms=10) is None


def test_a_replica_that_is_behind_does(look, db, server):
    dsn = psycopg2.extensions.parse_dsn(server.url)
    replica = psycopg2.connect(
        **dsn, connection_factory=psycopg2.extras.PhysicalReplicationConnection, application_name="a replica"
    )
    with contextlib.closing(replica), replica.cursor() as cursor:
        start = db.one("SELECT pg_current_wal_lsn()::text")
        cursor.start_replication(start_lsn=start)
        high, low = (int(part, 16) for part in start.split("/"))
        at = (high << 32) + low
        cursor.send_feedback(write_lsn=at, flush_lsn=at, apply_lsn=at, force=True)
        db.rows("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
        found = until(lambda: look(lag_bytes=1 << 20), "the lag")
        assert found.startswith("the replica a replica is ")
        assert look(lag_bytes=1 << 40) is None


def test_dead_rows_that_autovacuum_does_not_take_away_do(look, db, client):
    # Autovacuum comes by once in a minute, and might do so just now: it leaves out what somebody has locked like this.
    holder = client("holder")
    holder.run("LOCK TABLE people IN SHARE UPDATE EXCLUSIVE MODE")
    db.rows("UPDATE people SET id = id")
    seen = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'people'"
    until(lambda: db.one(seen) >= 900, "statistics")
    assert "autovacuum is behind on people: 1,000 dead rows" in until(lambda: look(vacuum_patience_ms=0), "a reason")
    assert look() is None
    holder.raw.rollback()
    db.rows("VACUUM people")
    until(lambda: db.one(seen) == 0, "statistics")
    assert look(vacuum_patience_ms=0) is None


@pytest.mark.slow
def test_a_growing_queue_of_the_wal_archive_does():
    settings = {"archive_mode": "on", "archive_command": "test ! -e /tmp/nowhere/%f && false", "max_wal_size": "1GB"}
    with embedded.throwaway(settings) as server:
        where = address(server.url())
        control = Control(connect.open_connection(where, 5), where)
        with contextlib.closing(control):
            control.rows("CREATE SCHEMA migrator; CREATE TABLE migrator.backfill_worker (pid int, backend_start text)")
            pressure = Pressure(control, BACKFILL, Limits(archive_segments=2))
            assert pressure._archiving() is None
            for _ in range(5):
                control.rows("SELECT pg_logical_emit_message(false, 'x', 'x'), pg_switch_wal()")
            found = until(pressure._archiving, "a queue")
            assert found.endswith(" WAL segments wait to be archived, and they grow no fewer")


def steady(pace, row_ms, *, written=1.0, fixed_ms=0.0):
    for _ in range(30):
        pace.took(pace.size, int(pace.size * written), pace.size * row_ms + fixed_ms)


def test_the_size_of_batches_follows_the_target_time():
    pace = Pace(100, 50)
    steady(pace, 0.01)  # 100,000 rows a second
    assert pace.size == 2500
    pace.took(pace.size, pace.size, 250)  # ten times as slow: at once
    assert pace.size == 250
    pace.took(1, 1, 40.0)  # one row on its own says nothing of rows
    assert pace.size == 250
    pace.missed()
    assert pace.size == 125


def test_rows_that_are_done_already_do_not_make_the_next_batch_too_long():
    pace = Pace(100, 50)
    steady(pace, 0.0001, written=0)
    assert pace.size == 1250
    steady(pace, 0.002)
    assert 12_000 < pace.size <= 12_500
    steady(pace, 0.0001, written=0.01)
    assert 12_000 < pace.size <= 12_500


def test_what_every_batch_costs_whatever_its_size_leaves_less_time_to_its_rows():
    pace = Pace(100, 50)
    steady(pace, 0.01, fixed_ms=10)
    assert 1_400 < pace.size <= 1_600


def test_what_fewer_rows_cannot_make_quicker_does_not_make_batches_ever_smaller():
    pace = Pace(100, 50)
    steady(pace, 0.01)
    steady(pace, 0.01, fixed_ms=100)
    assert pace.size > 250


def test_the_reason_is_shown_while_it_lasts(people, run, spawn, db, client, undone):
    project = people(0)
    assert run("upgrade", project=project).code == 0
    undone(undo="INSERT INTO people (name) SELECT 'Name ' || n FROM generate_series(1, 2000) AS n")
    holder, waiter = client("holder"), client("the waiter")
    holder.run("SELECT 1 FROM people")
    with in_thread(lambda: waiter.run("LOCK TABLE people")):
        until(lambda: db.rows("SELECT 1 FROM pg_locks WHERE NOT granted"), "the waiter")
        worker = spawn("backfill", project=project)
        worker.said("paused     people_handle   ")
        until(lambda: f"pid {waiter.pid} (the waiter) has waited" in paused_for(run, project), "the reason")
        holder.raw.rollback()
    waiter.raw.rollback()
    assert worker.result().code == 0
    assert db.one("SELECT count(handle) FROM people") == 2000


def paused_for(run, project):
    return run("backfill", "status", "--json", project=project).json["backfills"][0]["paused_for"] or ""


def test_a_batch_that_was_cut_off_among_quick_ones_is_not_tried_at_that_size_again():
    pace = Pace(100, 50)
    steady(pace, 0.025)
    assert pace.size == 1000
    pace.cut_off()  # from here on a row takes 6 ms
    pace.took(pace.size, pace.size, pace.size * 6.0)
    assert pace.size < 10
