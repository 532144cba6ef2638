"""Rig: small Alembic projects, the command line in this process or in one of its own, and clients that hold locks."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import io
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import threading
import time
from pathlib import Path

import psycopg2
from alembic import command
from alembic.config import Config

from lockstep import cli
from tests import forks

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60  # however busy the machine is


def until(seen, what, seconds=SECONDS):
    """Return the first true value of `seen()`; fail after a while, saying for what."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := seen():
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s for {what() if callable(what) else what}")


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def last(self):
        """The last line an operator sees."""
        text = self.err if self.code else self.out
        return text.strip().splitlines()[-1]

    @property
    def text(self):
        return self.out + self.err


class Project:
    """An Alembic project in a directory."""

    def __init__(self, directory, *, own):
        self.directory = directory
        self.own = own
        self.ini = directory / "alembic.ini"
        self.env_py = directory / "alembic" / "env.py"
        self.versions = directory / "alembic" / "versions"
        self._last = None
        if own:
            self.versions.mkdir(parents=True)
            shutil.copy(ROOT / "migrator" / "env.py", self.env_py)
            shutil.copy(ROOT / "migrator" / "script.py.mako", self.env_py.parent)
            self.ini.write_text("[alembic]\nscript_location = %(here)s/alembic\npath_separator = os\n")
        else:
            command.init(Config(str(self.ini), stdout=io.StringIO()), str(directory / "alembic"))

    def revision(self, name, up="pass", down="pass", *, after="last", depends_on=None, labels=None, versions=None):
        """Write a revision; its id is its name unless that is longer; returns the file."""
        parent = self._last if after == "last" else after
        body = "\n".join(
            [
                f'"""{name.replace("_", " ")}"""',
                "import sqlalchemy as sa",
                "from alembic import op",
                f"revision = {name!r}",
                f"down_revision = {parent!r}",
                f"branch_labels = {labels!r}",
                f"depends_on = {depends_on!r}",
                "",
                "def upgrade():",
                textwrap.indent(textwrap.dedent(up).strip(), "    "),
                "",
                "def downgrade():",
                textwrap.indent(textwrap.dedent(down).strip(), "    "),
                "",
            ]
        )
        path = (versions or self.versions) / f"2026_01_01-{name}_{name}.py"
        path.write_text(body)
        if after == "last":
            self._last = name
        return path

    def sql(self, name, *statements, down=(), **options):
        """Write a revision of plain statements in its transaction."""
        run = "\n".join(f"op.execute({statement!r})" for statement in statements) or "pass"
        back = "\n".join(f"op.execute({statement!r})" for statement in down) or "pass"
        return self.revision(name, run, back, **options)

    def outside(self, name, *statements, before=(), after_block=(), **options):
        """Write a revision whose statements run in an autocommit block, with others before and after it."""
        lines = [f"op.execute({statement!r})" for statement in before]
        lines += ["with op.get_context().autocommit_block():"]
        lines += [f"    op.execute({statement!r})" for statement in statements]
        lines += [f"op.execute({statement!r})" for statement in after_block]
        return self.revision(name, "\n".join(lines), **options)


class Client:
    """A session of somebody else's."""

    def __init__(self, url, application="a client"):
        self.raw = psycopg2.connect(url, application_name=application)
        self.pid = self.raw.get_backend_pid()

    def run(self, sql, *parameters):
        """Run a statement in the session's transaction; rows if there are any."""
        with self.raw.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def close(self):
        self.raw.close()


class Database:
    """A test's database: its URL, and a superuser's look at it."""

    def __init__(self, url):
        self.url = url
        self._look = psycopg2.connect(url, application_name="the test")
        self._look.autocommit = True
        self.lock = threading.Lock()

    def rows(self, sql, *parameters):
        with self.lock, self._look.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, sql, *parameters):
        return self.rows(sql, *parameters)[0][0]

    def columns(self, table):
        return [
            row[0]
            for row in self.rows(
                "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped "
                "ORDER BY attnum",
                table,
            )
        ]

    def migrators(self):
        """The backends of migrators that are connected."""
        return self.rows(
            "SELECT pid, state, query, wait_event_type FROM pg_stat_activity WHERE application_name LIKE 'migrator/%%' "
            "AND datname = current_database()"
        )

    def waiting(self):
        """Tell whether a migrator waits: in the queue for a lock, or beside it until the holders are gone."""
        return [row for row in self.migrators() if row[3] == "Lock" or "l.virtualtransaction FROM pg_locks" in row[2]]

    def lock_is_free(self):
        return not self.rows(
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    def require_free_lock(self):
        """Wait until nobody holds the lock: a session that was closed gives it back when the server gets to it."""
        until(self.lock_is_free, "the lock to be free")

    def steps(self):
        return self.rows("SELECT revision, direction, state FROM migrator.step ORDER BY id")

    def runs(self):
        return self.rows("SELECT verb, outcome FROM migrator.run ORDER BY id")

    def close(self):
        self._look.close()


# The process as it is, but that it leaves by force only after a minute: a busy machine may take long to do it well.
PATIENT = "from lockstep import __main__; from lockstep.stop import interrupt; interrupt.GRACE_S = 60; __main__.run()"


class Running:
    """A migrator in a process of its own."""

    def __init__(self, arguments, environment, cwd=ROOT, module="migrator", *, patient=False, processes=None):
        self._texts = {"out": [], "err": []}
        # Where the start itself matters a process is a true one: `processes=subprocess`.
        processes = processes or (subprocess if "LD_PRELOAD" in environment else forks)
        self.process = processes.Popen(
            [sys.executable, *(("-c", PATIENT) if patient else ("-m", module)), *map(str, arguments)],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PYTHONUNBUFFERED": "1",
                "PYTHONFAULTHANDLER": "1",
                **environment,
            },
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._threads = [
            threading.Thread(target=self._collect, args=(name, stream), daemon=True)
            for name, stream in (("out", self.process.stdout), ("err", self.process.stderr))
        ]
        for thread in self._threads:
            thread.start()

    def _collect(self, name, stream):
        with stream:
            for line in stream:
                self._texts[name].append(line)

    @property
    def text(self):
        return "".join(self._texts["out"] + self._texts["err"])

    def said(self, words):
        """Wait until it has said something."""
        until(lambda: words in self.text or self.process.poll() is not None, lambda: f"{words!r} in\n{self.text}")
        if words not in self.text:
            self._heard_out()
        assert words in self.text, self.text

    def signal(self, number):
        self.process.send_signal(number)

    def result(self, seconds=SECONDS):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGABRT)  # it says where each of its threads is
            self._heard_out()
            raise AssertionError(f"it does not end:\n{self.text}") from None
        self._heard_out()
        return Result(code, "".join(self._texts["out"]), "".join(self._texts["err"]))

    def _heard_out(self):
        """Wait until what an ended process said has arrived here, which its end does not wait for."""
        for thread in self._threads:
            thread.join(SECONDS)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)


def at_a_terminal(*arguments, **environment):
    """Run Python with stdout and stderr at a terminal; return the exit code and all that the terminal was sent."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    own = {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "PATH": os.environ["PATH"], **environment}
    with os.fdopen(mine, "rb", buffering=0) as terminal:
        words = [sys.executable, *map(str, arguments)]
        process = subprocess.Popen(words, env=own, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # what Linux says once the other end is closed
            while part := terminal.read(4096):
                seen += part
        return process.wait(SECONDS), seen.decode().replace("\r\n", "\n")


def call(arguments, environment, capsys, monkeypatch):
    """Run a verb in this process, as `python -m migrator` would with this environment and nothing else."""
    for name in list(os.environ):
        if name.startswith(("MIGRATOR_", "PG")) or name in {"DATABASE_URL", "IMAGE_COMMIT", "RENDER_GIT_COMMIT"}:
            monkeypatch.delenv(name)
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
    return Result(code, captured.out, captured.err)
