"""Switch: instances in, each request's instance out: the load balancer of the story, and what stands behind it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import httpx

from lockstep.develop.sandbox import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local.story.place import Place
    from local.story.release import Release

SECONDS = 60


class NotInTime(Exception):
    """Something that was waited for did not come."""


def until(seen: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Return once `seen()` is true."""
    end = time.monotonic() + seconds
    while not seen():
        if time.monotonic() > end:
            raise NotInTime(f"{what} did not come within {seconds:g} s")
        time.sleep(0.02)


class Instance:
    """One process of `python -m app`."""

    def __init__(self, release: Release, place: Place, log: Path, **variables: str) -> None:
        """Start it; its output goes to a file."""
        self.release = release
        self.log = log
        self.busy = 0
        self._url = ""
        with log.open("wb") as output:
            self.process = release.processes.Popen(
                [sys.executable, "-m", "app"],
                cwd=release.directory,
                env=release.environment(place.of_app()) | variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._leash = die_with_parent.on(self.process.pid, signal.SIGKILL)
        self._leash.__enter__()

    @property
    def url(self) -> str:
        """Return where it listens, or nothing as long as it does not."""
        if not self._url:
            lines = self.log.read_text(errors="replace").splitlines(keepends=True)
            said = [line for line in lines if line.startswith("listening on ") and line.endswith("\n")]
            self._url = said[0].split()[2].rstrip(",") if said else ""
        return self._url

    def status(self, path: str) -> int:
        """Return what it answers to a GET; 0 for nothing."""
        if not self.url:
            return 0
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.url + path, timeout=SECONDS, trust_env=False).status_code
        return 0

    def until_ready(self) -> None:
        """Return once its readiness probe passes; raise NotInTime if it ends or takes too long."""
        until(lambda: self.process.poll() is not None or self.status("/readyz") == httpx.codes.OK, "readiness")
        if self.process.poll() is not None:
            raise NotInTime(f"the instance ended with exit code {self.process.returncode}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it with a signal and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self._leash.__exit__(None, None, None)


class Switch:
    """Sends each request to the next of the instances that take traffic."""

    def __init__(self) -> None:
        """Begin with nothing behind it."""
        self._lock = threading.Condition()
        self._taking: list[Instance] = []
        self._turn = 0

    def add(self, instance: Instance) -> None:
        """Let an instance take traffic."""
        with self._lock:
            self._taking.append(instance)

    def take_out(self, instance: Instance) -> None:
        """Send it nothing more, and return when what it was sent is answered, as platforms do before SIGTERM."""
        with self._lock:
            self._taking.remove(instance)
            if not self._lock.wait_for(lambda: not instance.busy, SECONDS):
                raise NotInTime("the end of its requests")

    @contextlib.contextmanager
    def picked(self) -> Iterator[Instance | None]:
        """Give the instance for one request; None if nothing takes traffic."""
        with self._lock:
            self._turn += 1
            chosen = self._taking[self._turn % len(self._taking)] if self._taking else None
            if chosen:
                chosen.busy += 1
        try:
            yield chosen
        finally:
            if chosen:
                with self._lock:
                    chosen.busy -= 1
                    self._lock.notify_all()
