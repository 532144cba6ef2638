"""Signals: whatever it is doing, it takes back what is open, lets go of the lock and leaves soon."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import termios

import pytest

from tests.app.rig import Network
from tests.migrator.rig import ROOT, Running, until

SECONDS = 60  # it promises two, and what is stopped here would take ten minutes: a busy machine is allowed for


def stop(running, number):
    running.signal(number)
    return running.result(SECONDS)


def check(done, number, db):
    assert done.code == 128 + number, done.text
    assert done.last.startswith("interrupted: ")
    assert f"(exit {128 + number}; safe to run again as it is)" in done.last
    assert "Traceback" not in done.text
    until(lambda: not db.migrators(), "its backends to leave")
    db.require_free_lock()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_it_waits_for_the_database(number, spawn, project, db):
    running = spawn("upgrade", project=project, url="postgresql://u:hunter2@127.0.0.1:1/d")
    running.said("waiting    for u@127.0.0.1:1/d: Connection refused")
    check(stop(running, number), number, db)


def test_while_the_database_takes_the_connection_and_says_nothing(spawn, project, db):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        running = spawn("upgrade", project=project, url=f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/d")
        with silent.accept()[0]:
            done = stop(running, signal.SIGTERM)
    assert done.code == 143
    assert done.last.startswith("interrupted: ")


def test_while_it_waits_for_the_lock(spawn, project, db, client):
    from lockstep.postgres import lock  # noqa: PLC0415

    holder = client("another migrator")
    holder.run("SELECT pg_advisory_lock(%s)", lock.key())
    running = spawn("upgrade", project=project)
    running.said("waiting    another migrator is at work")
    done = stop(running, signal.SIGTERM)
    holder.close()
    check(done, signal.SIGTERM, db)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_it_waits_for_a_tables_lock(number, spawn, project, db, client):
    db.rows("CREATE TABLE t (id int)")
    project.sql("a1", "CREATE TABLE u (id int)", "ALTER TABLE t ADD COLUMN n int")
    reader = client()
    reader.run("SELECT * FROM t")
    running = spawn("upgrade", project=project, patient=True)
    until(db.waiting, "the wait")
    check(stop(running, number), number, db)
    assert (db.columns("t"), db.columns("u")) == (["id"], [])
    assert db.steps() == []
    assert db.runs() == [("upgrade", "interrupted")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_in_a_long_statement(number, spawn, project, db):
    project.sql("a1", "CREATE TABLE u (id int)", "SELECT pg_sleep(600)")
    running = spawn("upgrade", project=project, patient=True)
    until(lambda: [row for row in db.migrators() if "pg_sleep" in row[2]], "the statement to run")
    check(stop(running, number), number, db)
    assert db.columns("u") == []
    assert db.runs() == [("upgrade", "interrupted")]


def test_in_python_code_of_a_revision(spawn, project, db):
    project.revision(
        "a1", "op.execute('CREATE TABLE u (id int)')\nprint('thinking', flush=True)\nimport time\ntime.sleep(600)"
    )
    running = spawn("upgrade", project=project)
    running.said("thinking")
    done = stop(running, signal.SIGTERM)
    assert done.code == 143
    assert done.last.startswith("interrupted: ")
    until(lambda: not db.migrators(), "its backends to leave")
    assert db.columns("u") == []
    db.require_free_lock()


def test_in_a_models_file_whose_output_is_kept_from_the_terminal(spawn, project, db, tmp_path):
    loading = tmp_path / "loading"
    models = f"import pathlib, time\npathlib.Path({str(loading)!r}).touch()\ntime.sleep(600)\n"
    (project.directory / "models.py").write_text(models)
    project.ini.write_text(project.ini.read_text() + "models = %(here)s/models.py\n")
    running = spawn("upgrade", project=project)
    until(loading.exists, "the models file to be loaded")
    done = stop(running, signal.SIGTERM)
    assert done.code == 143
    assert done.last.startswith("interrupted: ")
    until(lambda: not db.migrators(), "its backends to leave")
    db.require_free_lock()


def test_while_nobody_reads_what_it_says(project, db):
    project.revision(
        "a1", "op.execute('CREATE TABLE t (id int)')\nwhile True:\n    print('thinking ' * 1000, flush=True)"
    )
    environment = {"MIGRATOR_DATABASE_URL": db.url, "MIGRATOR_CONFIG": str(project.ini), "PYTHONPATH": str(ROOT)}
    unread, said = os.pipe()
    fcntl.fcntl(said, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen(
        [sys.executable, "-m", "migrator", "upgrade"],
        env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
    ) as process:  # fmt: skip
        until(lambda: is_full(unread), "the pipe to be full")
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 143
    os.close(unread)
    os.close(said)
    until(lambda: not db.migrators(), "its backends to leave")
    assert db.columns("t") == []
    db.require_free_lock()


def is_full(pipe):
    """Tell whether a pipe has no room left."""
    held = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, held)
    return int.from_bytes(held, sys.byteorder) == fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)


def test_twice_is_as_good_as_once(spawn, project, db):
    project.sql("a1", "SELECT pg_sleep(600)")
    running = spawn("upgrade", project=project, patient=True)
    until(lambda: [row for row in db.migrators() if "pg_sleep" in row[2]], "the statement to run")
    running.signal(signal.SIGTERM)
    check(stop(running, signal.SIGTERM), signal.SIGTERM, db)


def test_at_every_line_of_a_sleep():
    code = """
import signal, sys, threading
from lockstep.stop import interrupt; from lockstep.stop import signals
from lockstep.errors import Interrupted
interrupt.GRACE_S = 60  # however busy the machine is
def strike(at):
    "Send a signal at that line of the sleep's own code; tell whether there is one."
    lines = 0
    def trace(frame, event, _):
        nonlocal lines
        if frame.f_code.co_filename != threading.__file__:
            return None
        lines += event == "line"
        if event == "line" and lines == at:
            signal.raise_signal(signal.SIGTERM)
        return trace
    signals._Process.asked = None
    with interrupt.listening(interrupt.Interrupt()) as run:
        sys.settrace(trace)
        try:
            run.sleep(0.02)
        except Interrupted:
            return True
        finally:
            sys.settrace(None)
    return lines >= at
struck = 0
while strike(struck + 1):
    struck += 1
print(struck)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert int(done.stdout) > 10, done


def test_while_the_network_is_silent(spawn, project, db):
    project.sql("a1", "SELECT pg_sleep(600)")
    network = Network(db.url)
    running = spawn("upgrade", project=project, url=network.url)
    until(lambda: [row for row in db.migrators() if "pg_sleep" in row[2]], "the statement to run")
    network.freeze()  # nobody hears that the statement is to be cancelled
    done = stop(running, signal.SIGTERM)
    network.close()
    check(done, signal.SIGTERM, db)
    assert "left by force after 1.7 s" in done.last


def test_killed_while_it_is_queued_it_does_not_stay_in_the_queue(spawn, project, db, client):
    db.rows("CREATE TABLE t (id int)")
    project.sql("a1", "SET LOCAL lock_timeout = 0", "ALTER TABLE t ADD COLUMN n int")
    reader = client()
    reader.run("SELECT * FROM t")
    running = spawn("upgrade", project=project)
    until(lambda: [row for row in db.migrators() if row[3] == "Lock"], "the queue")
    running.signal(signal.SIGKILL)
    until(lambda: not db.migrators(), "the backend to leave the queue")
    assert db.columns("t") == ["id"]
    client().run("SELECT * FROM t")


# The process as it is, but for one function that first sends the process a signal.
STRUCK = """
import signal, sys
from importlib import import_module
from lockstep import __main__
place, name, when = sys.argv.pop(1).split(":")
owner = import_module(place.partition("/")[0])
owner = getattr(owner, place.partition("/")[2]) if "/" in place else owner
whole = getattr(owner, name)
def struck(*arguments, **named):
    answer = whole(*arguments, **named) if when == "after" else None
    both = {signal.SIGTERM, signal.SIGHUP} if when == "twice" else {signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, both)
    for number in both:
        signal.raise_signal(number)  # to this thread: pending until it lets them in
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
    except KeyboardInterrupt:  # as the import of some modules does
        if when != "lost":
            raise
    return answer if when == "after" else whole(*arguments, **named)
setattr(owner, name, struck)
__main__.run()
"""


def struck(place, environment, *arguments):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever started the tests may have it ignored
    try:
        return subprocess.run(
            [sys.executable, "-c", STRUCK, place, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("when", ["once", "twice", "lost"])
@pytest.mark.parametrize(
    ("place", "columns"),
    [
        ("lockstep.cli:main", []),  # before anything
        ("lockstep.flags:_separated", []),  # before it has read its arguments
        ("importlib:import_module", []),  # before it has its verb
        ("lockstep.project.environment:load", []),  # before it has connected
        ("lockstep.report/Report:finish", ["id"]),  # after all was done
    ],
)
def test_while_nobody_listens(place, when, columns, project, db):
    project.sql("a1", "CREATE TABLE t (id int)")
    environment = {"MIGRATOR_DATABASE_URL": db.url, "MIGRATOR_CONFIG": str(project.ini)}
    done = struck(f"{place}:{when}", environment, "upgrade")
    assert "Traceback" not in done.stderr
    assert db.columns("t") == columns
    until(lambda: not db.migrators(), "its backends to leave")
    db.require_free_lock()
    if columns and when == "lost":  # there is nothing left to stop
        assert (done.returncode, done.stderr) == (0, "")
        return
    last = done.stderr.splitlines()[-1]
    assert last.partition(":")[0] == "interrupted"
    assert done.returncode in ((129, 143) if when == "twice" else (143,))
    assert last.endswith(f"(exit {done.returncode}; safe to run again as it is)")


def test_after_the_last_word_there_is_no_other(project, db):
    environment = {"MIGRATOR_DATABASE_URL": db.url, "MIGRATOR_CONFIG": str(project.ini)}
    done = struck("lockstep.report/Report:finish:after", environment, "wait", "--json")
    assert (done.returncode, done.stderr.count("interrupted")) == (0, 0)
    assert json.loads(done.stdout)["outcome"] == "done"


def test_while_python_ends_no_signal_makes_another_code_of_it(project, db):
    code = """
import signal
from lockstep import __main__; from lockstep.stop import signals
def last():
    print(*(signal.getsignal(number).name for number in (signal.SIGINT, signal.SIGTERM)), flush=True)
ignore = signals.ignore
signals.ignore = lambda: (ignore(), last())
__main__.run()
"""
    environment = {"MIGRATOR_DATABASE_URL": db.url, "MIGRATOR_CONFIG": str(project.ini), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, "wait"],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "SIG_IGN SIG_IGN"), done


def test_a_throw_away_database_is_dropped_in_its_own_time(server, db):
    code = """
import os, signal, sys, time
from lockstep.develop.sandbox import throwaway as shadow
from lockstep.postgres import drop_database as drop
from lockstep.stop import interrupt
def slowly(*arguments, whole=drop.database):
    time.sleep(interrupt.GRACE_S + 0.5)
    whole(*arguments)
drop.database = slowly
with interrupt.heeding(), shadow.database(sys.argv[1]) as url:
    print(url.rpartition("/")[2], flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, server.url], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr.splitlines()[-1] == f"KeyboardInterrupt: {signal.SIGTERM}"
    assert db.rows("SELECT 1 FROM pg_database WHERE datname = %s", done.stdout.strip()) == []


def test_after_the_last_word_it_leaves_as_it_said(project, db):
    project.revision("a1", "import threading\nthreading.Thread(target=threading.Event().wait).start()")
    environment = {"MIGRATOR_DATABASE_URL": db.url, "MIGRATOR_CONFIG": str(project.ini)}
    running = Running(["upgrade"], environment)
    running.said("done: 1 applied")
    done = stop(running, signal.SIGTERM)  # the revision's thread would keep it for good
    assert (done.code, done.err) == (0, "")


def test_a_hangup_that_whoever_started_it_had_ignored_is_ignored(project, db, client):
    holder = client()
    holder.run("SELECT pg_advisory_lock(4711)")
    project.sql("a1", "SELECT pg_advisory_xact_lock(4711)")
    environment = {"MIGRATOR_DATABASE_URL": db.url, "MIGRATOR_CONFIG": str(project.ini)}
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does; a child has it from us
    try:
        running = Running(["upgrade"], environment, processes=subprocess)
    finally:
        signal.signal(signal.SIGHUP, before)
    until(db.waiting, "the wait")
    running.signal(signal.SIGHUP)
    holder.close()
    assert running.result().code == 0


def test_in_a_statement_outside_a_transaction(spawn, project, db):
    project.outside("a1", "CREATE TABLE t (id int)", "SELECT pg_sleep(600)")
    running = spawn("upgrade", project=project, patient=True)
    until(lambda: [row for row in db.migrators() if "pg_sleep" in row[2]], "the statement to run")
    check(stop(running, signal.SIGTERM), signal.SIGTERM, db)


@contextlib.contextmanager
def full_pipe():
    """Give the end of a pipe that takes nothing more, as nobody reads it."""
    unread, full = os.pipe()
    os.set_blocking(full, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(full, b" "):
            pass
    os.set_blocking(full, True)
    try:
        yield full
    finally:
        os.close(full)
        os.close(unread)


def test_at_the_end_of_what_listens_in_a_verb_that_goes_on():
    code = """
import signal, time
from lockstep.stop import interrupt
interrupt.LONG_GRACE_S = 0.5
with interrupt.heeding():
    with interrupt.listening(interrupt.Interrupt()):
        signal.raise_signal(signal.SIGTERM)
    time.sleep(600)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 143, done
    assert "left by force after 0.5 s" in done.stderr


def test_while_a_verb_on_a_throw_away_database_makes_it(server, project):
    project.sql("a1", "CREATE TABLE t (id int)")
    environment = {"MIGRATOR_SHADOW_URL": server.url, "MIGRATOR_CONFIG": str(project.ini)}
    done = struck("lockstep.develop.replay:_version:lost", environment, "checkpoint", "--checkpoint", os.devnull)
    assert done.returncode == 143, done
    assert done.stderr.splitlines()[-1].startswith("interrupted: stopped by signal 15; ")


def test_while_nobody_reads_its_last_word():
    code = """
from lockstep import __main__; from lockstep.stop import interrupt; from lockstep import report
interrupt.LONG_GRACE_S = 0.5
write = report._write
report._write = lambda *what: (print("writing", flush=True), write(*what))
__main__.run()
"""
    command = [sys.executable, "-c", code, "nonsense"]
    with (
        full_pipe() as full,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=full) as process,
    ):
        try:
            assert process.stdout.readline() == b"writing\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 143
        finally:
            process.kill()
