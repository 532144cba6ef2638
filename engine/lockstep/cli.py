"""Command line: run the verb that argv names, and return its exit code.

The only place that parses, and the only one that turns errors into exits.
"""

from __future__ import annotations

import contextlib
import importlib
import sys

from lockstep import exits, settings
from lockstep.flags import VERBS, plain, switched
from lockstep.report import Report
from lockstep.stop import interrupt, watchdog
from lockstep.stop.deadline import Deadline

__all__ = ["ON_THROW_AWAY", "VERBS", "main", "parser"]

ON_ITS_DATABASE = ("upgrade", "plan", "status", "downgrade", "history", "backfill", "wait", "doctor")
ON_THROW_AWAY = ("revision", "rehearse", "check", "checkpoint")


def parser() -> object:
    """Return the parser of all verbs."""
    from lockstep import parsing  # noqa: PLC0415 - a plain command line does without

    return parsing.build()


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit code; never raises."""
    argv = sys.argv[1:] if argv is None else argv
    report = Report(as_json="--json" in argv or switched("MIGRATOR_JSON"))
    debug = "--debug" in argv or switched("MIGRATOR_DEBUG")

    def heeded() -> int:
        with interrupt.heeding():  # the last word too: a pipe that is full and that nobody reads would hold it for ever
            return exits.answered(report, lambda: _run(argv, report), debug=debug)

    return exits.answered(report, heeded, debug=debug)


def _run(argv: list[str], report: Report) -> int:
    arguments = plain(argv) or parser().parse_args(argv)
    report.verb = arguments.verb
    report.as_json = arguments.json
    given = {option.name: getattr(arguments, option.name) for option in settings.OPTIONS}
    chosen = settings.load(given | {"x": settings.joined(given["x"])})
    if not chosen.database_url and arguments.verb in ON_ITS_DATABASE:
        from lockstep.project import env_ask  # noqa: PLC0415 - Alembic is loaded for it

        chosen = env_ask.completed(chosen)
    command = importlib.import_module(f"lockstep.verbs.{arguments.verb}")
    # What env.py and revisions print is for people: with --json, stdout holds the document and nothing else.
    prints = contextlib.redirect_stdout(sys.stderr) if report.as_json else contextlib.nullcontext()
    # A verb on somebody's database counts its own deadline, and from when it connects.
    is_ours = arguments.verb in ON_THROW_AWAY
    bound = watchdog.bounded(Deadline.after(chosen.deadline_ms)) if is_ours else contextlib.nullcontext()
    with prints, bound:
        return int(command.main(chosen, report, arguments))
