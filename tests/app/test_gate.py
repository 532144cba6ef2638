"""The gate: what the ledger says, and what the app does with it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from app import gate as command
from app import predeploy
from app.storage import engine as storage
from lockstep_gate import verdict
from lockstep_gate.verdict import LastVerdict, State
from tests import forks
from tests.app.rig import BUILD, PASSWORD, ROLE, ROOT, Network, eventually, is_ready, serving, settings_for

MIGRATE = "run `migrator upgrade` of this release, then ask again"


def ask(url):
    engine = storage.make(settings_for(url))
    try:
        return verdict.ask(engine, BUILD)
    finally:
        engine.dispose()


def test_a_recorded_release_is_served(migrated):
    assert ask(migrated.url) is verdict.SERVED


def test_a_release_that_newer_schemas_still_serve_is_let_in(migrated):
    migrated.record("sha256:newer")
    assert ask(migrated.url) is verdict.SERVED


def test_a_release_that_is_not_recorded_is_not_served(bare):
    bare.make_ledger()
    bare.record("sha256:another")
    assert ask(bare.url) == verdict.NOT_RECORDED


def test_a_release_that_a_revision_broke_is_told_which(migrated):
    migrated.break_by("0042_drop_name")
    answer = ask(migrated.url)
    assert answer.state is State.BROKEN
    assert "revision 0042_drop_name changed the schema in a way that this release cannot live with" in str(answer)


def test_a_database_without_a_ledger_is_not_served(bare):
    assert ask(bare.url) == verdict.NO_LEDGER


def test_a_ledger_this_role_may_not_read_is_said_to_be_so(migrated):
    migrated.execute(f"REVOKE USAGE ON SCHEMA migrator FROM {ROLE}")
    answer = ask(migrated.url)
    assert (answer.state, answer.reason) == (State.NO_LEDGER, "this role may not read the ledger")


def test_a_database_that_does_not_answer_is_unreachable(network):
    network.cut()
    assert ask(network.url).state is State.UNREACHABLE


def test_an_outage_closes_no_open_gate_but_opens_none_either():
    lost = verdict.Verdict(State.UNREACHABLE, "gone")
    one = LastVerdict()
    assert not one.is_open
    one.hear(lost)
    assert not one.is_open
    one.hear(verdict.SERVED)
    assert not one.hear(lost)
    assert one.is_open
    one.hear(verdict.NOT_RECORDED)
    assert not one.is_open


def run_gate(url, *arguments, **variables):
    environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | {"PYTHONPATH": str(ROOT)}
    return forks.run(
        [sys.executable, "-m", "app.gate", *arguments],
        env=environ | ({"DATABASE_URL": url} if url else {}) | variables,
        timeout=60,
    )


def last_line(done):
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def test_the_command_exits_0_when_served(migrated):
    done = run_gate(migrated.url, IMAGE_COMMIT=BUILD.commit)
    assert (done.returncode, done.stderr) == (0, "")
    assert last_line(done) == f"gate: open for {BUILD}: the schema serves this release"
    assert migrated.instances() == []


def test_the_command_exits_1_with_the_cure_when_not_served(bare):
    done = run_gate(bare.url)
    assert done.returncode == 1
    assert last_line(done).endswith(f"the database has not been migrated: it has no ledger; {MIGRATE}")
    bare.make_ledger()
    done = run_gate(bare.url)
    assert done.returncode == 1
    assert last_line(done).endswith(f"the schema has not been migrated for this release; {MIGRATE}")
    bare.record()
    bare.break_by("0042")
    done = run_gate(bare.url, "--wait", "60")
    assert done.returncode == 1
    assert "deploy a newer release, or take revision 0042 back with `migrator downgrade`" in last_line(done)


@pytest.mark.parametrize("arguments", [("--wait", "soon"), ("--wait", "-1"), ("--wait", "nan"), ("--nonsense",)])
def test_the_command_exits_2_on_wrong_usage(arguments):
    done = run_gate("postgresql://u:p@127.0.0.1:1/x", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_the_command_exits_2_without_a_database_url():
    done = run_gate(None)
    assert done.returncode == 2
    assert done.stderr == "gate: DATABASE_URL is not set: give postgresql://user:password@host:port/database\n"


def test_the_command_exits_5_when_the_database_does_not_answer(network):
    network.cut()
    done = run_gate(network.url)
    assert done.returncode == 5
    assert last_line(done).endswith("see that it runs and that DATABASE_URL is right, then ask again")


@pytest.mark.parametrize("command", [command, predeploy], ids=["gate", "predeploy"])
def test_a_command_that_fails_as_nobody_foresaw_says_so_by_70_and_keeps_what_it_was_told(command, capsys, monkeypatch):
    def fails(*_):
        raise RuntimeError("postgresql://app:hush-hush@db/name")

    monkeypatch.setattr(verdict, "ask_through", fails)
    assert command.main([], {"DATABASE_URL": "postgresql://app:hush-hush@127.0.0.1/name"}) == 70
    said = capsys.readouterr()
    line = said.err.splitlines()[-1]
    assert re.fullmatch(
        r"\w+: a bug of ours: RuntimeError at (lockstep_gate/[\w/]+\.py:\d+( > )?)+; .* \(exit 70\)", line
    )
    assert "hush-hush" not in said.out + said.err


def test_the_command_waits_for_the_migrator(bare):
    with subprocess.Popen(
        [sys.executable, "-m", "app.gate", "--wait", "60"],
        env=os.environ | {"DATABASE_URL": bare.url, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as waiting:
        assert waiting.stdout.readline().startswith("gate: waiting up to 60 s: the database has not been migrated")
        bare.make_ledger()
        bare.record()
        rest = waiting.stdout.read()
    assert waiting.returncode == 0
    assert rest.splitlines()[-1].startswith("gate: open for ")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_command_ends_at_once_on_a_signal(bare, number, code):
    with subprocess.Popen(
        [sys.executable, "-m", "app.gate"],
        env=os.environ | {"DATABASE_URL": bare.url, "PYTHONPATH": str(ROOT), "GATE_WAIT": "60"},
        stdout=subprocess.PIPE,
        text=True,
    ) as waiting:
        waiting.stdout.readline()
        waiting.send_signal(number)
        assert waiting.stdout.read().endswith("; nothing was changed, safe to run again\n")
    assert waiting.returncode == code


@pytest.fixture
def silenced(bare):
    """Begin a command that waits for the migrator, on a database that falls silent once it has answered."""
    network, begun = Network(bare.url), []

    def begin(*command, **variables):
        process = forks.Popen(
            [sys.executable, *command],
            env=os.environ | {"DATABASE_URL": network.url, "PYTHONPATH": str(ROOT)} | variables,
            stdout=subprocess.PIPE,
        )
        begun.append(process)
        while "has no ledger" not in process.stdout.readline():
            assert process.poll() is None
        network.freeze()
        assert network.held.wait(60)  # it asked again, and waits in the driver
        return process

    yield begin
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()
    network.close()


@pytest.mark.parametrize("command", ["gate", "predeploy"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_silent_database_keeps_no_command_from_ending_on_a_signal(silenced, command, number, code):
    variables = {"GATE_WAIT": "60", "PREDEPLOY_POLL": "1s", "PREDEPLOY_WAIT_ONLY": "yes"}
    waiting = silenced("-m", f"app.{command}", **variables)
    waiting.send_signal(number)
    assert waiting.wait(60) == code
    assert "safe to run again" in waiting.stdout.read().splitlines()[-1]


def test_a_silent_database_keeps_no_predeploy_beyond_its_deadline(silenced):
    waiting = silenced("-m", "app.predeploy", "--wait-only", PREDEPLOY_DEADLINE="6s", PREDEPLOY_POLL="1s")
    assert waiting.wait(60) == 3
    assert "not done within 6 s (PREDEPLOY_DEADLINE)" in waiting.stdout.read().splitlines()[-1]


def test_a_silent_database_is_one_that_is_not_reached(silenced):
    impatient = "import os; from app import gate; gate.ask.PATIENCE_S = 1.0; code = gate.main(); os._exit(code)"
    waiting = silenced("-c", impatient, GATE_WAIT="3", STATEMENT_TIMEOUT="2s")
    assert waiting.wait(60) == 5
    assert "the database cannot be reached (" in waiting.stdout.read().splitlines()[-1]


def test_a_fault_of_ours_is_logged_and_the_watch_goes_on(migrated, monkeypatch, caplog):
    ask, faults = verdict.ask_through, [RuntimeError("nobody foresaw this")]

    def ask_after_a_fault(*arguments):
        if faults:
            raise faults.pop()
        return ask(*arguments)

    monkeypatch.setattr(verdict, "ask_through", ask_after_a_fault)
    with serving(migrated.url) as client:
        eventually(lambda: is_ready(client))
        assert len(migrated.instances()) == 1
    assert "watch: a fault of ours, it goes on" in caplog.text


def refused(client, reason):
    """Whether everything but the probes is refused for this reason."""
    answers = [client.get("/users"), client.post("/users", json={}), client.get("/nope"), client.get("/readyz")]
    for answer in answers:
        problem = answer.json()
        if answer.status_code != 503 or problem["detail"] != reason:
            return False
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "5"
    assert client.get("/healthz").status_code == client.get("/version").status_code == 200
    return True


def test_the_app_opens_by_itself_once_the_migrator_has_recorded_its_release(bare):
    with serving(bare.url) as client:
        eventually(lambda: refused(client, "the database has not been migrated: it has no ledger"))
        bare.make_ledger()
        eventually(lambda: refused(client, "the schema has not been migrated for this release"))
        assert bare.instances() == []
        bare.make_tables()
        bare.record()
        eventually(lambda: is_ready(client))
        assert client.get("/users").json() == {"items": [], "next": None}


def test_an_app_that_a_later_revision_broke_closes_and_takes_its_report_back(migrated):
    with serving(migrated.url) as client:
        eventually(lambda: is_ready(client))
        assert len(migrated.instances()) == 1
        migrated.break_by("0042")
        reason = "revision 0042 changed the schema in a way that this release cannot live with"
        eventually(lambda: refused(client, reason))
        eventually(lambda: migrated.instances() == [])
        migrated.break_by(None)
        eventually(lambda: is_ready(client))
        assert len(migrated.instances()) == 1


def test_a_request_that_meets_another_schema_makes_the_app_ask_at_once(migrated):
    with serving(migrated.url, REPORT_INTERVAL="5m") as client:
        eventually(lambda: is_ready(client))
        migrated.execute("ALTER TABLE users DROP COLUMN phone_number")
        answer = client.get("/users")
        assert (answer.status_code, answer.json()["detail"]) == (503, "the schema does not fit this release")
        assert is_ready(client)
        migrated.break_by("0042")
        assert client.get("/users").status_code == 503
        eventually(lambda: not is_ready(client))


def test_an_app_that_was_ready_stays_ready_through_an_outage(network, migrated):
    with serving(network.url) as client:
        eventually(lambda: is_ready(client))
        network.cut()
        answer = client.get("/users")
        assert (answer.status_code, answer.json()["detail"]) == (503, "the database cannot answer now")
        assert answer.headers["retry-after"] == "5"
        assert client.post("/organisations", json={"name": "Acme"}).status_code == 503
        (before,) = migrated.instances()
        assert is_ready(client)
        network.mend()
        eventually(lambda: client.get("/users").status_code == 200)
        eventually(lambda: migrated.instances()[0][-1] > before[-1])


def test_an_app_that_starts_in_an_outage_waits_closed_and_opens_afterwards(network):
    network.cut()
    with serving(network.url) as client:
        eventually(lambda: refused(client, "the database cannot be reached"))
        network.mend()
        eventually(lambda: is_ready(client))


def test_an_instance_that_cannot_report_itself_is_not_let_in(migrated):
    migrated.execute(f"REVOKE INSERT ON migrator.instance FROM {ROLE}")
    with serving(migrated.url) as client:
        eventually(lambda: refused(client, "this instance could not report itself in the ledger"))
        migrated.execute(f"GRANT INSERT ON migrator.instance TO {ROLE}")
        eventually(lambda: is_ready(client))


def test_an_instance_that_can_report_no_more_serves_on(migrated):
    with serving(migrated.url) as client:
        eventually(lambda: is_ready(client))
        migrated.execute(f"REVOKE ALL ON migrator.instance FROM {ROLE}")
        migrated.execute("DELETE FROM migrator.instance")
        with pytest.raises(pytest.fail.Exception):
            eventually(migrated.instances, patience_s=0.6)
        assert client.get("/users").status_code == 200


def test_a_report_held_off_by_a_migrator_that_then_breaks_the_release_lets_nobody_in(migrated):
    """The migrator checks who lives, commits what breaks this release; an instance that starts meanwhile stays out."""
    import psycopg2  # noqa: PLC0415

    with psycopg2.connect(migrated.owner_url) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE migrator.instance IN SHARE MODE")
        with serving(migrated.url) as client:
            eventually(lambda: migrated.execute("SELECT 1 FROM pg_locks WHERE NOT granted"))
            assert not is_ready(client)
            cursor.execute("UPDATE migrator.release SET broken_by = '0042'")
            connection.commit()
            reason = "revision 0042 changed the schema in a way that this release cannot live with"
            eventually(lambda: refused(client, reason))
    connection.close()
