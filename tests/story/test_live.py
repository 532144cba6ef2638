"""Who is live: an instance that was killed holds its release for the retention and not longer, by one clock alone."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import subprocess
from pathlib import Path

import httpx
import psycopg2
import pytest
from sqlalchemy import create_engine, event, make_url

from app import release
from local.story.switch import until
from local.story.tale import DROP
from lockstep_gate import reporting, verdict

LONG, SHORT_S = "10min", 2
LIBRARY = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
YEARS_OFF = ("+1000d", "-1000d")


def drop_waits_for(tale, second, retention):
    return f"deferred   {DROP}" in tale.migrate(second, "--deferred-only", "--retention", retention).out


def test_a_killed_instance_keeps_its_release_live_until_the_retention_is_over_and_not_longer(tale, first, second):
    tale.migrate(first)
    instance = tale.instance(first)
    instance.until_ready()
    assert f"deferred   {DROP}" in tale.migrate(second).out
    assert instance.end(signal.SIGKILL) == -signal.SIGKILL
    assert drop_waits_for(tale, second, LONG)
    until(lambda: not drop_waits_for(tale, second, f"{SHORT_S}s"), "the end of the retention")
    ((gone_for,),) = tale.place.rows(
        "SELECT extract(epoch FROM finished - (SELECT max(seen) FROM migrator.instance)) "
        "FROM migrator.step ORDER BY id DESC LIMIT 1"
    )
    assert gone_for > SHORT_S
    assert tale.place.rows("SELECT ended FROM migrator.instance") == [(None,)]


@pytest.mark.parametrize("off", YEARS_OFF)
@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (Debian: apt install faketime)")
def test_an_instance_whose_clock_is_years_off_is_as_live_as_any_other(tale, first, second, off):
    tale.migrate(first)
    instance = tale.instance(dataclasses.replace(first, processes=subprocess), LD_PRELOAD=LIBRARY, FAKETIME=off)
    instance.until_ready()
    ((near,),) = tale.place.rows("SELECT now() - seen < interval '1 min' AND seen >= started FROM migrator.instance")
    assert near
    assert f"deferred   {DROP}" in tale.migrate(second).out
    assert instance.end(signal.SIGTERM) == 0
    ((near,),) = tale.place.rows("SELECT now() - ended < interval '1 min' AND ended >= started FROM migrator.instance")
    assert near
    assert f"applied    {DROP}" in tale.migrate(second, "--deferred-only").out


def test_no_time_of_the_apps_own_reaches_the_database(tale, first):
    tale.migrate(first)
    engine = create_engine(make_url(tale.place.url(tale.place.app)).set(drivername="postgresql+psycopg2"))
    sent = []

    @event.listens_for(engine, "before_cursor_execute")
    def _note(_connection, _cursor, statement, parameters, *_):
        sent.append((statement, set(parameters)))

    build = release.of_this_build("abc")
    instance = reporting.Instance(build)
    with engine.begin() as connection:
        reporting.report(connection, instance)
        reporting.report(connection, instance)
        reporting.sign_off(connection, instance)
    verdict.ask(engine, build)
    engine.dispose()
    reported = {"id", "release", "commit", "host", "driver", "schemas"}
    # Before each report the catalog is asked whether this ledger has a place for all of it.
    asked = {"names_1", "names_2", "names_3"}
    assert [names for _, names in sent] == [set(), reported, set(), reported, {"id"}, asked]


def test_one_instance_that_goes_on_reporting_is_enough(tale, first, second):
    tale.migrate(first)
    killed, lives = (tale.instance(first) for _ in range(2))
    killed.until_ready()
    lives.until_ready()
    killed.end(signal.SIGKILL)
    # As if an hour had passed: the one that lives reports again, the other does not.
    tale.place.rows("UPDATE migrator.instance SET seen = now() - interval '1 hour'")
    fresh = "SELECT count(*) FROM migrator.instance WHERE now() - seen < interval '1 min'"
    until(lambda: tale.place.rows(fresh) == [(1,)], "the next report")
    assert "(1 instance since" in tale.migrate(second, "--retention", LONG).out


def test_an_instance_that_starts_while_a_step_is_judged_waits_for_the_verdict(tale, first):
    tale.migrate(first)
    with contextlib.closing(psycopg2.connect(tale.place.url(tale.place.owner))) as step, step.cursor() as cursor:
        cursor.execute("LOCK TABLE migrator.instance IN SHARE MODE")  # what the guard does before it looks again
        instance = tale.instance(first)
        reports = "SELECT 1 FROM pg_locks WHERE relation = 'migrator.instance'::regclass AND NOT granted"
        until(lambda: tale.place.rows(reports), "a report that has to wait")
        assert (instance.status("/readyz"), instance.status("/users")) == (503, 503)
        cursor.execute("UPDATE migrator.release SET broken_by = 'a1'")
        step.commit()
    until(lambda: "revision a1" in httpx.get(f"{instance.url}/readyz", trust_env=False, timeout=60).text, "the verdict")
    assert instance.status("/users") == 503
    until(lambda: not tale.place.rows("SELECT 1 FROM migrator.instance WHERE ended IS NULL"), "its sign-off")
