"""Child: a command in, a process of ours out that is stopped with us, and the signals we were sent meanwhile."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.state import ROOT
from lockstep import errors
from lockstep.develop.sandbox import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

POLL_SECONDS = 0.05
# Longer than the app's own limit for requests that are under way.
STOP_SECONDS = 25


@dataclass
class Signals:
    """Remembers the first signal to stop. Nothing is torn out of its step: whoever waits looks here."""

    number: int = 0
    watched: tuple[signal.Signals, ...] = field(default=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP))

    def take_over(self) -> None:
        """From now on these signals are remembered instead of ending this process."""
        for number in self.watched:
            signal.signal(number, self._remember)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self.number = self.number or number


@contextlib.contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command for the length of the block, and stop it at its end if it has not ended by itself."""
    try:
        # A session of its own: Ctrl-C reaches us alone, and we say in which order things stop.
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        raise errors.Usage(f"cannot run {command[0]}: {error.strerror}", "Name a command that is there") from None
    with die_with_parent.on(process.pid, signal.SIGTERM):
        try:
            yield process
        finally:
            _stop(process)


def wait(process: subprocess.Popen[bytes], signals: Signals) -> int | None:
    """Return the exit code of a process, or None as soon as a signal tells us to stop."""
    while process.poll() is None:
        if signals.number:
            return None
        time.sleep(POLL_SECONDS)
    return exit_code(process)


def exit_code(process: subprocess.Popen[bytes]) -> int:
    """Return the exit code as a shell gives it: 128 and the number for a process that a signal ended."""
    code = process.wait()
    return code if code >= 0 else 128 - code


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
