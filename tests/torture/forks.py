"""Forks: one migrator for each point, forked from a process that has loaded it; what it says goes to two files."""

from __future__ import annotations

import subprocess
import sys

from tests import forks
from tests.forks import ROOT


class Child:
    """One migrator."""

    def __init__(self, argv, env, directory):
        self.out, self.err = directory / "out", directory / "err"
        with self.out.open("w") as out, self.err.open("w") as err:
            self._process = forks.Popen(
                [sys.executable, "-m", "migrator", *argv], cwd=ROOT, env=env, stdout=out, stderr=err
            )
        self.pid = self._process.pid

    def wait(self, seconds):
        """Return the exit code; None when it is still there after that time, and then it is killed."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None

    @property
    def code(self):
        return self._process.poll()

    @property
    def text(self):
        return self.out.read_text() + self.err.read_text()

    @property
    def last(self):
        text = self.err.read_text() if self.code else self.out.read_text()
        return (text.strip().splitlines() or [""])[-1]
