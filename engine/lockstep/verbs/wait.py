"""`migrator wait`: wait until the database answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.errors import EXIT_DONE
from lockstep.upgrade import connected_run

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.report import Report
    from lockstep.settings import Settings


def main(settings: Settings, report: Report, _arguments: Namespace) -> int:
    """Return as soon as the database answers and can be migrated."""
    with connected_run.connected(settings, report) as run:
        number = run.control.server_version
        shown = run.control.where.shown
    report.data |= {"database": shown, "server_version": number}
    return report.finish(EXIT_DONE, "done", f"done: {shown} answers (PostgreSQL {number // 10000}.{number % 10000})")
