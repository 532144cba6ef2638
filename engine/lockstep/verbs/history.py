"""`migrator history`: what was applied, when, by which commit, how long it took and waited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.errors import EXIT_DONE
from lockstep.ledger import history, tables
from lockstep.upgrade import connected_run

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.report import Report
    from lockstep.settings import Settings

MOST = 1_000_000
_WORDS = {"up": "applied", "down": "reverted", "adopt": "adopted", "stamp": "stamped"}


def main(settings: Settings, report: Report, arguments: Namespace) -> int:
    """Show the ledger's steps, the newest first."""
    with connected_run.connected(settings, report) as run:
        limit = min(max(1, arguments.limit), MOST)
        steps = history.steps(run.control, limit) if tables.version(run.control) else []
    report.data["steps"] = steps
    for item in steps:
        word = _WORDS[item["direction"]] if item["state"] == "finished" else "started"
        if item["direction"] == "adopt" and item["message"]:  # what was applied before the ledger has none
            word = "loaded"
        took = (
            f"{item['duration_ms']} ms, waited {item['waited_ms']} ms"
            if item["duration_ms"] is not None
            else "not timed"
        )
        report.line(
            f"{word:<10} {item['started']:%Y-%m-%d %H:%M:%S}   {item['revision']:<14} {took:<26} "
            f"commit {(item['commit'] or 'unknown')[:12]:<12}   {item['message'] or ''}".rstrip()
        )
    text = (
        f"done: {len(steps)} entries" if steps else "done: the ledger is empty; nothing was applied by the migrator yet"
    )
    return report.finish(EXIT_DONE, "done", text)
