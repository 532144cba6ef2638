"""Forks: a process that has imported everything, and forks one migrator for each line that asks for one.

The same code as `python -m migrator`, without the half second that the imports take: thousands of points need it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# All that a run of any kind imports.
LOADED = (
    "alembic.command", "pgparse", "sqlalchemy.orm", "sqlalchemy.dialects.postgresql.psycopg2", "psycopg2.extras",
    "encodings.idna", "lockstep.upgrade.run_lock", "lockstep.upgrade.job", "lockstep.upgrade.load_checkpoint", "lockstep.parsing",
    "lockstep_gate.contract.models_file", "lockstep_gate.contract.derivation",
    "lockstep.cli", "lockstep.develop.rehearsal.arguments", "lockstep.backfill.arguments",
    "lockstep.verbs.upgrade", "lockstep.verbs.downgrade", "lockstep.verbs.backfill",
)  # fmt: skip


def serve():
    """Answer each line of stdin, {argv, env, out, err}, with the child's pid, and then with how it ended."""
    for name in LOADED:
        importlib.import_module(name)
    from lockstep import __main__ as entry  # noqa: PLC0415
    from lockstep import parsing  # noqa: PLC0415

    made = parsing.build()  # a tenth of what a child costs; the environment here holds nothing that would change it
    parsing.build = lambda: made
    gc.collect()
    gc.freeze()  # a child that looks for garbage would write into every page, and have a copy of each
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(asked, entry)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _child(asked, entry):
    code = 99
    try:
        for number, name in ((1, "out"), (2, "err")):
            file = os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(asked["env"])
        sys.argv = ["migrator", *asked["argv"]]
        entry.run()
    except SystemExit as error:
        code = int(error.code or 0)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


class Forks:
    """The process that forks, as its owner sees it: one migrator at a time."""

    def __init__(self):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MIGRATOR_", "PG"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.forks"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True, env=environment,
        )  # fmt: skip

    def start(self, argv, env, directory):
        return Child(self.process, argv, env, directory)

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class Child:
    """One migrator."""

    def __init__(self, process, argv, env, directory):
        self.out, self.err = directory / "out", directory / "err"
        asked = {"argv": argv, "env": env, "out": str(self.out), "err": str(self.err)}
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        self.pid = int(process.stdout.readline())
        self.code = None
        self._waiter = threading.Thread(target=self._wait, args=(process,), daemon=True)
        self._waiter.start()

    def _wait(self, process):
        self.code = int(process.stdout.readline())

    def wait(self, seconds):
        """Return the exit code; None when it is still there after that time, and then it is killed."""
        self._waiter.join(seconds)
        if self._waiter.is_alive():
            os.kill(self.pid, signal.SIGKILL)
            self._waiter.join()
            return None
        return self.code

    @property
    def text(self):
        return self.out.read_text() + self.err.read_text()

    @property
    def last(self):
        text = self.err.read_text() if self.code else self.out.read_text()
        return (text.strip().splitlines() or [""])[-1]


if __name__ == "__main__":
    serve()
