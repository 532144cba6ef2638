"""What the app's tests stand on: a database with its tables and a ledger, the app on a real socket, a network to cut.

The tables are made from the models and the ledger from its published shape: nothing here needs the migrator.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psycopg2
import pytest
import uvicorn
from sqlalchemy import create_engine, make_url

from app import application, release, settings
from app.storage.models import Base
from tests import forks

ROOT = Path(__file__).resolve().parents[2]
ROLE = f"app_{secrets.token_hex(4)}"  # roles are shared by all databases of a server
PASSWORD = "pa%ss-w0rd"
PATIENCE_S = 60
LEDGER = """
CREATE SCHEMA migrator;
CREATE TABLE migrator.release (digest text PRIMARY KEY, commit text, recorded timestamptz NOT NULL DEFAULT now(),
    contract jsonb, broken_by text, broken_at timestamptz);
CREATE TABLE migrator.instance (id uuid PRIMARY KEY, release text NOT NULL, commit text, host text,
    started timestamptz NOT NULL DEFAULT now(), seen timestamptz NOT NULL DEFAULT now(), ended timestamptz);
"""
# What engines write into it since an instance says who it is.
WHO = """
ALTER TABLE migrator.instance ADD COLUMN role text, ADD COLUMN driver text, ADD COLUMN schemas text[];
ALTER TABLE migrator.instance ALTER COLUMN role SET DEFAULT session_user;
"""
RIGHTS = f"""
GRANT USAGE ON SCHEMA migrator TO {ROLE};
GRANT SELECT ON migrator.release TO {ROLE};
GRANT SELECT, INSERT, UPDATE, DELETE ON migrator.instance TO {ROLE};
"""
TABLE_RIGHTS = f"GRANT SELECT, INSERT, UPDATE, DELETE ON users, organisations TO {ROLE}"
BUILD = release.of_this_build("0123456789abcdef")


def eventually(what, patience_s=PATIENCE_S):
    """Return what `what` gives once it is true; fail when that takes longer than any machine needs."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if value := what():
            return value
        time.sleep(0.02)
    pytest.fail(f"did not come true within {patience_s} s")


class Database:
    """A database as its owner sees it, and the URL by which the app's own role reaches it."""

    def __init__(self, url):
        self.owner_url = url
        plain = make_url(url).set(username=ROLE, password=PASSWORD)
        self.url = plain.render_as_string(hide_password=False)

    def execute(self, statement, *values):
        with contextlib.closing(psycopg2.connect(self.owner_url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else None

    def make_tables(self):
        engine = create_engine(make_url(self.owner_url).set(drivername="postgresql+psycopg2"))
        Base.metadata.create_all(engine)
        engine.dispose()
        self.execute(TABLE_RIGHTS)

    def make_ledger(self):
        self.execute(LEDGER + WHO + RIGHTS)

    def age_ledger(self):
        """Make it what an older engine has left."""
        self.execute("ALTER TABLE migrator.instance DROP COLUMN role, DROP COLUMN driver, DROP COLUMN schemas")

    def record(self, digest=BUILD.digest):
        self.execute("INSERT INTO migrator.release (digest) VALUES (%s)", digest)

    def break_by(self, revision):
        self.execute("UPDATE migrator.release SET broken_by = %s, broken_at = now()", revision)

    def instances(self):
        return self.execute(
            "SELECT id::text, release, commit, host, started, seen FROM migrator.instance WHERE ended IS NULL"
        )

    def who(self):
        """Who the instances say that they are."""
        return self.execute("SELECT role, driver, schemas FROM migrator.instance WHERE ended IS NULL")


def listening_socket():
    return socket.create_server(("127.0.0.1", 0))


def settings_for(url, **variables):
    environ = {"DATABASE_URL": url, "IMAGE_COMMIT": BUILD.commit, "REPORT_INTERVAL": "200ms", **variables}
    return settings.read(environ)


@contextlib.contextmanager
def serving(url, **variables):
    """Serve the real application from a thread of this process; yields a client of it."""
    given = settings_for(url, **variables)
    listener = listening_socket()
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        application.make(given, BUILD), lifespan="on", log_config=None, access_log=False, timeout_graceful_shutdown=5
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(base_url=base_url, timeout=PATIENCE_S, trust_env=False) as client:
            yield client
    finally:
        running.should_exit = True
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


def is_ready(client):
    return client.get("/readyz").status_code == 200


class Process:
    """`python -m app` as a process of its own; `processes=subprocess` where its start matters."""

    def __init__(self, url, *, processes=forks, **variables):
        environ = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DATABASE_URL", "PORT", "HOST", "RENDER_GIT_COMMIT")
        }
        environ |= {"PYTHONPATH": str(ROOT), "PORT": "0", "HOST": "127.0.0.1", "REPORT_INTERVAL": "200ms"}
        if url is not None:
            environ["DATABASE_URL"] = url
        self._popen = processes.Popen(
            [sys.executable, "-m", "app"],
            env=environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._popen.pid
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._popen.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self):
        return "\n".join(self.lines)

    def client(self):
        line = eventually(lambda: next((line for line in self.lines if line.startswith("listening on ")), None))
        return httpx.Client(base_url=line.split()[2].rstrip(","), timeout=PATIENCE_S, trust_env=False)

    def signal(self, number):
        self._popen.send_signal(number)

    def wait(self):
        code = self._popen.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        self._popen.stdout.close()
        return code

    def end(self):
        if self._popen.poll() is None:
            self._popen.kill()
        self.wait()


class Network:
    """A stretch of network to the database that can be cut and mended."""

    def __init__(self, url):
        target = make_url(url)
        self._target = (target.host or "127.0.0.1", target.port or 5432)
        self._listener = listening_socket()
        self.url = target.set(host="127.0.0.1", port=self._listener.getsockname()[1]).render_as_string(False)
        self._whole, self._cutting = True, threading.Lock()
        self._flowing, self._carrying = threading.Event(), threading.Lock()
        self._flowing.set()
        self.held = threading.Event()  # something has come that is not carried
        self._ends = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        with self._cutting:
            self._whole = False
            for end in self._ends:
                # shutdown wakes the thread that waits on it, which then closes.
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def freeze(self):
        """Carry nothing more, and end nothing: the peer is there and silent. What was under way has arrived."""
        with self._carrying:
            self.held.clear()
            self._flowing.clear()

    def mend(self):
        self._whole = True
        self._flowing.set()

    def close(self):
        self.cut()
        self._flowing.set()
        # A listener that is only closed goes on in accept() of the other thread.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._cutting:  # a connection that is just being made is cut too
                if not self._whole:
                    near.close()
                    continue
                far = socket.create_connection(self._target)
                self._ends += [near, far]
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near, far):
        with near, far:
            while True:
                try:
                    for end in select.select([near, far], [], [])[0]:
                        if not self._pass(end, far if end is near else near):
                            return
                except (OSError, ValueError):
                    return

    def _pass(self, end, other):
        """Carry what has come, as soon as anything is carried; tell whether there was anything."""
        while True:
            if not self._flowing.is_set():
                self.held.set()
            self._flowing.wait()
            with self._carrying:
                if not self._flowing.is_set():
                    continue
                data = end.recv(65536)
                if data:
                    other.sendall(data)
                return bool(data)
