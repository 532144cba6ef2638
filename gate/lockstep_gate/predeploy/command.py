"""`predeploy`: the app's pre-deploy command on Render; its exit code is the platform's yes or no."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lockstep_gate import bugs, exits, own_thread, settings
from lockstep_gate.commands import given_release
from lockstep_gate.errors import LockstepError
from lockstep_gate.predeploy import revisions
from lockstep_gate.predeploy import settings as predeploy_settings
from lockstep_gate.predeploy.deadline import Deadline
from lockstep_gate.predeploy.decision import Predeploy
from lockstep_gate.predeploy.endings import Ending

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@bugs.told("predeploy")
def main(
    arguments: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    prog: str = "python -m lockstep_gate predeploy",
    source: Any = None,
    versions: Path | None = None,
) -> int:
    """Decide whether this release may be rolled out; the exit code says it, the last line says why."""
    signal.signal(signal.SIGTERM, _terminate)
    asked = _parser(prog, environ, needs_contract=source is None).parse_args(arguments)
    try:
        own, given = settings.read(environ), predeploy_settings.read(environ)
        build = given_release.find(source or asked.contract, environ)
        last = revisions.at(_versions(environ) or versions)
    except (settings.SettingsError, LockstepError, Ending) as error:
        print("\n".join(f"predeploy: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return exits.USAGE.code
    deadline = Deadline.after(given.deadline_s)
    if asked.doctor:
        from lockstep_gate.predeploy import doctor  # noqa: PLC0415

        return own_thread.done(lambda: doctor.main(own, given, build, last, environ))
    predeploy = Predeploy(own, given, build, last, deadline)
    predeploy.say(f"predeploy  {build}, at most {given.deadline_s:g} s")
    _bound(deadline)
    try:
        answer = own_thread.done(lambda: predeploy.run(wait_only=asked.wait_only))
    except Ending as ending:
        return _last_word(predeploy, f"no: {ending}", ending.code)
    except KeyboardInterrupt:
        return _last_word(predeploy, f"interrupted: {predeploy.followed}; safe to run again", exits.INTERRUPTED.code)
    except SystemExit:
        return _last_word(predeploy, f"terminated: {predeploy.followed}; safe to run again", exits.TERMINATED.code)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return _last_word(predeploy, f"yes: {answer}", exits.DONE.code)


def _bound(deadline: Deadline) -> None:
    """Have the deadline hold even inside a call that does not return."""

    def over(_signal: int, _frame: object) -> NoReturn:
        raise deadline.passed("an answer that did not come")

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, deadline.left() + 1)


def _last_word(predeploy: Predeploy, words: str, code: int) -> int:
    predeploy.say(f"predeploy  {words} (exit {code})")
    return code


def _versions(environ: Mapping[str, str]) -> Path | None:
    place = environ.get(revisions.VARIABLE, "").strip()
    return Path(place) if place else None


def _parser(prog: str, environ: Mapping[str, str], *, needs_contract: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Have the migrator of this commit run on Render, and pass only when the ledger shows that the "
        "schema serves this release. Safe to run again.",
        epilog="exit codes: 0 served, 1 refused, 2 settings or key, 3 out of time, 4 a revision failed, "
        "5 database or API not reachable, 70 a bug of ours; of a job that failed, its own",
    )
    parser.add_argument(
        "--wait-only",
        action="store_true",
        default=environ.get("PREDEPLOY_WAIT_ONLY", "").lower() in {"1", "true", "yes", "on"},
        help="only wait for the gate: somebody else runs the migrator (env: PREDEPLOY_WAIT_ONLY)",
    )
    parser.add_argument(
        "--doctor", action="store_true", help="print what only the live platform can tell, then ask the gate once"
    )
    parser.set_defaults(contract=None)
    if needs_contract:
        given_release.add_argument(parser)
    return parser


def _terminate(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(exits.TERMINATED.code)
