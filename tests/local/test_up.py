"""`make up`: the order, what happens when one of the three ends, and that nothing is left running."""

import json
import os
import re
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.local.rig import STAND_IN, alive, until
from tests.ports import free_port


def child_pids(up):
    return [int(pid) for pid in re.findall(r"^\w+ pid (\d+)$", up.text, re.MULTILINE)]


def told(up):
    """The lines of the order, without their times."""
    return re.findall(r"^ +[\d.]+ s  (.*)$", up.text, re.MULTILINE)


def test_the_order_is_database_then_migrator_then_app(local):
    up = local.up().until("ready on")
    assert up.end() == 130
    lines = [re.sub(r" +", " ", line) for line in told(up)]
    assert re.fullmatch(r"database PostgreSQL [\d.]+ on 127\.0\.0\.1:\d+", lines.pop(1))
    assert lines == [
        f"database starting, data in {local.directory}/data",
        "migrator starting",
        "migrator done",
        "app starting",
        f"app ready on http://127.0.0.1:{up.port}",
        "app stopping",
        "database stopping",
        "all stopped; the data is kept",
    ]


def test_each_side_gets_its_own_role_and_the_app_never_the_migrators(local):
    up = local.up().until("ready on")
    assert "migrate as migrator in lockstep\n" in up.text
    assert "serve as app in lockstep\n" in up.text
    assert "serve sees the migrator's URL: False\n" in up.text


def test_a_failing_migrator_keeps_the_app_from_starting_and_gives_its_exit_code(local):
    up = local.up(migrator=f"{STAND_IN} migrate 4")
    assert up.process.wait(60) == 4
    assert "migrator  failed with exit code 4; the app is not started" in up.text
    assert "serve" not in up.text
    until(lambda: not (local.directory / "data" / "postmaster.pid").exists())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_nothing_running(local, number, code):
    up = local.up().until("ready on")
    pids = [*child_pids(up), local.server_pid()]
    assert len(pids) == 3
    assert up.end(number) == code
    assert [pid for pid in pids if alive(pid)] == []
    assert "serve was told to stop" in up.text


def test_a_signal_during_the_migration_stops_the_migrator_and_starts_no_app(local):
    up = local.up(migrator=f"{STAND_IN} migrate slow").until("migrate as")
    pids = [*child_pids(up), local.server_pid()]
    assert up.end() == 130
    assert "migrate was told to stop" in up.text
    assert "serve" not in up.text
    assert [pid for pid in pids if alive(pid)] == []


def test_a_killed_run_leaves_nothing_running_either(local):
    up = local.up().until("ready on")
    pids = [*child_pids(up), local.server_pid()]
    up.end(signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids))


def test_an_app_that_ends_stops_the_rest_with_its_exit_code(local):
    up = local.up(app=f"{STAND_IN} serve 7")
    assert up.process.wait(60) == 7
    assert "app       ended by itself with exit code 7" in up.text
    until(lambda: not (local.directory / "data" / "postmaster.pid").exists())


def test_a_server_that_dies_stops_the_app_and_says_where_its_log_is(local):
    up = local.up().until("ready on")
    os.kill(local.server_pid(), signal.SIGKILL)
    assert up.process.wait(60) == 5
    assert f"error: PostgreSQL ended by itself\n       See {local.directory}/postgres.log\n" in up.text
    assert not any(alive(pid) for pid in child_pids(up))


def test_the_next_run_recovers_from_a_server_that_died(local):
    up = local.up().until("ready on")
    os.kill(local.server_pid(), signal.SIGKILL)
    up.process.wait(60)
    assert local.up().until("ready on").end() == 130


def test_a_second_run_beside_the_first_is_refused_and_does_not_disturb_it(local):
    first = local.up().until("ready on")
    second = local.up()
    assert second.process.wait(60) == 3
    assert second.text == (
        f"error: another run uses the database in {local.directory}/data\n       Stop it first (Ctrl-C where it runs)\n"
    )
    assert first.process.poll() is None
    assert first.end() == 130


def test_two_runs_started_at_once_are_one_run_and_one_refusal(local):
    runs = [local.up(), local.up()]
    until(lambda: any(run.process.poll() is not None for run in runs))
    refused = next(run for run in runs if run.process.poll() is not None)
    assert refused.process.poll() == 3, refused.text
    (other,) = [run for run in runs if run is not refused]
    other.until("ready on")


def test_a_taken_port_is_said_before_anything_starts(local):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        up = local.up(port=port)
        assert up.process.wait(60) == 2
    assert up.text == (
        f"error: port {port} is taken, and the app is to serve there\n"
        f"       Stop what listens there, or choose another: PORT={port + 1} make up\n"
    )


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1", "8000 ", "²"])
def test_a_port_that_is_none_is_one_clear_line(local, port):
    done = local.run("up", env={"PORT": port})
    assert (done.returncode, done.stderr) == (
        2,
        f"error: PORT={port} is not a port\n       Give a number from 1 to 65535\n",
    )


def test_a_command_that_is_not_there_is_one_clear_line_and_leaves_nothing_running(local):
    up = local.up(migrator="/no/such/command")
    assert up.process.wait(60) == 2
    assert "error: cannot run /no/such/command: No such file or directory\n" in up.text
    assert "Traceback" not in up.text
    assert not (local.directory / "data" / "postmaster.pid").exists()


def test_passwords_are_in_one_file_for_its_owner_and_nowhere_else(local):
    up = local.up().until("ready on")
    path = local.directory / "passwords.json"
    assert path.stat().st_mode & 0o777 == 0o600
    processes = [pid for pid in (*child_pids(up), local.server_pid(), up.process.pid) if alive(pid)]
    shown = [Path(f"/proc/{pid}/cmdline").read_text() for pid in processes]
    assert len(shown) == 3  # the app, the server and `up` itself; the migrator is done
    up.end()
    shown += [up.text, (local.directory / "postgres.log").read_text()]
    secrets = json.loads(path.read_text()).values()
    assert len(set(secrets)) == 3
    assert not [secret for secret in secrets if secret in "".join(shown)]


def test_the_users_own_postgresql_variables_change_nothing(local):
    strange = {"PGOPTIONS": "-c search_path=nowhere", "PGHOST": "nowhere", "PGSERVICE": "none", "DATABASE_URL": "x"}
    assert local.up(env=strange).until("ready on").end() == 130


def request(port, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_what_was_written_through_the_app_is_there_after_a_second_start(local):
    first = local.up(migrator=None, app=None).until("ready on")
    made = request(first.port, "/users", {"email": "ada@example.com", "name": "Ada"})
    assert first.end() == 130
    second = local.up(migrator=None, app=None).until("ready on")
    assert request(second.port, f"/users/{made['id']}") == made
    assert second.end() == 130


def test_a_command_runs_on_the_database_whether_up_runs_or_not(local):
    command = (sys.executable, str(STAND_IN.split()[1]), "migrate", "6")
    still = local.run("run", "--", *command)
    assert (still.returncode, "migrate as migrator in lockstep" in still.stdout) == (6, True), still.stderr
    up = local.up().until("ready on")
    beside = local.run("run", "--", *command)
    assert (beside.returncode, "migrate as migrator in lockstep" in beside.stdout) == (6, True), beside.stderr
    assert up.end() == 130


def test_psql_opens_the_database_as_its_owner(local):
    done = local.run("psql", "--", "-Atc", "SELECT current_user")
    assert done.stdout == "migrator\n", done.stderr


def test_reset_throws_everything_away_and_the_next_start_is_a_first_one(local):
    before = (local.directory / "passwords.json").read_text()
    assert local.run("reset").returncode == 0
    assert not local.directory.exists()
    assert local.run("reset").stdout == "nothing to throw away\n"
    assert local.up(port=free_port()).until("ready on").end() == 130
    assert (local.directory / "passwords.json").read_text() != before


def test_reset_refuses_while_up_runs(local):
    up = local.up().until("ready on")
    assert local.run("reset").returncode == 3
    assert up.process.poll() is None
    assert (local.directory / "data").exists()


@pytest.mark.parametrize("text", ["", "{", '{"postgres": "x"}', "[]"])
def test_damaged_passwords_are_one_clear_line(local, text):
    (local.directory / "passwords.json").write_text(text)
    done = local.run("run", "--", "true")
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {local.directory}/passwords.json is damaged\n       `make reset` starts afresh\n",
    )


def test_lost_passwords_are_one_clear_line(local):
    (local.directory / "passwords.json").unlink()
    done = local.run("run", "--", "true")
    assert (done.returncode, "passwords.json is gone" in done.stderr) == (2, True)
