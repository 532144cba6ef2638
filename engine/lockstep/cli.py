"""Command line: argv in, one verb run, its exit code out.

The only place that parses, and the only one that turns errors into exits.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from typing import Any

from lockstep import __version__, exits, settings
from lockstep.backfill import arguments as backfill_arguments
from lockstep.develop.rehearsal import arguments as rehearsal_arguments
from lockstep.errors import Usage
from lockstep.report import Report
from lockstep.stop import interrupt, watchdog
from lockstep.stop.deadline import Deadline

VERBS = {
    "upgrade": "apply pending revisions; what the pre-deploy job runs",
    "plan": "show pending revisions in order, with the SQL each will run; changes nothing",
    "status": "show where the database is, what is pending, and the last runs",
    "backfill": "change rows in batches, as revisions declared it; also status, pause, resume, cancel",
    "history": "show what was applied, when, by which commit, how long it took and waited",
    "downgrade": "take revisions back; for developers",
    "revision": "write a new revision from the models, on a throw-away database",
    "rehearse": "run pending revisions on a throw-away PostgreSQL and watch what each statement locks",
    "check": "check models copy, heads, seals, and that the migrations lead to the models",
    "checkpoint": "write what all revisions lead to as one file, which an empty database is loaded from",
    "sql": "print the SQL of revisions without a database",
    "wait": "wait until the database answers",
    "doctor": "print what only the live platform can tell, secrets masked; changes nothing",
}
ON_THROW_AWAY = ("revision", "rehearse", "check", "checkpoint")

# What each verb alone takes: names, help, and how it is read.
_SWITCH: dict[str, Any] = {"switch": True}
_OWN: dict[str, tuple[tuple[tuple[str, ...], str, dict[str, Any]], ...]] = {
    "upgrade": (
        (("revision",), "target; default head", {"env": "MIGRATOR_TARGET", "nargs": "?", "default": "head"}),
        (("--accept-edited",), "record the new seal of an applied revision that was edited",
         {"env": "MIGRATOR_ACCEPT_EDITED", "metavar": "REV"}),
        (("--deferred-only",), "apply only what an earlier run held back; for a nightly job",
         {"env": "MIGRATOR_DEFERRED_ONLY", **_SWITCH}),
        (("--check-drift",), "afterwards compare the database with the models; for a nightly job",
         {"env": "MIGRATOR_CHECK_DRIFT", **_SWITCH}),
        (("--expect-commit",), "refuse unless this image was built from that commit",
         {"env": "MIGRATOR_EXPECT_COMMIT", "metavar": "SHA"}),
        (("--run-id",), "a name for this run, kept in the ledger; for whoever started it",
         {"env": "MIGRATOR_RUN_ID", "metavar": "NAME"}),
    ),
    "downgrade": (
        (("revision",), "target: -1, a revision, or base", {}),
        (("--yes",), "go on although the app is in session", {"env": "MIGRATOR_YES", **_SWITCH}),
    ),
    "plan": ((("revision",), "target; default head", {"nargs": "?", "default": "head"}),),
    "history": (
        (("--limit",), "how many entries to show; default 50", {"env": "MIGRATOR_LIMIT", "type": int, "default": "50"}),
    ),
    "sql": (
        (("range",), "which revisions; default all", {"nargs": "?", "default": "head", "metavar": "FROM:TO"}),
    ),
    "revision": (
        (("-m", "--message"), "what changes, in a few words", {"env": "MIGRATOR_MESSAGE"}),
        (("--empty",), "write an empty revision to fill in", {"env": "MIGRATOR_EMPTY", **_SWITCH}),
        (("--merge",), "join several heads into one", {"env": "MIGRATOR_MERGE", **_SWITCH}),
        (("--no-rehearsal",), "do not rehearse what was written", {"env": "MIGRATOR_NO_REHEARSAL", **_SWITCH}),
    ),
}  # fmt: skip
_ELSEWHERE = {"backfill": backfill_arguments.add, "rehearse": rehearsal_arguments.add}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise Usage(message, f"see `{self.prog} --help`")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; every flag names its environment variable."""
    top = _Parser(prog="migrator", description="Ship schema changes on PostgreSQL, before the app that needs them.")
    top.add_argument("--version", action="version", version=f"migrator {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    for verb, text in VERBS.items():
        sub = verbs.add_parser(verb, help=text, description=text[0].upper() + text[1:] + ".")
        _common(sub)
        _own(verb, sub)
    return top


def _common(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--json",
        action="store_true",
        default=_switch("MIGRATOR_JSON"),
        help="print one JSON document (env: MIGRATOR_JSON)",
    )
    sub.add_argument(
        "--debug", action="store_true", default=_switch("MIGRATOR_DEBUG"), help="show tracebacks (env: MIGRATOR_DEBUG)"
    )
    for option in settings.OPTIONS:
        default = f"; default {option.default}" if option.default else ""
        text = f"{option.help} (env: {option.variable}{default})"
        if option.kind == "switch":
            sub.add_argument(option.flag, dest=option.name, action="store_const", const="yes", help=text)
        else:
            sub.add_argument(
                option.flag, dest=option.name, metavar="TIME" if option.kind == "duration" else "TEXT", help=text
            )


def _own(verb: str, sub: argparse.ArgumentParser) -> None:
    """Add what one verb alone takes."""
    for names, text, more in _OWN.get(verb, ()):
        variable = more.get("env")
        given = os.environ.get(variable) if variable else None
        told = f"{text} (env: {variable})" if variable else text
        if more.get("switch"):
            sub.add_argument(*names, action="store_true", default=settings.is_on(given or ""), help=told)
        else:
            default = given if given is not None else more.get("default")
            rest = {name: more[name] for name in ("nargs", "metavar", "type") if name in more}
            sub.add_argument(*names, default=default, help=told, **rest)
    if verb in _ELSEWHERE:
        _ELSEWHERE[verb](sub)


def _switch(variable: str) -> bool:
    return settings.is_on(os.environ.get(variable, ""))


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit code; never raises."""
    argv = sys.argv[1:] if argv is None else argv
    report = Report(as_json="--json" in argv or _switch("MIGRATOR_JSON"))
    debug = "--debug" in argv or _switch("MIGRATOR_DEBUG")

    def heeded() -> int:
        with interrupt.heeding():  # the last word too: a pipe that nobody reads takes none
            return exits.answered(report, lambda: _run(argv, report), debug=debug)

    return exits.answered(report, heeded, debug=debug)


def _run(argv: list[str], report: Report) -> int:
    arguments = parser().parse_args(argv)
    report.verb = arguments.verb
    report.as_json = arguments.json
    chosen = settings.load({option.name: getattr(arguments, option.name) for option in settings.OPTIONS})
    command = importlib.import_module(f"lockstep.verbs.{arguments.verb}")
    # What env.py and revisions print is for people: with --json, stdout holds the document and nothing else.
    prints = contextlib.redirect_stdout(sys.stderr) if report.as_json else contextlib.nullcontext()
    # A verb on somebody's database counts its own deadline, and from when it connects.
    is_ours = arguments.verb in ON_THROW_AWAY
    bound = watchdog.bounded(Deadline.after(chosen.deadline_ms)) if is_ours else contextlib.nullcontext()
    with prints, bound:
        return int(command.main(chosen, report, arguments))
