"""Server: a throw-away PostgreSQL that can be killed and started again, and databases cloned on it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import itertools
import secrets
import shutil
import signal
import tempfile
import time
from pathlib import Path

import psycopg2

from lockstep.develop.sandbox import die_with_parent, embedded
from tests.conftest import memory
from tests.ports import free_port

# Commits have to be with the system when the server is killed; a machine that loses power is not what is tried here.
SETTINGS = {
    "fsync": "off", "full_page_writes": "off", "autovacuum": "off", "max_connections": "200", "jit": "off",
    "shared_buffers": "32MB", "wal_level": "minimal", "max_wal_senders": "0",
}  # fmt: skip
OWNER, OWNER_PASSWORD = "migrator", "s3cret-of-the-owner"


def _verifier(password):
    """Return what the server keeps of a password, of one round: 4,096 of them are most of what it takes to connect."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = (base64.b64encode(part).decode() for part in (salt, stored, hmac.digest(salted, b"Server Key", "sha256")))
    return "SCRAM-SHA-256$1:{}${}:{}".format(*parts)


class Server:
    """A server of one worker; `close` stops it and removes its files."""

    def __init__(self):
        self._top = Path(tempfile.mkdtemp(prefix="torture-", dir=memory())).resolve()
        self._top.chmod(0o711)
        self._password = secrets.token_urlsafe(16)
        self._leash = contextlib.ExitStack()
        self._numbers = itertools.count(1)
        self._look = None
        self.port = None
        self._start()
        self.rows(f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE PASSWORD '{_verifier(OWNER_PASSWORD)}'")
        self.rows(f"ALTER ROLE {embedded.SUPERUSER} PASSWORD '{_verifier(self._password)}'")

    def _start(self):
        # Not one that the system gives to whoever connects: those who knock while it is away would take it.
        port = self.port or free_port()
        self.running = embedded.start(self._top / "data", password=self._password, port=port, settings=SETTINGS)
        assert self.port in (None, self.running.port)
        self.port = self.running.port
        self._leash.enter_context(die_with_parent.on(self.running.process.pid, signal.SIGINT, self._top))

    def restart_at_once(self, meanwhile=lambda: None):
        """Stop it as `pg_ctl -m immediate` does, call `meanwhile`, and start it again on its port."""
        self.running.process.send_signal(signal.SIGQUIT)
        meanwhile()
        self.running.process.wait(60)
        self._leash.close()
        self._look = None
        self._top.mkdir(exist_ok=True)
        self._start()

    def close(self):
        embedded.stop(self.running)
        self._leash.close()
        shutil.rmtree(self._top, ignore_errors=True)

    def connect(self, database="postgres"):
        connection = psycopg2.connect(self.running.url(database), application_name="the torture")
        connection.autocommit = True
        return connection

    def rows(self, sql, *parameters):
        """Run a statement on the server's own database."""
        if self._look is None or self._look.closed:
            self._look = self.connect()
        return rows(self._look, sql, *parameters)

    def url(self, database, port=None):
        return f"postgresql://{OWNER}:{OWNER_PASSWORD}@127.0.0.1:{port or self.port}/{database}?sslmode=disable"

    def new(self, template="template0"):
        """Make a database of the migrator's role; return its name."""
        name = f"p{next(self._numbers)}"
        self.rows(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER} STRATEGY FILE_COPY")
        return name

    def drop(self, name):
        """Drop a database, whoever is in it."""
        self.rows(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def backends(self, database):
        """Return the migrator's connections on a database."""
        return self.rows(
            "SELECT pid, state, query FROM pg_stat_activity WHERE usename = %s AND datname = %s",
            OWNER,
            database,
        )

    def until_quiet(self, database, seconds):
        """Wait until nobody of the migrator's is connected; return who still is at the end."""
        end = time.monotonic() + seconds
        while (there := self.backends(database)) and time.monotonic() < end:
            time.sleep(0.01)
        return there


def rows(connection, sql, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return cursor.fetchall() if cursor.description else []
