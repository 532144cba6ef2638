"""Host: the disk full, no connection left, a standby, clocks that jump, no files, little memory, no one to talk to.

Each ends with one clear line and its documented code, leaves the ledger true, and the next run finishes the work.
"""

import contextlib
import ctypes
import os
import pty
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg2
import pytest

from lockstep.develop.sandbox import binaries, embedded
from tests.migrator.rig import ROOT, Database, Result, until
from tests.torture import state

LIBC = ctypes.CDLL(None, use_errno=True)
FAKETIME = next((path for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
needs_faketime = pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed (Debian: faketime)")


@contextlib.contextmanager
def own_server(data, **settings):
    """A server of this test alone; yields it."""
    running = embedded.start(data, password=secrets.token_urlsafe(12), settings={**embedded.FORGETFUL, **settings})
    try:
        yield running
    finally:
        embedded.stop(running)


@pytest.fixture
def top():
    with tempfile.TemporaryDirectory(prefix="host-") as path:
        Path(path).chmod(0o711)
        yield Path(path).resolve()


@contextlib.contextmanager
def small_disk(path, size):
    """A file system of so many bytes, where this process may make one."""
    path.mkdir()
    if LIBC.mount(b"tmpfs", str(path).encode(), b"tmpfs", 0, f"size={size}".encode()):
        pytest.skip(f"no tmpfs can be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield path
    finally:
        LIBC.umount2(str(path).encode(), 2)


def clear(done, codes):
    assert done.code in codes, done.text
    assert "Traceback" not in done.text
    if done.code:
        assert f"(exit {done.code}; " in done.last, done.text


def converges(run, project, database, revisions):
    done = run("upgrade", project=project, url=database.url)
    assert done.code == 0, done.text
    assert [(revision, kind) for revision, _, kind in database.steps()] == [(one, "finished") for one in revisions]
    assert state.left_behind(database._look) == []


def test_a_table_that_finds_no_room_is_a_failed_step_and_there_is_room_again(top, run, project):
    with small_disk(top / "disk", "12m") as disk, own_server(top / "data") as server:
        shutil.chown(disk, server.data.stat().st_uid)
        database = Database(server.url())
        database.rows(f"CREATE TABLESPACE small LOCATION '{disk}'")
        project.sql("a1", "CREATE TABLE ballast (x text) TABLESPACE small")
        project.sql(
            "b2", "CREATE TABLE t TABLESPACE small AS SELECT g, repeat('x', 500) FROM generate_series(1, 9000) g"
        )
        project.sql("c3", "CREATE TABLE u (id int)")
        assert run("upgrade", "a1", project=project, url=server.url()).code == 0
        database.rows("INSERT INTO ballast SELECT repeat('x', 500) FROM generate_series(1, 15000)")
        done = run("upgrade", project=project, url=server.url())
        clear(done, {4})
        assert "No space left on device" in done.last
        assert database.steps() == [("a1", "up", "finished")]
        assert database.columns("t") == []
        database.rows("TRUNCATE ballast")
        converges(run, project, database, ["a1", "b2", "c3"])
        database.close()


def test_a_server_without_any_room_left_is_finished_by_the_run_after_the_cleaning(top, run, project):
    with small_disk(top / "disk", "150m") as disk:
        (disk / "data").parent.chmod(0o711)
        with own_server(disk / "data", max_wal_size="64MB", min_wal_size="32MB") as server:
            project.sql("a1", "CREATE TABLE t (x text)")
            assert run("upgrade", project=project, url=server.url()).code == 0
            fill(disk)
            project.sql("b2", "INSERT INTO t SELECT repeat(md5(g::text), 30) FROM generate_series(1, 60000) g")
            done = run("upgrade", project=project, url=server.url(), MIGRATOR_WAIT="5s")
            clear(done, {4, 5})
            (disk / "ballast").unlink()
            until(lambda: answers(server), "the server")
            database = Database(server.url())
            database.rows("CHECKPOINT")
            project.revision("b2", "op.execute('INSERT INTO t VALUES (1)')", after="a1")
            converges(run, project, database, ["a1", "b2"])
            database.close()


def fill(disk):
    with (disk / "ballast").open("wb") as file, contextlib.suppress(OSError):
        left = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        file.write(b"x" * max(0, left - 6_000_000))
        file.flush()


def answers(server):
    try:
        psycopg2.connect(server.url()).close()
    except psycopg2.OperationalError:
        return False
    return True


def test_a_server_with_no_connection_left_is_waited_for_and_the_next_run_does_the_work(top, run, project):
    with own_server(top / "data", max_connections="6", superuser_reserved_connections="2") as server:
        database = Database(server.url())
        database.rows("CREATE ROLE weak LOGIN PASSWORD 'weak'")
        database.rows("CREATE DATABASE theirs OWNER weak")
        database.close()
        until(lambda: slots(server) == 1, "the server to be quiet")
        url = server.url("theirs", "weak", "weak")
        project.sql("a1", "CREATE TABLE t (id int)")
        with contextlib.ExitStack() as others:
            # One that has just left may hold its place a moment longer.
            taken = [others.enter_context(contextlib.closing(until(lambda: session(url), "a place"))) for _ in range(4)]
            for left in (0, 1, 2):  # none at all; one, for the lock alone; enough
                until(lambda: slots(server) == 1 + len(taken), "those who left to be gone")
                done = run("upgrade", "--wait", "300ms" if left < 2 else "60s", project=project, url=url)
                clear(done, {5} if left < 2 else {0})
                assert left > 1 or "remaining connection slots" in done.text or "too many clients" in done.text
                if taken:
                    taken.pop().close()
        own = Database(server.url("theirs"))
        converges(run, project, own, ["a1"])
        own.close()


def session(url):
    with contextlib.suppress(psycopg2.OperationalError):
        return psycopg2.connect(url)
    return None


def slots(server):
    with contextlib.closing(psycopg2.connect(server.url())) as look, look.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return cursor.fetchone()[0]


def test_a_standby_is_refused_until_it_is_the_primary(top, run, project):
    with own_server(top / "data") as primary:
        assert run("upgrade", project=project, url=primary.url()).code == 0
        backup = top / "standby"
        command = [binaries.find() / "pg_basebackup", "-D", backup, "-R", "-X", "fetch", "--no-sync", "-c", "fast"]
        environment = {"PGPASSWORD": primary.password, "PATH": os.environ["PATH"]}
        where = ["-h", embedded.HOST, "-p", str(primary.port), "-U", embedded.SUPERUSER]
        subprocess.run([*map(str, command), *where], env=environment, check=True, timeout=200)
        standby = embedded.start(backup, password=primary.password, settings=embedded.FORGETFUL)
        try:
            project.sql("a1", "CREATE TABLE t (id int)")
            done = run("upgrade", project=project, url=standby.url())
            clear(done, {1})
            assert "is a read-only replica. Cure: give the URL of the primary" in done.last
            look = Database(standby.url())
            look.rows("SELECT pg_promote()")
            converges(run, project, look, ["a1"])
            look.close()
        finally:
            embedded.stop(standby)


@needs_faketime
@pytest.mark.parametrize("clock", ["-20y", "+70y", "@1970-01-02 00:00:00", "+0 x20"])
def test_a_migrator_whose_clock_is_years_off_does_its_work(clock, spawn, run, project, db):
    project.sql("a1", "CREATE TABLE t (id int)")
    project.outside("b2", "CREATE INDEX CONCURRENTLY ix ON t (id)")
    given = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"}
    # libpq's bound for one connection goes by the clock of the day: on a loaded machine it ends early.
    done = spawn("upgrade", project=project, **given, MIGRATOR_WAIT="60s").result(90)
    clear(done, {0})
    converges(run, project, db, ["a1", "b2"])
    assert db.rows("SELECT 1 FROM migrator.step WHERE abs(extract(epoch FROM now() - started)) > 600") == []


@needs_faketime
def test_a_clock_that_jumps_in_the_middle_ends_no_run_and_lets_nobody_in(spawn, run, project, db, tmp_path):
    project.revision("a1", f"open({str(tmp_path / 'in')!r}, 'w').close()\nop.execute('SELECT pg_sleep(1)')")
    project.sql("b2", "CREATE TABLE t (id int)")
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    given = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    running = spawn("upgrade", project=project, FAKETIME_DONT_FAKE_MONOTONIC="1", **given)
    until((tmp_path / "in").exists, "the first revision")
    clock.write_text("+30d\n")
    second = spawn("upgrade", project=project)  # the lock is a fact on the server, not a time
    clear(running.result(60), {0})
    clear(second.result(60), {0})
    assert db.steps() == [("a1", "up", "finished"), ("b2", "up", "finished")]


@pytest.mark.parametrize("files", [4, 5, 6, 7, 8, 10, 12, 20])
def test_a_migrator_that_may_open_few_files_does_its_work_or_says_why_not(files, db, run, project):
    project.sql("a1", "CREATE TABLE t (id int)")
    done = limited(project, db, resource.RLIMIT_NOFILE, files)
    if "Fatal Python error" in done.text or (done.text.startswith("Traceback") and "migrator/cli.py" not in done.text):
        pytest.skip("Python itself does not start with so few")
    clear(done, {0, 1, 2, 4, 5})
    assert files < 20 or done.code == 0
    converges(run, project, db, ["a1"])


def limited(project, db, what, most):
    """Run an upgrade under a limit of the system's."""
    given = {"MIGRATOR_DATABASE_URL": db.url, "MIGRATOR_CONFIG": str(project.ini)}
    given["MIGRATOR_WAIT"] = "1s" if most < 20 else "60s"
    done = subprocess.run(
        [sys.executable, "-m", "migrator", "upgrade"], cwd=ROOT, env={**given, "PATH": os.environ["PATH"]},
        preexec_fn=lambda: resource.setrlimit(what, (most, most)), capture_output=True, text=True, check=False,
        timeout=200,
    )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr)


def test_two_thousand_revisions_fit_into_128_megabytes(db, project):
    for number in range(2000):
        project.sql(f"r{number:04}", *(["CREATE TABLE t (id int)"] if number == 0 else []))
    # The process says so itself: what the system counts for a child includes what its parent had when it began.
    code = "import sys; from lockstep.cli import main; code = main(['upgrade', 'r0002']); "
    code += "print(code, next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    given = {"MIGRATOR_DATABASE_URL": db.url, "MIGRATOR_CONFIG": str(project.ini), "PATH": os.environ["PATH"]}
    argv = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(argv, cwd=ROOT, env=given, capture_output=True, text=True, check=True, timeout=200)
    code, _, kilobytes, _ = done.stdout.strip().splitlines()[-1].split()
    assert code == "0", done.stdout + done.stderr
    assert int(kilobytes) < 128 * 1024


@pytest.mark.parametrize(
    "shell",
    [">&-", "2>&-", "<&-", ">&- 2>&- <&-", ">/dev/full", ">/dev/full 2>/dev/full", "--json >&-", "--json >/dev/full"],
)
def test_nobody_to_talk_to_does_not_keep_it_from_its_work(shell, db, run, project):
    project.sql("a1", "CREATE TABLE t (id int)")
    given = {"MIGRATOR_DATABASE_URL": db.url, "MIGRATOR_CONFIG": str(project.ini), "PATH": os.environ["PATH"]}
    line = f"exec {sys.executable} -m migrator upgrade {shell}"
    assert subprocess.run(["sh", "-c", line], cwd=ROOT, env=given, check=False, timeout=200).returncode == 0
    project.sql("b2", "SELECT 1 / 0")
    assert subprocess.run(["sh", "-c", line], cwd=ROOT, env=given, check=False, timeout=200).returncode == 4
    assert db.steps() == [("a1", "up", "finished")]


def test_a_terminal_that_goes_away_ends_the_run_and_the_next_one_finishes_it(db, run, project, tmp_path):
    place = tmp_path / "in"
    project.sql("a1", "CREATE TABLE t (id int)")
    project.revision("b2", f"open({str(place)!r}, 'w').close()\nop.execute('SELECT pg_sleep(60)')")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(MIGRATOR_DATABASE_URL=db.url, MIGRATOR_CONFIG=str(project.ini))
        os.chdir(ROOT)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever started the tests may have it ignored
        os.execv(sys.executable, [sys.executable, "-W", "ignore", "-m", "migrator", "upgrade"])  # noqa: S606 - a terminal of its own
    until(place.exists, "the second revision")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
    until(lambda: not db.migrators(), "its sessions to end")
    assert db.steps() == [("a1", "up", "finished")]
    project.revision("b2", "pass", after="a1")
    converges(run, project, db, ["a1", "b2"])
