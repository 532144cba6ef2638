"""Up: database, then migrator, then app, each only when the one before it is there; all stopped in the end."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from local import child, database, state
from lockstep import errors
from lockstep.develop.sandbox import embedded

if TYPE_CHECKING:
    import subprocess

NOT_READY_SECONDS = 15
READY = 200


@dataclass(frozen=True)
class Plan:
    """What `up` runs, and where."""

    directory: Path
    port: int
    migrator: tuple[str, ...]
    app: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """Tells a person what happens, with the seconds since the start."""

    began: float = field(default_factory=time.monotonic)

    def __call__(self, who: str, what: str) -> None:
        """Print one line of the order."""
        print(f"{time.monotonic() - self.began:6.1f} s  {who:<9} {what}", flush=True)


def up(plan: Plan, signals: child.Signals) -> int:
    """Run the three in their order until a signal comes or one of them ends; return the exit code."""
    database.refuse_if_in_use(plan.directory)
    if not embedded.is_free(plan.port):
        raise errors.Usage(
            f"port {plan.port} is taken, and the app is to serve there",
            f"Stop what listens there, or choose another: PORT={plan.port + 1} make up",
        )
    told = Told()
    told("database", f"starting, data in {_short(plan.directory / state.DATA)}")
    with database.running(plan.directory) as found:
        told("database", f"PostgreSQL {found.server.version} on {embedded.HOST}:{found.port}")
        code = _migrate(plan, found, signals, told)
        if code == 0:
            code = _serve(plan, found, signals, told)
        told("database", "stopping")
    told("all", "stopped; the data is kept")
    return code


def _migrate(plan: Plan, found: database.Database, signals: child.Signals, told: Told) -> int:
    if signals.number:
        return 128 + signals.number
    told("migrator", "starting")
    with child.running(plan.migrator, found.environment()) as process:
        code = child.wait(process, signals)
        if code is None:
            told("migrator", "stopping")
    if code is None:
        return 128 + signals.number
    told("migrator", "done" if code == 0 else f"failed with exit code {code}; the app is not started")
    return code


def _serve(plan: Plan, found: database.Database, signals: child.Signals, told: Told) -> int:
    if signals.number:
        return 128 + signals.number
    told("app", "starting")
    environment = {**found.environment(), "HOST": embedded.HOST, "PORT": str(plan.port)}
    del environment["MIGRATOR_DATABASE_URL"]  # the app never holds the right to change the schema
    with child.running(plan.app, environment) as process:
        code = _watch(process, found.server, signals, _Readiness(plan, told))
        if process.poll() is None:
            told("app", "stopping")
    return code


def _watch(app: subprocess.Popen[bytes], server: embedded.Server, signals: child.Signals, ready: _Readiness) -> int:
    """Wait for the first that ends: us, the app or the database."""
    while not signals.number:
        if app.poll() is not None:
            code = child.exit_code(app)
            ready.told("app", f"ended by itself with exit code {code}")
            return code or 1
        if server.process.poll() is not None:
            raise errors.Unreachable("PostgreSQL ended by itself", f"See {server.data.with_name('postgres.log')}")
        ready.look()
        time.sleep(child.POLL_SECONDS)
    return 128 + signals.number


@dataclass
class _Readiness:
    """Says where to look once the app answers; after a while, why it does not yet."""

    plan: Plan
    told: Told
    is_said: bool = False
    patience_ends: float = field(default_factory=lambda: time.monotonic() + NOT_READY_SECONDS)

    def look(self) -> None:
        """Ask the app, until it was ready once."""
        if self.is_said:
            return
        status, said = _ask(self.plan.port)
        if status == READY:
            address = f"http://{embedded.HOST}:{self.plan.port}"
            self.told("app", f"ready on {address}")
            print(f"{'look':>18}  {address}/users   {address}/version\n{'stop':>18}  Ctrl-C", flush=True)
            self.is_said = True
        elif time.monotonic() > self.patience_ends:
            self.told("app", f"runs, and is not ready: {said}")
            self.patience_ends = float("inf")


def _ask(port: int) -> tuple[int, str]:
    with contextlib.closing(http.client.HTTPConnection(embedded.HOST, port, timeout=2)) as connection:
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            return answer.status, _reason(answer.read())
        except (OSError, http.client.HTTPException):
            return 0, f"no answer on port {port}"


def _reason(body: bytes) -> str:
    """Return the detail of an application/problem+json, or the start of whatever else it is."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]


def _short(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)
