"""`migrator status`: where the database is, what is pending, and the last runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep.backfill import progress, store
from lockstep.errors import EXIT_DONE
from lockstep.ledger import deferrals, history, releases, tables
from lockstep.project import manifest, plan, release_contract
from lockstep.upgrade import connected_run, look
from lockstep.verbs.plan import held_back, load, read, why_deferred

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.ledger.run_context import Run
    from lockstep.project.environment import Project
    from lockstep.project.manifest import Manifest
    from lockstep.project.plan import Plan
    from lockstep.report import Report
    from lockstep.settings import Settings

RUNS = 5


@dataclass(frozen=True)
class _Seen:
    """What the ledger and the revision files say."""

    where: str
    made: Plan
    has_ledger: bool
    digest: str | None
    served: bool
    waiting: dict[str, tuple[str, Any]]
    live: int
    backfills: list[store.Backfill]
    releases: tuple[releases.Release, ...]
    runs: list[dict[str, Any]]

    @property
    def at(self) -> str:
        return ", ".join(self.made.heads) or "base"


def main(settings: Settings, report: Report, _arguments: Namespace) -> int:
    """Show the state of the database as the ledger and the revision files have it."""
    known = manifest.of(settings)
    project = None if known else load(settings)
    with connected_run.connected(settings, report) as run:
        seen = _look(run, known, project)
    report.data |= _data(seen)
    _show(seen, report)
    return report.finish(
        EXIT_DONE, "done", f"done: {len(seen.made.steps)} pending, the database is at {seen.at}; nothing was changed"
    )


def _look(run: Run, known: Manifest | None, project: Project | None) -> _Seen:
    if known and look.is_at_head(run.control, known):
        made = plan.Plan(known.heads, ())
    else:
        project = project or load(run.settings)
        made = read(run, project, "heads")
    has_ledger = tables.version(run.control) > 0
    digest = release_contract.digest(project) if project else known and known.models
    return _Seen(
        where=run.control.where.shown,
        made=made,
        has_ledger=has_ledger,
        digest=digest,
        served=bool(has_ledger and digest and releases.is_recorded(run.control, digest)),
        waiting=deferrals.current(run.control) if has_ledger else {},
        live=releases.live_instances(run.control, run.settings.retention_ms),
        backfills=store.every(run.control),
        releases=releases.read_by(run.control, run.settings.retention_ms) if has_ledger else (),
        runs=history.runs(run.control, RUNS) if has_ledger else [],
    )


def _data(seen: _Seen) -> dict[str, Any]:
    return {
        "database": seen.where, "heads": list(seen.made.heads), "ahead": list(seen.made.ahead),
        "pending": [step.revision for step in seen.made.steps], "ledger": seen.has_ledger, "release": seen.digest,
        "served": seen.served, "live_instances": seen.live, "deferred": held_back(seen.made, seen.waiting),
        "backfills": _backfills(seen.backfills), "releases": [_release(item) for item in seen.releases],
        "runs": seen.runs,
    }  # fmt: skip


def _show(seen: _Seen, report: Report) -> None:
    report.line(f"database   {seen.where}")
    report.line(f"at         {seen.at}{' (ahead of the files here)' if seen.made.ahead else ''}")
    for step in seen.made.steps:
        report.line(f"pending    {step.label}   {step.revision}{why_deferred(step, seen.waiting)}")
    for item in seen.backfills:
        if item.unfinished:
            report.line(progress.line(item, item.rate))
    named = seen.digest or "no models file is named in alembic.ini"
    report.line(f"release    {named}{', served' if seen.served else ', not recorded'}")
    report.line(f"live       {seen.live} app instances reported lately")
    for one in seen.releases:
        if one.live:
            report.line(f"           {one}{f', broken by {one.broken_by}' if one.broken_by else ''}")
    for run in seen.runs:
        words = f"{run['verb']:<9} {run['outcome']:<11} {run['message'] or ''}"
        report.line(f"run        {run['started']:%Y-%m-%d %H:%M:%S}   {words}".rstrip())


def _backfills(found: list[store.Backfill]) -> list[dict[str, Any]]:
    if not found:
        return []
    from lockstep.verbs import backfill  # noqa: PLC0415 - it brings what works on them along

    return [backfill.as_dict(item) for item in found]


def _release(item: releases.Release) -> dict[str, Any]:
    return {
        "release": item.digest, "commit": item.commit, "recorded": item.recorded, "broken_by": item.broken_by,
        "live": item.live, "instances": item.instances, "since": item.since, "last_seen": item.last_seen,
    }  # fmt: skip
