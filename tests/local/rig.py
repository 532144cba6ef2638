"""Rig: `python -m local` as a process, and what a test asks of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.ports import free_port

if TYPE_CHECKING:
    import contextlib

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
# Stand-ins: what `up` makes of its children does not depend on what they do.
STAND_IN = f"{sys.executable} {Path(__file__).with_name('stand_in.py')}"


def until(what, seconds=SECONDS):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def alive(pid):
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class Up:
    """A running `local up` and what it has printed so far."""

    process: subprocess.Popen
    output: Path
    port: int

    @property
    def text(self):
        return self.output.read_text()

    def until(self, words):
        """Wait until it has printed these words."""
        until(lambda: words in self.text or self.process.poll() is not None)
        assert words in self.text, self.text
        return self

    def end(self, number=signal.SIGINT):
        """Send it a signal, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@dataclass(frozen=True)
class Local:
    """The commands of `python -m local`, on one directory."""

    directory: Path
    stack: contextlib.ExitStack

    def run(self, *args, env=None):
        """Run a verb to its end."""
        command = [sys.executable, "-m", "local", "--directory", str(self.directory), *args]
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def up(self, migrator=f"{STAND_IN} migrate", app=f"{STAND_IN} serve", port=None, env=None):
        """Start `up`, with stand-ins unless told otherwise; it is stopped at the end of the test."""
        port = port or free_port()
        output = self.directory.parent / f"up-{port}.txt"
        commands = ["--migrator", migrator] if migrator else []
        commands += ["--app", app] if app else []
        with output.open("w") as file:
            process = self.stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "local", "--directory", str(self.directory), "up", *commands],
                    cwd=ROOT,
                    env={**os.environ, "PORT": str(port), **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
        self.stack.callback(process.kill)
        return Up(process, output, port)

    def server_pid(self):
        """Return the pid of the server that runs now."""
        return int((self.directory / "data" / "postmaster.pid").read_text().splitlines()[0])
