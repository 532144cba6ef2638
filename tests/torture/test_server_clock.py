"""The server's own clock jumps a day: runs end well, the ledger keeps its order, who reported is live.

What a jump forwards does to reports is in docs/reliability.md: until an app reports again it is taken to be gone.
"""

import secrets
import tempfile
from pathlib import Path

import pytest

from lockstep.develop.sandbox import binaries, embedded
from tests.migrator.rig import Database, until
from tests.torture.kinds import MODELS, OLD, REPORTS
from tests.torture.test_host import FAKETIME, needs_faketime

pytestmark = needs_faketime
JUMPS = ("+1d", "-1d", "+0")
FEW = ("CREATE TABLE few (id int PRIMARY KEY, n int)", "INSERT INTO few SELECT g, 0 FROM generate_series(1, 20000) g")


class Clocked:
    """A server of its own whose clock `set` moves, for its running sessions too."""

    def __init__(self, top, monkeypatch):
        self._clock, real = top / "clock", binaries.find()
        self.set("+0")
        given = f"LD_PRELOAD={FAKETIME} FAKETIME_TIMESTAMP_FILE={self._clock} FAKETIME_NO_CACHE=1"
        for name, before in (("initdb", ""), ("postgres", f"export {given} FAKETIME_DONT_FAKE_MONOTONIC=1\n")):
            (top / name).write_text(f'#!/bin/sh\n{before}exec {real}/{name} "$@"\n')
            (top / name).chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setenv("PG_BIN", str(top))
            self._running = embedded.start(top / "data", password=secrets.token_urlsafe(9), settings=embedded.FORGETFUL)
        self.url = self._running.url()
        self.db = Database(self.url)

    def set(self, offset):
        self._clock.write_text(offset + "\n")
        self._clock.chmod(0o644)

    def close(self):
        self.set("+0")
        self.db.close()
        embedded.stop(self._running)


@pytest.fixture
def clocked(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="clock-") as path:
        Path(path).chmod(0o711)
        server = Clocked(Path(path).resolve(), monkeypatch)
        yield server
        server.close()


def test_it_jumps_between_runs_and_the_ledger_keeps_their_order(clocked, run, project):
    begun = clocked.db.one("SELECT now()")
    for name, offset in (("a1", "+0"), ("b2", "+1d"), ("c3", "-1d"), ("d4", "+0")):
        clocked.set(offset)
        project.sql(name, f"CREATE TABLE t_{name} (id int)", down=(f"DROP TABLE t_{name}",))
        done = run("upgrade", project=project, url=clocked.url)
        assert done.code == 0, done.text
    assert abs(clocked.db.one("SELECT max(started) - %s FROM migrator.run", begun).days) == 1
    assert [row[0] for row in clocked.db.steps()] == ["a1", "b2", "c3", "d4"]
    assert clocked.db.runs() == [("upgrade", "done")] * 4
    for verb in ("status", "history", "plan"):
        assert run(verb, project=project, url=clocked.url).code == 0
    assert run("downgrade", "b2", project=project, url=clocked.url).code == 0
    assert run("upgrade", project=project, url=clocked.url).code == 0


def test_it_jumps_while_a_run_waits_for_a_lock(clocked, run, spawn, project):
    project.sql("a1", "CREATE TABLE t (id int)")
    assert run("upgrade", project=project, url=clocked.url).code == 0
    project.sql("b2", "ALTER TABLE t ADD COLUMN n int")
    project.outside("c3", "CREATE INDEX CONCURRENTLY ix ON t (id)")
    holder = Database(clocked.url)
    holder.rows("BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE")
    running = spawn("upgrade", project=project, url=clocked.url)
    until(clocked.db.waiting, "a run that waits")
    for offset in JUMPS:
        clocked.set(offset)
        assert clocked.db.columns("t") == ["id"]
    holder.rows("COMMIT")
    holder.close()
    done = running.result(90)
    assert done.code == 0, done.text
    assert [row[0] for row in clocked.db.steps()] == ["a1", "b2", "c3"]
    clocked.db.require_free_lock()


@pytest.fixture
def deferring(clocked, run, project):
    """A release that reported, and a revision pending that takes away what it needs."""
    models = project.directory / "models.py"
    project.ini.write_text(project.ini.read_text() + "models = %(here)s/models.py\n")
    models.write_text(MODELS + OLD)
    project.sql("a1", "CREATE TABLE t (id bigint PRIMARY KEY, name text NOT NULL, old text)")
    assert run("upgrade", project=project, url=clocked.url).code == 0
    for sql in REPORTS:
        clocked.db.rows(sql)
    models.write_text(MODELS)
    project.sql("b2", "ALTER TABLE t DROP COLUMN old")
    return clocked


def test_it_goes_back_and_who_reported_stays_live(deferring, run, project):
    for offset in ("-1h", "-1d", "-400d"):
        deferring.set(offset)
        done = run("upgrade", project=project, url=deferring.url)
        assert (done.code, "old" in deferring.db.columns("t")) == (0, True), done.text


def test_it_goes_forwards_and_who_reports_again_is_live(deferring, run, project):
    deferring.set("+1d")
    deferring.db.rows("UPDATE migrator.instance SET seen = now()")
    done = run("upgrade", project=project, url=deferring.url)
    assert (done.code, "old" in deferring.db.columns("t")) == (0, True), done.text


def test_it_jumps_while_two_share_a_backfill(clocked, run, spawn, project):
    project.sql("a1", *FEW)
    project.revision("b2", """op.backfill("few", set={"n": "n + 1"}, where="n = 0")""")
    assert run("upgrade", project=project, url=clocked.url).code == 0
    both = [spawn("backfill", project=project, url=clocked.url) for _ in range(2)]
    for offset in JUMPS * 3:
        clocked.set(offset)
        clocked.db.rows("SELECT count(*) FROM few")
    for running in both:
        done = running.result(90)
        assert done.code == 0, done.text
    assert clocked.db.rows("SELECT n, count(*) FROM few GROUP BY 1") == [(1, 20000)]


def test_it_goes_forwards_and_who_has_signed_off_or_not_reported_since_is_gone(deferring, run, project):
    """What is known not to hold: the server cannot tell a jump from a day without reports."""
    deferring.set("+1d")
    done = run("upgrade", project=project, url=deferring.url)
    assert (done.code, "old" in deferring.db.columns("t")) == (0, False), done.text
