"""Command line: argv in, one verb run, its exit code out.

The only place that parses, and the only one that turns errors into exits.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys

from migrator import __version__, answer, settings
from migrator.backfill import arguments as backfill_arguments
from migrator.errors import Usage
from migrator.rehearsal import arguments as rehearsal_arguments
from migrator.report import Report

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
    if verb == "upgrade":
        sub.add_argument(
            "revision",
            nargs="?",
            default=os.environ.get("MIGRATOR_TARGET", "head"),
            help="target (env: MIGRATOR_TARGET; default head)",
        )
        sub.add_argument(
            "--accept-edited",
            metavar="REV",
            default=os.environ.get("MIGRATOR_ACCEPT_EDITED"),
            help="record the new seal of an applied revision that was edited (env: MIGRATOR_ACCEPT_EDITED)",
        )
        sub.add_argument(
            "--deferred-only",
            action="store_true",
            default=_switch("MIGRATOR_DEFERRED_ONLY"),
            help="apply only what an earlier run held back; for a nightly job (env: MIGRATOR_DEFERRED_ONLY)",
        )
        sub.add_argument(
            "--check-drift",
            action="store_true",
            default=_switch("MIGRATOR_CHECK_DRIFT"),
            help="afterwards compare the database with the models; for a nightly job (env: MIGRATOR_CHECK_DRIFT)",
        )
        sub.add_argument(
            "--expect-commit",
            metavar="SHA",
            default=os.environ.get("MIGRATOR_EXPECT_COMMIT"),
            help="refuse unless this image was built from that commit (env: MIGRATOR_EXPECT_COMMIT)",
        )
        sub.add_argument(
            "--run-id",
            metavar="NAME",
            default=os.environ.get("MIGRATOR_RUN_ID"),
            help="a name for this run, kept in the ledger; for whoever started it (env: MIGRATOR_RUN_ID)",
        )
    elif verb == "downgrade":
        sub.add_argument("revision", help="target: -1, a revision, or base")
        sub.add_argument(
            "--yes",
            action="store_true",
            default=_switch("MIGRATOR_YES"),
            help="go on although the app is in session (env: MIGRATOR_YES)",
        )
    elif verb == "plan":
        sub.add_argument("revision", nargs="?", default="head", help="target; default head")
    elif verb == "backfill":
        backfill_arguments.add(sub)
    elif verb == "history":
        sub.add_argument(
            "--limit",
            type=int,
            default=os.environ.get("MIGRATOR_LIMIT", "50"),
            help="how many entries to show; default 50 (env: MIGRATOR_LIMIT)",
        )
    elif verb == "rehearse":
        rehearsal_arguments.add(sub)
    elif verb == "sql":
        sub.add_argument("range", nargs="?", default="head", metavar="FROM:TO", help="which revisions; default all")
    elif verb == "revision":
        sub.add_argument(
            "-m",
            "--message",
            default=os.environ.get("MIGRATOR_MESSAGE"),
            help="what changes, in a few words (env: MIGRATOR_MESSAGE)",
        )
        sub.add_argument(
            "--empty",
            action="store_true",
            default=_switch("MIGRATOR_EMPTY"),
            help="write an empty revision to fill in (env: MIGRATOR_EMPTY)",
        )
        sub.add_argument(
            "--merge",
            action="store_true",
            default=_switch("MIGRATOR_MERGE"),
            help="join several heads into one (env: MIGRATOR_MERGE)",
        )
        sub.add_argument(
            "--no-rehearsal",
            action="store_true",
            default=_switch("MIGRATOR_NO_REHEARSAL"),
            help="do not rehearse what was written (env: MIGRATOR_NO_REHEARSAL)",
        )


def _switch(variable: str) -> bool:
    return settings.is_on(os.environ.get(variable, ""))


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit code; never raises."""
    argv = sys.argv[1:] if argv is None else argv
    report = Report(as_json="--json" in argv or _switch("MIGRATOR_JSON"))
    debug = "--debug" in argv or _switch("MIGRATOR_DEBUG")
    return answer.answered(report, lambda: _run(argv, report), debug=debug)


def _run(argv: list[str], report: Report) -> int:
    arguments = parser().parse_args(argv)
    report.verb = arguments.verb
    report.as_json = arguments.json
    chosen = settings.load({option.name: getattr(arguments, option.name) for option in settings.OPTIONS})
    command = importlib.import_module(f"migrator.commands.{arguments.verb}")
    # What env.py and revisions print is for people: with --json, stdout holds the document and nothing else.
    with contextlib.redirect_stdout(sys.stderr) if report.as_json else contextlib.nullcontext():
        return int(command.main(chosen, report, arguments))
