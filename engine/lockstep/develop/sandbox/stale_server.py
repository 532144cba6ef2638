"""Stale server: stop the server that a killed run left on a data directory, and remove its stale pid file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from lockstep import errors
from lockstep.develop.sandbox import child_env

STOP_SECONDS = 15
NAMED = 2


def stop(data: Path) -> bool:
    """Stop the server on `data`, if there is one; return whether there was."""
    pid = running_pid(data)
    if pid is None:
        return False
    for number in (signal.SIGINT, signal.SIGQUIT):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if not _command_line(pid):
                running_pid(data)  # one that was killed leaves its pid file, and its number in use
                return True
            time.sleep(0.02)
    raise errors.Busy(f"a PostgreSQL server that an earlier run left on {data} does not stop", f"Try: kill -9 {pid}")


def running_pid(data: Path) -> int | None:
    """Return the pid of the server on `data`. A pid file that names no server of ours is removed."""
    if not (data / "postmaster.pid").exists():
        return None
    lines = pid_file(data)
    if len(lines) >= NAMED and lines[0].isdecimal():
        command = _command_line(int(lines[0]))
        if not command and not _exists(int(lines[0])):
            return None  # PostgreSQL sees this itself, and looks for backends that outlived their server
        if not command:
            # Killed, and its parent has not asked for it yet: PostgreSQL would take it for alive. Its backends are
            # given the moment they need to notice.
            time.sleep(1)
        if "postgres" in command and lines[1] in command:
            return int(lines[0])
    # Cut short by a crash, or the number belongs to another process since, which PostgreSQL would take for its own.
    (data / "postmaster.pid").unlink(missing_ok=True)
    return None


def pid_file(data: Path) -> list[str]:
    """Return the lines of the pid file: pid, data directory, start, port, ..., and the state in the eighth."""
    try:
        return (data / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _exists(pid: int) -> bool:
    """Whether the number is in use, be it by a process that ended and waits for its parent."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _command_line(pid: int) -> str:
    """Return the command line of a process; empty if it is gone, or has ended and waits for its parent."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    done = subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env=child_env.without_secrets(),
    )
    return done.stdout.strip()
