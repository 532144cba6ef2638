"""Secrets: passwords are in no list of processes, no environment of a child, no log at any level, no server's log."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psycopg2
import pytest

from lockstep.develop.sandbox import embedded
from tests.app.conftest import app_role, bare, migrated, start
from tests.app.rig import PASSWORD, eventually, is_ready
from tests.migrator.rig import ROOT, Database, until

__all__ = ["app_role", "bare", "migrated", "start"]
# Of this run alone: what other tests run meanwhile is looked at too.
SECRETS = (f"hunter2{secrets.token_hex(8)}", f"hunter3{secrets.token_hex(8)}")
OWNER, APP = f"owner%s-{SECRETS[0]}", f"app'\"-{SECRETS[1]}"


@pytest.fixture
def server_that_logs():
    """A server that writes every statement into its log, and a database whose owner may make the app's role."""
    with tempfile.TemporaryDirectory(prefix="secrets-") as path:
        Path(path).chmod(0o711)
        running = embedded.start(
            Path(path).resolve() / "data", password=secrets.token_urlsafe(12),
            settings={**embedded.FORGETFUL, "log_statement": "all", "log_min_messages": "debug1"},
        )  # fmt: skip
        try:
            with contextlib.closing(psycopg2.connect(running.url())) as connection, connection.cursor() as cursor:
                connection.autocommit = True
                cursor.execute("SET log_statement = 'none'; CREATE ROLE owner LOGIN CREATEROLE CREATEDB")
                cursor.execute("SET password_encryption = 'scram-sha-256'")
                cursor.execute("ALTER ROLE owner PASSWORD %s", (OWNER,))
                cursor.execute("CREATE DATABASE ours OWNER owner")
            yield running
        finally:
            embedded.stop(running)


class Watch:
    """Reads what every process of this machine shows of itself, again and again, until the block ends."""

    def __init__(self, words):
        self.words, self.seen, self.looks = words, set(), 0
        self._over, self._thread = threading.Event(), threading.Thread(target=self._work, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(10)

    def _work(self):
        mine = {os.getpid()}
        while not self._over.wait(0.05):
            self.looks += 1
            for entry in Path("/proc").iterdir():
                if entry.name.isdecimal() and int(entry.name) not in mine:
                    self._look(entry)

    def _look(self, entry):
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
            if line != (entry / "cmdline").read_bytes():  # a process that just became another program
                return
            self._judge("cmdline", line, line)
            # The program itself is told by its environment; what it starts is not.
            if line and b"migrator" not in line:
                self._judge("environ", line, environment)

    def _judge(self, where, line, text):
        if any(word.encode() in text for word in self.words):
            self.seen.add((where, line[:200]))


LOUD = """import logging
logging.basicConfig(level=0)
logging.root.setLevel(0)
logging.getLogger("sqlalchemy").setLevel(0)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)  # five verbs with every check of Python's on: minutes on a machine with much else to do
def test_the_migrators_passwords_show_nowhere(server_that_logs, project):
    project.env_py.write_text(LOUD + project.env_py.read_text())
    project.sql("a1", "CREATE TABLE t (id int)")
    project.outside("b2", "CREATE INDEX CONCURRENTLY ix ON t (id)")
    (project.directory / "models.py").write_text(
        "import sqlalchemy as sa\nsa.Table('t', m := sa.MetaData(), sa.Column('id', sa.Integer))\n"
    )
    project.ini.write_text(project.ini.read_text() + "models = %(here)s/models.py\n")
    url = server_that_logs.url("ours", "owner", OWNER)
    given = {
        "PATH": os.environ["PATH"], "MIGRATOR_DATABASE_URL": url, "MIGRATOR_CONFIG": str(project.ini),
        "MIGRATOR_DEBUG": "1",
        "MIGRATOR_APP_ROLE": "app", "MIGRATOR_APP_PASSWORD": APP, "PYTHONFAULTHANDLER": "1", "PYTHONDEVMODE": "1",
    } | {name: os.environ[name] for name in ("PG_BIN",) if name in os.environ}  # fmt: skip
    said = ""
    with Watch(SECRETS) as watch:
        for verb in ("upgrade", "status", "rehearse", "checkpoint", "doctor"):
            done = subprocess.run(
                [sys.executable, "-m", "migrator", verb], cwd=ROOT, env=given, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert done.returncode in {0, 1}, f"{verb}: {done.returncode} {done.stdout}{done.stderr}"
            said += done.stdout + done.stderr
    assert watch.looks > 3
    assert watch.seen == set()
    database = Database(server_that_logs.url("ours"))
    kept = str(database.rows("SELECT * FROM migrator.run")) + str(database.rows("SELECT query FROM pg_stat_activity"))
    database.close()
    log = server_that_logs.data.with_name("postgres.log").read_text(errors="replace")
    for text in (said, kept, log):
        assert [word for word in SECRETS if word in text] == []
    assert "CREATE ROLE" in log


def test_what_a_migrator_says_when_it_is_made_to_crash_holds_no_password(server_that_logs, project):
    project.revision("a1", f"open({str(project.directory / 'in')!r}, 'w').close()\nop.execute('SELECT pg_sleep(60)')")
    given = {
        "PATH": os.environ["PATH"], "MIGRATOR_DATABASE_URL": server_that_logs.url("ours", "owner", OWNER),
        "MIGRATOR_CONFIG": str(project.ini), "PYTHONFAULTHANDLER": "1", "MIGRATOR_APP_ROLE": "app",
        "MIGRATOR_APP_PASSWORD": APP,
    }  # fmt: skip
    argv = [sys.executable, "-m", "migrator", "upgrade"]
    process = subprocess.Popen(argv, cwd=ROOT, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until((project.directory / "in").exists, "the revision")
    process.send_signal(signal.SIGABRT)
    text, _ = process.communicate(timeout=120)
    assert "Fatal Python error: Aborted" in text
    assert [word for word in SECRETS if word in text] == []


def test_the_apps_password_shows_nowhere(start, migrated):
    with Watch((PASSWORD, "pa%25ss")) as watch:
        given = {"PYTHONFAULTHANDLER": "1", "PYTHONDEVMODE": "1", "UVICORN_LOG_LEVEL": "trace"}
        process = start(migrated.url, processes=subprocess, **given)
        with process.client() as client:
            eventually(lambda: is_ready(client))
            client.get("/users")
        process.signal(signal.SIGABRT)
        process.wait()
    assert {line for where, line in watch.seen if where == "cmdline"} == set()
    assert [word for word in (PASSWORD, "pa%25ss") if word in process.output] == []
