"""`ask` and `wait`: does the schema serve this release? Changes nothing."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from lockstep_gate import bugs, connections, drivers, durations, exits, own_thread, settings, verdict
from lockstep_gate.commands import given_release
from lockstep_gate.errors import LockstepError
from lockstep_gate.verdict import State, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lockstep_gate.release import Release

ASK_AGAIN_S = 1.0
MAX_WAIT_S = 86_400
PATIENCE_S = 15.0  # beyond the wait and the time that the server gives a statement: longer than connecting takes


@bugs.told("gate")
def main(
    arguments: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    prog: str = "python -m lockstep_gate ask",
    source: Any = None,
    wait: str = "0",
) -> int:
    """Ask from the command line; the last line says what came of it, the exit code says it to machines."""
    # As PID 1 of a container a process that does not handle SIGTERM ignores it.
    signal.signal(signal.SIGTERM, _leave)
    try:
        asked = _parser(prog, environ.get("GATE_WAIT") or wait, needs_contract=source is None).parse_args(arguments)
        wait_s = _seconds(asked.wait)
        given = settings.read(environ)
        build = given_release.find(source or asked.contract, environ)
    except (settings.SettingsError, LockstepError) as error:
        print("\n".join(f"gate: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return exits.USAGE.code
    try:
        patience_s = wait_s + given.statement_timeout_s + PATIENCE_S
        answer = own_thread.done(lambda: _ask_until(given, build, wait_s), patience_s)
    except TimeoutError:
        answer = verdict.unreachable(f"no answer within {patience_s:g} s")
    except KeyboardInterrupt:
        print("gate: interrupted; nothing was changed, safe to run again")
        return exits.INTERRUPTED.code
    except SystemExit:
        print("gate: terminated; nothing was changed, safe to run again")
        return exits.TERMINATED.code
    word = "open" if answer.state is State.SERVED else "closed"
    print(f"gate: {word} for {build}: {answer}", flush=True)
    return verdict.EXIT_CODES[answer.state]


def _ask_until(given: settings.Settings, build: Release, wait_s: float) -> Verdict:
    """Ask, and while waiting may help ask again, until the time is up."""
    through = connections.of(
        drivers.engine(given.database_url, statement_timeout_s=given.statement_timeout_s, commit=given.commit)
    )
    deadline = time.monotonic() + wait_s
    said = None
    while True:
        answer = verdict.ask_through(through, build)
        if answer.state not in verdict.WAITABLE or time.monotonic() + ASK_AGAIN_S > deadline:
            through.close()
            return answer
        if answer.state is not said:
            said = answer.state
            print(f"gate: waiting up to {wait_s:g} s: {answer.reason}", flush=True)
        time.sleep(ASK_AGAIN_S)


def _parser(prog: str, wait: str, *, needs_contract: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Ask the ledger whether the schema serves this release. Changes nothing; safe to run again.",
        epilog=exits.line(exits.DONE, exits.REFUSED, exits.USAGE, exits.UNREACHABLE, exits.BUG),
    )
    parser.add_argument(
        "--wait", metavar="TIME", default=wait, help=f"keep asking for so long, as 30s or 5m (env: GATE_WAIT, {wait})"
    )
    parser.set_defaults(contract=None)
    if needs_contract:
        given_release.add_argument(parser)
    return parser


def _seconds(wait: str) -> float:
    try:
        seconds = durations.seconds(wait)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= MAX_WAIT_S:
        raise settings.SettingsError(f"--wait (GATE_WAIT) {wait[:40]!r} is not a duration up to 24h, such as 30s or 5m")
    return seconds


def _leave(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(exits.TERMINATED.code)
