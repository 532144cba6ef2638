"""`migrator history`: what was applied, when, by which commit, how long it took and waited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.errors import EXIT_DONE
from lockstep.ledger import history, tables
from lockstep.upgrade import connected_run

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.report import Report
    from lockstep.settings import Settings

MOST = 1_000_000
_HEADINGS = ("", "started", "revision", "took", "commit", "message")
_WORDS = {"up": "applied", "down": "reverted", "adopt": "adopted", "stamp": "stamped"}


def main(settings: Settings, report: Report, arguments: Namespace) -> int:
    """Show the ledger's steps, the newest first."""
    with connected_run.connected(settings, report) as run:
        limit = min(max(1, arguments.limit), MOST)
        steps = history.steps(run.control, limit) if tables.version(run.control) else []
    report.data["steps"] = steps
    cells = [_cells(item) for item in steps]
    report.table(_HEADINGS, cells, [_line(*each) for each in cells])
    text = (
        f"done: {len(steps)} entries" if steps else "done: the ledger is empty; nothing was applied by the migrator yet"
    )
    return report.finish(EXIT_DONE, "done", text)


def _cells(item: dict[str, Any]) -> tuple[str, ...]:
    """Return what is shown of one step: a cell for each heading."""
    word = _WORDS[item["direction"]] if item["state"] == "finished" else "started"
    if item["direction"] == "adopt" and item["message"]:  # what was applied before the ledger has none
        word = "loaded"
    is_timed = item["duration_ms"] is not None
    took = f"{item['duration_ms']} ms, waited {item['waited_ms']} ms" if is_timed else "not timed"
    commit = (item["commit"] or "unknown")[:12]
    return word, f"{item['started']:%Y-%m-%d %H:%M:%S}", item["revision"], took, commit, item["message"] or ""


def _line(word: str, started: str, revision: str, took: str, commit: str, message: str) -> str:
    return f"{word:<10} {started}   {revision:<14} {took:<26} commit {commit:<12}   {message}".rstrip()
