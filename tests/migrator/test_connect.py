"""Connect: the bounded wait, and what is refused."""

import contextlib
import threading

import psycopg2
import pytest

from lockstep.develop.sandbox import binaries, embedded, unprivileged
from tests.ports import free_port


def test_it_waits_for_a_server_that_starts_late(spawn, project, db):
    from urllib.parse import urlsplit  # noqa: PLC0415

    project.sql("a1", "CREATE TABLE t (id int)")
    real = urlsplit(db.url)
    port = free_port()
    running = spawn("upgrade", project=project, url=db.url.replace(f":{real.port}/", f":{port}/"))
    running.said("waiting    for ")
    with relay(port, real.port):
        done = running.result()
    assert done.code == 0, done.text
    assert db.columns("t") == ["id"]


@contextlib.contextmanager
def relay(port, target):
    """Pass connections on to the real server."""
    import socket  # noqa: PLC0415

    listening = socket.create_server(("127.0.0.1", port))
    listening.settimeout(0.05)
    stop, open_sockets = threading.Event(), []

    def pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def accept():
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                one = listening.accept()[0]
                other = socket.create_connection(("127.0.0.1", target))
                one.settimeout(None)
                open_sockets.extend((one, other))
                for pair in ((one, other), (other, one)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield open_sockets
    finally:
        stop.set()
        thread.join()
        for item in (*open_sockets, listening):
            item.close()


def test_the_network_is_cut_in_the_middle(spawn, run, project, db):
    import socket  # noqa: PLC0415
    from urllib.parse import urlsplit  # noqa: PLC0415

    from tests.migrator.rig import until  # noqa: PLC0415

    project.sql("a1", "CREATE TABLE t (id int)", "SELECT pg_sleep(60)")
    real = urlsplit(db.url)
    port = free_port()
    with relay(port, real.port) as sockets:
        running = spawn("upgrade", project=project, url=db.url.replace(f":{real.port}/", f":{port}/"))
        until(lambda: [row for row in db.migrators() if "pg_sleep" in row[2]], "the statement to run")
        for item in sockets:
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
        done = running.result()
    assert done.code == 5, done.text
    assert "was lost; the server rolls back what was open" in done.last
    until(lambda: not db.migrators(), "its backends to leave")
    assert db.columns("t") == []


def test_the_end_of_the_wait_is_clear_and_in_time(run):
    done = run("wait", "--wait", "1s", url="postgresql://u@127.0.0.1:1/d", MIGRATOR_WAIT="1h")  # which would not end
    assert done.code == 5
    assert done.out == "waiting    for u@127.0.0.1:1/d: Connection refused\n"


def test_a_database_that_does_not_exist_is_not_waited_for(run, server):
    done = run("upgrade", url=server.named("no_such_database"))
    assert done.code == 2
    assert "the database does not exist. Cure: create it, or correct the name in the URL" in done.last


def test_a_role_that_does_not_exist_is_not_waited_for(run, server):
    from sqlalchemy import make_url  # noqa: PLC0415

    url = make_url(server.url).set(username="nobody", password="hunter2").render_as_string(hide_password=False)
    done = run("upgrade", url=url)
    assert done.code == 2
    assert "hunter2" not in done.text


def test_a_server_without_a_free_connection_is_waited_for(run, db):
    db.rows(f"ALTER DATABASE {db.one('SELECT current_database()')} CONNECTION LIMIT 0")
    db.rows("CREATE ROLE weak LOGIN PASSWORD 'weak'")
    with contextlib.ExitStack() as stack:
        stack.callback(db.rows, "DROP ROLE weak")
        from sqlalchemy import make_url  # noqa: PLC0415

        url = make_url(db.url).set(username="weak", password="weak").render_as_string(hide_password=False)
        done = run("upgrade", "--wait", "300ms", url=url)
    assert done.code == 5, done.text
    assert "too many connections for database" in done.last


def test_a_database_that_is_set_read_only_is_refused(run, project, db):
    db.rows(f"ALTER DATABASE {db.one('SELECT current_database()')} SET default_transaction_read_only = on")
    done = run("upgrade", project=project)
    assert done.code == 1
    assert "is set read-only. Cure: unset default_transaction_read_only for this role" in done.last


def test_limits_that_the_database_sets_for_everybody_do_not_reach_it(run, project, db):
    name = db.one("SELECT current_database()")
    for setting in (
        "lock_timeout = '1ms'",
        "statement_timeout = '500ms'",
        "idle_in_transaction_session_timeout = '1ms'",
        "search_path = 'elsewhere'",
    ):
        db.rows(f"ALTER DATABASE {name} SET {setting}")
    db.rows("CREATE SCHEMA elsewhere")
    project.sql("a1", "CREATE TABLE t (id int)", "SELECT pg_sleep(0.7)")
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert db.columns("elsewhere.t") == ["id"]


@pytest.mark.slow
def test_a_replica_is_refused(run, project, tmp_path_factory, request):
    """A real server in recovery: it would fail only at the first write."""
    import tempfile  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="replica-") as top:
        Path(top).chmod(0o711)
        data = Path(top) / "data"
        embedded._initialise(binaries.find(), data, "replica", binaries.version(binaries.find()))
        standby = data / "standby.signal"
        standby.touch()
        way = unprivileged.way(binaries.find(), data)
        unprivileged.hand_over(data, way.owner)
        running = embedded.start(data, password="replica", settings=embedded.FORGETFUL)
        try:
            done = run("upgrade", project=project, url=running.url())
            assert done.code == 1, done.text
            assert "is a read-only replica. Cure: give the URL of the primary" in done.last
            with contextlib.closing(psycopg2.connect(running.url())) as look, look.cursor() as cursor:
                cursor.execute("SELECT pg_is_in_recovery(), to_regclass('migrator.run')")
                assert cursor.fetchone() == (True, None)
        finally:
            embedded.stop(running)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u@h/d?sslmode=required", "the value of sslmode in the URL is not one that it can have"),
        ("postgresql://u@h/d?channel_binding=yes", "the value of channel_binding in the URL is not one"),
        ("postgresql://u@h/d?sslmod=require", "holds an option that PostgreSQL does not know"),
        ("postgresql://u@h/my db", "holds white space. Cure: in a name or a password a space is written as %20"),
        ("postgresql://u@h:abc/d", "names a port that is not valid"),
        ("postgresql://u@/d?host=h:99999&host=h:1", "names a port that is not valid"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(run, url, says):
    done = run("wait", "--wait", "1s", url=url)
    assert done.code == 2, done.text
    assert says in done.last


def test_channel_binding_without_encryption_is_not_waited_for(run, server):
    done = run("wait", url=f"{server.url}?channel_binding=require&sslmode=disable")
    assert done.code == 2
    assert "channel binding is required, and the connection is not encrypted. Cure: add sslmode=require" in done.last


@pytest.mark.parametrize("written", ["@{one},{two}/{name}", "@/{name}?host={one}&host={two}"])
def test_of_several_hosts_the_first_that_answers_is_taken(run, db, written):
    from sqlalchemy import make_url  # noqa: PLC0415

    url = make_url(db.url)
    places = written.format(one=f"{url.host}:1", two=f"{url.host}:{url.port}", name=url.database)
    done = run("wait", url=f"postgresql://{url.username}:{url.password}{places}")
    assert done.code == 0, done.text
    dead = run("wait", "--wait", "1s", url="postgresql://u@/d?host=127.0.0.1:1&host=127.0.0.1:2")
    assert dead.last.startswith("unreachable: u@127.0.0.1:1,127.0.0.1:2/d does not answer")
