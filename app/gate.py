"""Gate: a release in, whether the schema serves it out.

One question to the ledger: is there a row of my digest that no revision broke? Revision ids are never compared, so a
schema ahead of this release is fine for as long as it serves it. `python -m app.gate` asks once, for a pre-deploy
command; the serving process asks in the background and keeps the verdict in memory.
"""

from __future__ import annotations

import argparse
import enum
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app import apart, bugs, release, settings
from app.storage import engine as storage
from app.storage import faults
from app.storage.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from app.release import Release

QUESTION = text("SELECT broken_by FROM migrator.release WHERE digest = :digest")
ASK_AGAIN_S = 1.0
MAX_WAIT_S = 86_400
PATIENCE_S = 15.0  # beyond the wait and the time that the server gives a statement: longer than connecting takes


class State(enum.Enum):
    """What the ledger says of a release, or why it has said nothing yet."""

    SERVED = "served"
    NOT_RECORDED = "not recorded"
    BROKEN = "broken"
    NO_LEDGER = "no ledger"
    UNREACHABLE = "unreachable"
    UNREPORTED = "unreported"
    UNASKED = "unasked"


EXIT_CODES = {State.SERVED: 0, State.NOT_RECORDED: 1, State.BROKEN: 1, State.NO_LEDGER: 1, State.UNREACHABLE: 5}
WAITABLE = (State.NOT_RECORDED, State.NO_LEDGER, State.UNREACHABLE)


@dataclass(frozen=True)
class Verdict:
    """The answer: `reason` may be shown to clients, `cure` and `detail` are for the operator."""

    state: State
    reason: str
    cure: str = ""
    detail: str = ""

    def __str__(self) -> str:
        reason = f"{self.reason} ({self.detail})" if self.detail else self.reason
        return f"{reason}; {self.cure}" if self.cure else reason


SERVED = Verdict(State.SERVED, "the schema serves this release")
UNASKED = Verdict(State.UNASKED, "the ledger has not been asked yet")
NOT_RECORDED = Verdict(
    State.NOT_RECORDED,
    "the schema has not been migrated for this release",
    "run `migrator upgrade` of this release, then ask again",
)
NO_LEDGER = Verdict(
    State.NO_LEDGER,
    "the database has not been migrated: it has no ledger",
    "run `migrator upgrade` of this release, then ask again",
)


class Gate:
    """The last verdict, in memory: what a request costs is one look at `is_open`."""

    def __init__(self) -> None:
        self.verdict = UNASKED

    @property
    def is_open(self) -> bool:
        """Whether this release may serve."""
        return self.verdict.state is State.SERVED

    def hear(self, verdict: Verdict) -> bool:
        """Take in a verdict and say whether anything changed. An outage closes no gate that is open."""
        if self.is_open and verdict.state is State.UNREACHABLE:
            return False
        changed = verdict != self.verdict
        self.verdict = verdict
        return changed


def ask(engine: Engine, digest: str) -> Verdict:
    """Ask the ledger whether the schema serves the release `digest`."""
    try:
        with engine.connect() as connection:
            return ask_on(connection, digest)
    except SQLAlchemyError as error:
        return verdict_of(error)


def ask_on(connection: Connection, digest: str) -> Verdict:
    """Ask on a connection that is there; errors of the database pass through."""
    row = connection.execute(QUESTION, {"digest": digest}).one_or_none()
    if row is None:
        return NOT_RECORDED
    if row.broken_by is None:
        return SERVED
    return Verdict(
        State.BROKEN,
        f"revision {row.broken_by} changed the schema in a way that this release cannot live with",
        f"deploy a newer release, or take revision {row.broken_by} back with `migrator downgrade`",
    )


def verdict_of(error: SQLAlchemyError) -> Verdict:
    """Return what an error of the database says of a release: not reached, or not migrated."""
    detail = faults.first_line(error)
    if faults.kind(error) is not Fault.MISFIT:
        return _unreachable(detail)
    if faults.sqlstate(error) == faults.INSUFFICIENT_PRIVILEGE:
        return Verdict(
            State.NO_LEDGER,
            "this role may not read the ledger",
            "let `migrator upgrade` grant it (MIGRATOR_APP_ROLE names the role), then ask again",
            detail,
        )
    return NO_LEDGER


def _unreachable(detail: str) -> Verdict:
    return Verdict(
        State.UNREACHABLE,
        "the database cannot be reached",
        "see that it runs and that DATABASE_URL is right, then ask again",
        detail,
    )


@bugs.told("gate")
def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Ask from the command line; the last line says what came of it, the exit code says it to machines."""
    # As PID 1 of a container a process that does not handle SIGTERM ignores it.
    signal.signal(signal.SIGTERM, _leave)
    try:
        wait_s = _wait_s(arguments, environ)
        given = settings.read(environ)
    except settings.SettingsError as error:
        print("\n".join(f"gate: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 2
    build = release.of_this_build(given.commit)
    try:
        patience_s = wait_s + given.statement_timeout_s + PATIENCE_S
        verdict = apart.done(lambda: _ask_until(given, build, wait_s), patience_s)
    except TimeoutError:
        verdict = _unreachable(f"no answer within {patience_s:g} s")
    except KeyboardInterrupt:
        print("gate: interrupted; nothing was changed, safe to run again")
        return 130
    except SystemExit:
        print("gate: terminated; nothing was changed, safe to run again")
        return 143
    word = "open" if verdict.state is State.SERVED else "closed"
    print(f"gate: {word} for {build}: {verdict}", flush=True)
    return EXIT_CODES[verdict.state]


def _ask_until(given: settings.Settings, build: Release, wait_s: float) -> Verdict:
    """Ask, and while waiting may help ask again, until the time is up."""
    engine = storage.make(given)
    deadline = time.monotonic() + wait_s
    said = None
    while True:
        verdict = ask(engine, build.digest)
        if verdict.state not in WAITABLE or time.monotonic() + ASK_AGAIN_S > deadline:
            engine.dispose()
            return verdict
        if verdict.state is not said:
            said = verdict.state
            print(f"gate: waiting up to {wait_s:g} s: {verdict.reason}", flush=True)
        time.sleep(ASK_AGAIN_S)


def _wait_s(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> float:
    parser = argparse.ArgumentParser(
        prog="python -m app.gate",
        description="Ask the ledger whether the schema serves this release. Changes nothing; safe to run again.",
        epilog="exit codes: 0 served, 1 not served, 2 wrong usage or settings, 5 database not reachable, "
        "70 a bug of ours",
    )
    default = environ.get("GATE_WAIT") or "0"
    parser.add_argument(
        "--wait", metavar="SECONDS", default=default, help="keep asking for so long (env: GATE_WAIT, default 0)"
    )
    wait = parser.parse_args(arguments).wait
    try:
        seconds = float(wait)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= MAX_WAIT_S:
        raise settings.SettingsError(
            f"--wait (GATE_WAIT) {wait[:40]!r} is not a number of seconds from 0 to {MAX_WAIT_S}"
        )
    return seconds


def _leave(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main())
