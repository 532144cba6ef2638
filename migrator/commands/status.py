"""`migrator status`: where the database is, what is pending, and the last runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migrator import holding, ledger, release, releases, standing
from migrator.backfill import progress, store
from migrator.commands.plan import held_back, load, look, why_deferred
from migrator.errors import EXIT_DONE

if TYPE_CHECKING:
    from argparse import Namespace

    from migrator.report import Report
    from migrator.settings import Settings

RUNS = 5


def main(settings: Settings, report: Report, _arguments: Namespace) -> int:
    """Show the state of the database as the ledger and the revision files have it."""
    known = standing.known(settings)
    project = None if known else load(settings)
    with holding.connected(settings, report) as means:
        made = standing.at_head(means.control, known)
        if made is None:
            project = project or load(settings)
            made = look(means, project, "heads")
        has_ledger = ledger.version(means.control) > 0
        runs = ledger.last_runs(means.control, RUNS) if has_ledger else []
        digest = release.of_project(project) if project else known and known.models
        served = bool(has_ledger and digest and releases.is_recorded(means.control, digest))
        waiting = ledger.deferred(means.control) if has_ledger else {}
        live = ledger.live_instances(means.control, settings.retention_ms)
        backfills = store.every(means.control)
        seen = releases.read_by(means.control, settings.retention_ms) if has_ledger else ()
    at = ", ".join(made.heads) or "base"
    report.data |= {
        "database": means.control.where.shown, "heads": list(made.heads), "ahead": list(made.ahead),
        "pending": [step.revision for step in made.steps], "ledger": has_ledger, "release": digest,
        "served": served, "live_instances": live, "deferred": held_back(made, waiting),
        "backfills": _backfills(backfills),
        "releases": [_release(item) for item in seen], "runs": runs,
    }  # fmt: skip
    report.line(f"database   {means.control.where.shown}")
    report.line(f"at         {at}{' (ahead of the files here)' if made.ahead else ''}")
    for step in made.steps:
        report.line(f"pending    {step.label}   {step.revision}{why_deferred(step, waiting)}")
    for item in backfills:
        if item.unfinished:
            report.line(progress.line(item, item.rate))
    report.line(
        f"release    {digest or 'no models file is named in alembic.ini'}{', served' if served else ', not recorded'}"
    )
    report.line(f"live       {live} app instances reported lately")
    for item in seen:
        if item.live:
            report.line(f"           {item}{f', broken by {item.broken_by}' if item.broken_by else ''}")
    for item in runs:
        report.line(
            f"run        {item['started']:%Y-%m-%d %H:%M:%S}   {item['verb']:<9} {item['outcome']:<11} "
            f"{item['message'] or ''}".rstrip()
        )
    return report.finish(
        EXIT_DONE, "done", f"done: {len(made.steps)} pending, the database is at {at}; nothing was changed"
    )


def _backfills(found: list[store.Backfill]) -> list[dict[str, Any]]:
    if not found:
        return []
    from migrator.commands import backfill  # noqa: PLC0415 - it brings what works on them along

    return [backfill.as_dict(item) for item in found]


def _release(item: releases.Release) -> dict[str, Any]:
    return {
        "release": item.digest, "commit": item.commit, "recorded": item.recorded, "broken_by": item.broken_by,
        "live": item.live, "instances": item.instances, "since": item.since, "last_seen": item.last_seen,
    }  # fmt: skip
