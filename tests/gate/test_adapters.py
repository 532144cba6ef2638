"""The gate in other people's apps: every driver, FastAPI, Flask, a worker, on the real libraries and a real server."""

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap
import threading

import httpx
import pytest
import uvicorn
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from lockstep_gate import Closed, Gate, verdict
from lockstep_gate.verdict import State
from tests import forks
from tests.app.rig import BUILD, PATIENCE_S, ROLE, ROOT, eventually, listening_socket

SYNC = ["psycopg2", "psycopg", "pg8000"]
ASYNC = ["asyncpg", "psycopg"]
REASON = "the schema has not been migrated for this release"


def url_of(migrated, driver):
    return make_url(migrated.url).set(drivername=f"postgresql+{driver}")


@pytest.fixture(params=[("sync", one) for one in SYNC] + [("async", one) for one in ASYNC], ids="-".join)
def engine(request, migrated):
    kind, driver = request.param
    if kind == "sync":
        made = create_engine(url_of(migrated, driver))
        yield made
        made.dispose()
    else:
        made = create_async_engine(url_of(migrated, driver))
        yield made
        asyncio.run(made.dispose())


def test_a_gate_opens_reports_and_takes_its_report_back(engine, migrated):
    gate = Gate(engine, BUILD, report_interval="100ms")
    gate.start()
    eventually(lambda: gate.is_open)
    ((_, release, commit, _, _, first),) = migrated.instances()
    assert (release, commit) == (BUILD.digest, BUILD.commit)
    eventually(lambda: migrated.instances()[0][-1] > first)
    assert gate.stop()
    assert migrated.instances() == []
    assert not gate.is_open


def test_a_report_says_who_signs_in_and_with_which_driver(engine, migrated):
    with Gate(engine, BUILD, report_interval="100ms").working():
        assert migrated.who() == [(ROLE, engine.driver, None)]


def test_a_report_says_again_who_it_is(engine, migrated):
    tenants = ["blue"]
    with Gate(engine, BUILD, report_interval="100ms", schemas=lambda: tenants).working():
        assert migrated.who() == [(ROLE, engine.driver, ["blue"])]
        migrated.execute("UPDATE migrator.instance SET role = 'another', driver = 'another'")
        tenants.append("amber")
        eventually(lambda: migrated.who() == [(ROLE, engine.driver, ["amber", "blue"])])


def test_one_name_for_several_schemas_is_refused():
    with pytest.raises(TypeError, match="schemas is a list of names"):
        Gate(create_engine("postgresql+psycopg2://"), BUILD, schemas="blue")


def test_a_ledger_of_an_older_engine_is_reported_to(engine, migrated):
    migrated.age_ledger()
    with Gate(engine, BUILD, report_interval="100ms", schemas=["blue"]).working():
        assert len(migrated.instances()) == 1


def test_it_closes_when_a_revision_breaks_the_release(engine, migrated):
    gate = Gate(engine, BUILD, report_interval="100ms")
    gate.start()
    eventually(lambda: gate.is_open)
    migrated.break_by("0042")
    eventually(lambda: gate.verdict.state is State.BROKEN)
    eventually(lambda: migrated.instances() == [])
    gate.stop()


def test_a_driver_that_finds_no_ledger_says_so(engine, migrated):
    migrated.execute("DROP SCHEMA migrator CASCADE")
    assert verdict.ask(engine, BUILD) == verdict.NO_LEDGER


@pytest.mark.parametrize(("kind", "driver"), [("sync", "psycopg2"), ("sync", "psycopg"), ("async", "asyncpg")])
def test_a_database_that_is_away_is_unreachable(network, kind, driver):
    network.cut()
    url = url_of(network, driver)
    made = create_engine(url) if kind == "sync" else create_async_engine(url)
    assert verdict.ask(made, BUILD).state is State.UNREACHABLE


def test_a_release_that_an_older_engine_recorded_otherwise_reports_under_that_name(bare):
    bare.make_ledger()
    bare.record(BUILD.names[1])
    engine = create_engine(url_of(bare, "psycopg2"))
    with Gate(engine, BUILD).working():
        assert [row[1] for row in bare.instances()] == [BUILD.names[1]]
    engine.dispose()


def test_bare_connections_of_a_driver_will_do(migrated):
    import psycopg  # noqa: PLC0415
    import psycopg2  # noqa: PLC0415

    for module in (psycopg, psycopg2):
        with Gate(lambda module=module: module.connect(migrated.url), BUILD).working():
            assert migrated.who() == [(ROLE, module.__name__, None)]
    assert migrated.instances() == []


def test_bare_connections_of_asyncpg_will_do(migrated):
    import asyncpg  # noqa: PLC0415

    async def connect():
        return await asyncpg.connect(migrated.url)

    with Gate(connect, BUILD).working():
        assert migrated.who() == [(ROLE, "asyncpg", None)]


def test_a_worker_does_not_begin_on_a_schema_that_does_not_serve_it(bare):
    bare.make_ledger()
    engine = create_engine(url_of(bare, "psycopg2"))
    with pytest.raises(Closed, match=REASON), Gate(engine, BUILD).working(wait="300ms"):
        pytest.fail("it began")
    engine.dispose()
    assert bare.instances() == []


def test_a_worker_is_let_in_once_the_migrator_has_been(bare):
    bare.make_ledger()
    engine = create_engine(url_of(bare, "psycopg2"))
    later = threading.Timer(0.5, bare.record)
    later.start()
    with Gate(engine, BUILD).working(wait="30s") as gate:
        assert gate.is_open
    engine.dispose()


def test_a_worker_that_fails_takes_its_report_back(migrated):
    engine = create_engine(url_of(migrated, "psycopg2"))
    with pytest.raises(ZeroDivisionError), Gate(engine, BUILD).working():
        raise ZeroDivisionError
    engine.dispose()
    assert migrated.instances() == []


@contextlib.contextmanager
def served(app):
    listener = listening_socket()
    server = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


def test_fastapi_on_asyncpg(bare, tmp_path):
    from fastapi import FastAPI  # noqa: PLC0415
    from sqlalchemy import text  # noqa: PLC0415

    from lockstep_gate.asgi import Admission  # noqa: PLC0415

    engine = create_async_engine(url_of(bare, "asyncpg"))
    gate = Gate(engine, "app.storage.models:Base", report_interval="100ms")
    app = FastAPI(lifespan=gate.lifespan)
    app.add_middleware(Admission, gate=gate, open_paths=["/healthz"])

    @app.get("/healthz")
    async def healthz():
        return {"alive": True}

    @app.get("/users")
    async def users():
        async with engine.connect() as connection:
            return (await connection.execute(text("SELECT count(*) FROM users"))).scalar()

    bare.make_ledger()
    bare.make_tables()
    with served(app) as client:
        eventually(lambda: client.get("/users").json().get("detail") == REASON)
        refused = client.get("/users")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert refused.headers["content-type"] == "application/problem+json"
        assert client.head("/users").content == b""
        assert client.get("/healthz").json() == {"alive": True}
        bare.record(gate.release.digest)
        eventually(lambda: client.get("/users").status_code == 200)
        assert client.get("/users").json() == 0
        assert [row[1] for row in bare.instances()] == [gate.release.digest]
    assert bare.instances() == []


def test_flask_on_psycopg(bare):
    from flask import Flask  # noqa: PLC0415

    from lockstep_gate.wsgi import Admission  # noqa: PLC0415

    engine = create_engine(url_of(bare, "psycopg"))
    gate = Gate(engine, BUILD, report_interval="100ms")
    app = Flask("shop")
    app.wsgi_app = Admission(app.wsgi_app, gate, open_paths=["/healthz"])
    app.add_url_rule("/users", view_func=lambda: "nobody")
    app.add_url_rule("/healthz", "healthz", lambda: "alive")
    client = app.test_client()
    bare.make_ledger()
    refused = client.get("/users")
    assert (refused.status_code, refused.json["detail"]) == (503, REASON)
    assert client.get("/healthz").text == "alive"
    bare.record()
    eventually(lambda: client.get("/users").text == "nobody")
    assert len(bare.instances()) == 1
    gate.stop()
    engine.dispose()
    assert bare.instances() == []


WORKER = """
import os, sys
from sqlalchemy import create_engine
from lockstep_gate import Gate

gate = Gate(create_engine(os.environ["DATABASE_URL"]), os.environ["LOCKSTEP_CONTRACT"], report_interval="100ms")
gate.start()
while not gate.is_open:
    pass
child = os.fork()
if child == 0:
    gate.start()
    while not gate.is_open:
        pass
    print("child reports", flush=True)
    sys.stdin.readline()
    gate.stop()
    os._exit(0)
print("parent reports", flush=True)
_, status = os.waitpid(child, 0)
gate.stop()
sys.exit(status)
"""


def test_each_process_after_a_fork_reports_for_itself(migrated):
    env = os.environ | {
        "DATABASE_URL": url_of(migrated, "psycopg2").render_as_string(hide_password=False),
        "LOCKSTEP_CONTRACT": str(ROOT / "app" / "storage" / "models.py"),
    }
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(WORKER)],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as worker:  # fmt: skip
        assert {worker.stdout.readline(), worker.stdout.readline()} == {"parent reports\n", "child reports\n"}
        assert len(migrated.instances()) == 2
        worker.stdin.write("\n")
        worker.stdin.close()
        assert worker.wait(PATIENCE_S) == 0
    assert migrated.instances() == []


def test_the_command_asks_for_a_contract_that_was_emitted(bare, tmp_path):
    emitted = tmp_path / "contract.json"
    command = [sys.executable, "-m", "lockstep_gate"]
    done = forks.run([*command, "contract", "app.storage.models:Base", "-o", str(emitted)], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    env = os.environ | {"DATABASE_URL": bare.url, "IMAGE_COMMIT": "c0ffee"}
    bare.make_ledger()
    for driver in ("", *[f"+{one}" for one in (*SYNC, "asyncpg")]):
        env["DATABASE_URL"] = bare.url.replace("postgresql:", f"postgresql{driver}:")
        done = forks.run([*command, "ask"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, ""), driver
        assert done.stdout.startswith("gate: closed for release contract1:")
    bare.record(BUILD.names[1])
    done = forks.run([*command, "wait"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip().endswith("(commit c0ffee): the schema serves this release")


@pytest.mark.parametrize("words", [[], ["nonsense"], ["ask", "--nonsense"], ["contract"], ["ask"]])
def test_wrong_usage_is_2_and_says_how(words, tmp_path):
    env = {name: value for name, value in os.environ.items() if name not in ("LOCKSTEP_CONTRACT", "DATABASE_URL")}
    done = forks.run(
        [sys.executable, "-m", "lockstep_gate", *words],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
