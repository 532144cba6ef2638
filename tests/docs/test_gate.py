"""The examples of docs/gate.md, run as they stand, with the real libraries on a real server."""

import os
import re
import subprocess
import sys

import httpx
import pytest
from sqlalchemy import make_url

from tests.app.conftest import app_role, bare
from tests.app.rig import BUILD, PATIENCE_S, ROOT, eventually, listening_socket
from tests.docs.pages import page

__all__ = ["app_role", "bare"]
WHOLE = {
    found[1]: block
    for block in page("docs/gate.md").blocks("python")
    if (found := re.match(r"# (shop/\w+\.py)\n", block))
}


@pytest.fixture
def shop(bare, tmp_path):
    """A database without this release, and the examples beside each other."""
    bare.make_ledger()
    bare.make_tables()
    bare.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {make_url(bare.url).username}")
    (tmp_path / "shop").mkdir()
    for name, text in WHOLE.items():
        (tmp_path / name).write_text(text)
    return bare, tmp_path


def start(shop, driver, *command, **variables):
    database, directory = shop
    url = make_url(database.url).set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)
    env = os.environ | {"DATABASE_URL": url, "LOCKSTEP_CONTRACT": str(ROOT / "app" / "storage" / "models.py")}
    return subprocess.Popen([sys.executable, "-m", *command], cwd=directory, env=env | variables)


def free_port():
    with listening_socket() as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("driver", "command"),
    [
        ("asyncpg", "uvicorn shop.web:app --log-level warning --port {port}"),
        ("psycopg", "flask --app shop.pages run --port {port}"),
    ],
    ids=["fastapi", "flask"],
)
def test_a_web_app_serves_once_its_release_is_recorded(shop, driver, command):
    database, _ = shop
    port = free_port()
    process = start(shop, driver, *command.format(port=port).split())
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE_S) as client:

            def said(path):
                try:
                    answer = client.get(path)
                except httpx.TransportError:
                    return None
                return answer.status_code, answer.json()

            eventually(lambda: said("/healthz") == (200, {"alive": True}))
            assert eventually(lambda: said("/users"))[0] == 503
            database.record()
            eventually(lambda: said("/users") == (200, {"users": 0}))
            assert [row[1] for row in database.instances()] == [BUILD.digest]
    finally:
        process.send_signal(2)
        process.wait(PATIENCE_S)
    assert database.instances() == []


def test_a_celery_worker_keeps_its_tasks_until_its_release_is_recorded(shop):
    database, directory = shop
    broker = {"BROKER_URL": "filesystem://"}
    folder = directory / "queue"
    folder.mkdir()
    (directory / "shop" / "broker.py").write_text(
        "from shop.tasks import add_user, app\n"
        f"app.conf.broker_transport_options = dict(data_folder_in={str(folder)!r}, data_folder_out={str(folder)!r},"
        f" control_folder={str(folder)!r})\n"
    )
    (directory / "send.py").write_text("from shop.broker import add_user\nadd_user.delay('ann@shop.example')\n")
    worker = start(
        shop, "psycopg2", "celery", "-A", "shop.broker", "worker", "-c", "1", "--loglevel", "ERROR",
        "--without-mingle", "--without-gossip", "--without-heartbeat", **broker,
    )  # fmt: skip
    try:
        assert start(shop, "psycopg2", "send", **broker).wait(PATIENCE_S) == 0
        eventually(lambda: database.execute("SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"))
        assert database.execute("SELECT count(*) FROM users") == [(0,)]
        database.record()
        eventually(lambda: database.execute("SELECT email FROM users") == [("ann@shop.example",)])
        assert [row[1] for row in database.instances()] == [BUILD.digest]
    finally:
        worker.terminate()
        worker.wait(PATIENCE_S)
    eventually(lambda: database.instances() == [])
