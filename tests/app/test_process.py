"""`python -m app`: how it starts, reports, stops and is killed."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys

import psycopg2
import pytest

from app import __main__ as main
from tests.app.rig import BUILD, PASSWORD, ROOT, eventually, is_ready


def test_it_starts_serves_and_signs_off_when_told_to_stop(start, migrated):
    process = start(migrated.url, processes=subprocess, IMAGE_COMMIT=BUILD.commit)
    with process.client() as client:
        eventually(lambda: is_ready(client))
        assert client.get("/users?cursor=private").status_code == 400
        client.get("/a%0Ab")
    ((_, digest, commit, host, _, _),) = migrated.instances()
    assert (digest, commit, host) == (BUILD.digest, BUILD.commit, socket.gethostname())
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert migrated.instances() == []
    assert process.lines[0] == f"listening on {client.base_url}, {BUILD}".replace("/,", ",")
    assert process.lines[-1] == "stopped"
    access = [line for line in process.lines if line.startswith("GET /") and "readyz" not in line]
    assert [re.sub(r"\d+ ms$", "# ms", line) for line in access] == ["GET /users 400 # ms", "GET /a%0Ab 404 # ms"]


def test_an_answer_does_not_wait_for_the_client_to_acknowledge_half_of_it():
    with (
        main._listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()[:2]),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_ctrl_c_stops_it_without_a_traceback(start, migrated):
    process = start(migrated.url, processes=subprocess)
    with process.client() as client:
        eventually(lambda: is_ready(client))
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    assert "Traceback" not in process.output
    assert migrated.instances() == []


def test_a_request_under_way_is_finished_before_it_stops(start, migrated):
    process = start(migrated.url, STATEMENT_TIMEOUT="60s", SHUTDOWN_TIMEOUT="60s")
    with process.client() as client, locked(migrated, "organisations") as holder:
        eventually(lambda: is_ready(client))
        request = sent(client, "POST", "/organisations", '{"name": "A"}')
        eventually(lambda: migrated.execute("SELECT 1 FROM pg_locks WHERE NOT granted"))
        process.signal(signal.SIGTERM)
        eventually(lambda: refused(client))
        holder.rollback()
        assert request.getresponse().status == 201
        request.close()
    assert process.wait() == 0


@contextlib.contextmanager
def locked(database, table):
    """Hold a table until the session this yields ends its transaction."""
    with contextlib.closing(psycopg2.connect(database.owner_url)) as holder, holder.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table}")
        yield holder


def sent(client, method, path, body=None):
    """Send a request whose answer is not waited for: the app has it before any that is sent after this."""
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=60)
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    return connection


def refused(client):
    """Tell whether the app takes no more connections."""
    with contextlib.suppress(OSError), socket.create_connection((client.base_url.host, client.base_url.port), 1):
        return False
    return True


def test_a_killed_instance_leaves_its_report_to_expire(start, migrated):
    process = start(migrated.url)
    with process.client() as client:
        eventually(lambda: is_ready(client))
    process.signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(migrated.instances()) == 1


def test_it_reports_again_and_again_by_the_databases_clock(start, migrated):
    process = start(migrated.url)
    with process.client() as client:
        eventually(lambda: is_ready(client))
    ((name, *_, started, first),) = migrated.instances()
    eventually(lambda: migrated.instances()[0][-1] > first)
    ((again, *_, still, _),) = migrated.instances()
    assert (again, still) == (name, started)


def test_each_process_reports_for_itself(start, migrated):
    for process in [start(migrated.url), start(migrated.url)]:
        with process.client() as client:
            eventually(lambda client=client: is_ready(client))
    assert len(migrated.instances()) == 2


def test_it_stops_cleanly_while_the_database_is_away(start, network, migrated):
    process = start(network.url)
    with process.client() as client:
        eventually(lambda: is_ready(client))
    network.cut()
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert process.lines[-2:] == ["gate: the report in the ledger is left to expire", "stopped"]
    assert len(migrated.instances()) == 1


def test_a_database_that_never_answers_keeps_no_process_from_ending(start, network):
    process = start(network.url, SHUTDOWN_TIMEOUT="1s")
    with process.client() as client:
        eventually(lambda: is_ready(client))
        assert client.get("/users").status_code == 200
        network.freeze()
        request = sent(client, "GET", "/users")
        assert is_ready(client)
        process.signal(signal.SIGTERM)
        answer = request.getresponse()
        assert (answer.status, json.load(answer)["detail"]) == (503, "this instance is stopping")
        request.close()
    assert process.wait() == 0
    assert "Traceback" not in process.output


def test_no_password_and_no_traceback_in_anything_it_says(start, network):
    process = start(network.url)
    with process.client() as client:
        eventually(lambda: is_ready(client))
        client.post("/users", json={"email": "private@example.org", "name": "Private"})
        client.post("/users", json={"email": "private@example.org", "name": "Private"})
        network.cut()
        client.get("/users")
        eventually(lambda: "gate: stays open, cannot ask: the database cannot be reached" in process.output)
        network.mend()
        eventually(lambda: "gate: the database answers again" in process.output)
    process.signal(signal.SIGTERM)
    process.wait()
    for secret in (PASSWORD, "pa%25ss", "private", "Private", "Traceback", "SELECT", "INSERT"):
        assert secret not in process.output


def test_the_password_is_not_in_the_process_list(start, migrated):
    process = start(migrated.url, processes=subprocess)
    with process.client() as client:
        eventually(lambda: is_ready(client))
    assert "pa%25ss" not in subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout


def test_wrong_settings_are_a_line_each_and_exit_2(start):
    process = start("mysql://app:s3cret@db/x", PORT="web")
    assert process.wait() == 2
    assert process.lines == [
        "app: DATABASE_URL is not a postgresql:// URL: give postgresql://user:password@host:port/database",
        "app: PORT='web' is not a whole number from 0 to 65535",
    ]


def test_a_taken_port_is_one_line_and_exit_2(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start("postgresql://u:p@127.0.0.1:1/x", PORT=str(port))
        assert process.wait() == 2
    cure = "stop what listens there, or set PORT or HOST"
    assert process.lines == [f"app: cannot listen on 127.0.0.1, port {port}: Address already in use; {cure}"]


def test_it_starts_and_stays_up_where_no_database_is(start):
    process = start("postgresql://u:p@127.0.0.1:1/x")
    with process.client() as client:
        assert client.get("/healthz").status_code == 200
        eventually(lambda: client.get("/readyz").json()["detail"] == "the database cannot be reached")
        assert client.get("/users").status_code == 503
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


@pytest.mark.parametrize("module", ["app.__main__", "app.gate"])
def test_it_knows_nothing_of_the_migrator(module):
    code = (
        f"import sys, {module}; print([m for m in sys.modules if m.split('.')[0] in ('alembic', 'mako', 'migrator')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
