"""Silence: a server that answers nothing, and keeps the connection, holds no run for longer than its deadline."""

import contextlib
import os
import subprocess
import sys
import threading
import weakref

import psycopg2
import pytest

from lockstep.stop import watchdog
from tests.app.rig import Network
from tests.migrator.rig import ROOT, until

SAID = "unreachable: no answer 0.5 s after the deadline: the connection to "
AGAIN = "(exit 5; safe to run again as it is)"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(watchdog, "PATIENCE_S", 0.5)
    monkeypatch.setattr(watchdog, "AGAIN_S", 0.1)
    monkeypatch.setattr(watchdog, "CUTS", 600)  # to leave by force would end the tests too


@pytest.fixture
def network(db):
    between = Network(db.url)
    yield between
    between.close()


@pytest.fixture
def frozen_at(network, db):
    """Freeze the network as soon as a migrator runs a statement of such words: its answer has not come through."""
    threads, frozen = [], threading.Event()

    def at(words):
        def runs():
            return [row for row in db.migrators() if row[1] == "active" and words in row[2]]

        def freeze():
            if not runs():
                return False
            network.freeze()
            if runs():
                return True
            network.mend()  # it had ended meanwhile
            return False

        threads.append(threading.Thread(target=lambda: (until(freeze, words), frozen.set())))
        threads[-1].start()
        return lambda _done: frozen.is_set()

    yield at
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("kind", ["own", "foreign"])
def test_in_a_statement_of_a_revision(kind, request, network, frozen_at, run_late, db):
    project = request.getfixturevalue("project" if kind == "own" else "foreign")
    project.sql("a1", "CREATE TABLE t (id int)", "SELECT pg_sleep(200)")
    done = run_late("upgrade", project=project, url=network.url, came_so_far=frozen_at("pg_sleep"))
    assert done.code == 5, done.text
    assert done.last.startswith(SAID), done.text
    assert done.last.endswith(AGAIN)
    assert "0 applied and kept, 1 not applied" in done.last
    network.cut()  # the server sees only now that nobody is there
    until(lambda: not db.migrators(), "its backends to leave")
    assert db.columns("t") == []
    db.require_free_lock()


def test_while_it_waits_for_the_lock(network, run_late, project, client, db):
    from lockstep.postgres import lock  # noqa: PLC0415

    client("another migrator").run("SELECT pg_advisory_lock(%s)", lock.key())
    frozen = threading.Event()

    def asks():
        return [row for row in db.migrators() if "advisory" in row[2]]

    freezer = threading.Thread(target=lambda: (until(asks, "the wait"), network.freeze(), frozen.set()))
    freezer.start()
    done = run_late("upgrade", project=project, url=network.url, came_so_far=lambda _done: frozen.is_set())
    freezer.join()
    assert (done.code, done.last[: len(SAID)]) == (5, SAID), done.text


def test_a_run_that_is_over_in_time_leaves_nothing_that_waits(network, run, project):
    project.sql("a1", "CREATE TABLE t (id int)")
    assert run("upgrade", project=project, url=network.url).code == 0
    assert "silence" not in [thread.name for thread in threading.enumerate()]


def test_no_python_runs_where_a_connection_goes_in_which_a_signal_would_be_lost(client):
    connection = client().raw
    watchdog.note(connection)
    assert [reference.__callback__ for reference in weakref.getweakrefs(connection)] == [None]


def test_in_the_revisions_own_python(project, db):
    project.revision("a1", "op.execute('CREATE TABLE t (id int)')\nimport time\ntime.sleep(60)")
    code = """
from lockstep import __main__; from lockstep.stop import watchdog as silence
silence.PATIENCE_S, silence.AGAIN_S = 0.2, 0.1
__main__.run()
"""
    environment = {"MIGRATOR_DATABASE_URL": db.url, "MIGRATOR_CONFIG": str(project.ini), "PYTHONPATH": str(ROOT)}
    for deadline in ("2s", "6s", "20s", "60s"):  # on a busy machine it may be up before the revision has begun
        done = subprocess.run(
            [sys.executable, "-c", code, "upgrade", "--deadline", deadline],
            env={**os.environ, **environment}, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        if "left by force" in done.stderr:
            break
    assert done.returncode == 3, done
    said = "busy: left by force 0.4 s after the deadline; the server rolls back. Cure: " + watchdog._CURE + "."
    assert done.stderr.splitlines()[-1] == f"{said} (exit 3; safe to run again as it is)"
    until(lambda: not db.migrators(), "its backends to leave")
    assert db.columns("t") == []
    db.require_free_lock()


@pytest.mark.parametrize("seed", ["SELECT pg_sleep(60)", ""])
def test_in_what_a_rehearsal_needs_first(seed, run_late, server, foreign, tmp_path):
    foreign.sql("a1", "SELECT 1" if seed else "SELECT pg_sleep(60)")
    foreign.sql("a2", "CREATE TABLE t (id int)")
    (tmp_path / "seed.sql").write_text(seed)
    start = "rehearse", "--from", "a1", "--seed", tmp_path / "seed.sql", "--shadow-url", server.url
    before = throw_away_databases(server)
    done = run_late(*start, project=foreign, came_so_far=lambda done: "no answer 0.5 s after" in done.last)
    assert (done.code, done.last.partition(":")[0]) == (5, "unreachable"), done.text
    assert "no answer 0.5 s after the deadline" in done.last
    assert throw_away_databases(server) <= before


def throw_away_databases(server):
    with contextlib.closing(psycopg2.connect(server.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE 'shadow_%'")
        return {name for (name,) in cursor.fetchall()}
