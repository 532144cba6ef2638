"""`migrator plan [REV]`: what an upgrade would do. Takes no lock and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.errors import EXIT_DONE, Refused
from lockstep.ledger import deferrals, steps, tables
from lockstep.postgres import connect
from lockstep.project import manifest, plan, release_contract
from lockstep.upgrade import connected_run, look, verify

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.ledger.run_context import Run
    from lockstep.project.environment import Project
    from lockstep.project.plan import Plan, Step
    from lockstep.report import Report
    from lockstep.settings import Settings


def main(settings: Settings, report: Report, arguments: Namespace) -> int:
    """Show the pending revisions in order, each with its SQL."""
    known = manifest.of(settings) if arguments.revision == "head" else None
    project = None if known else load(settings)
    with connected_run.connected(settings, report) as run:
        if known and look.is_at_head(run.control, known):
            return _tell(report, plan.Plan(known.heads, ()), None, {})
        project = project or load(settings)
        made = read(run, project, arguments.revision)
        digest = release_contract.digest(project)
        if made.ahead:
            verify.ahead(run.control, made.ahead, digest)
        has_ledger = tables.version(run.control) > 0
        entries = steps.entries(run.control) if has_ledger else {}
        waiting = deferrals.current(run.control) if has_ledger else {}
        plan.check_seals(plan.applied_revisions(project.script, made.heads), entries, None)
    return _tell(report, made, project, waiting)


def _tell(report: Report, made: Plan, project: Project | None, waiting: dict[str, tuple[str, Any]]) -> int:
    at = ", ".join(made.heads) or "base"
    report.data |= {"heads": list(made.heads), "ahead": list(made.ahead), "steps": []}
    report.data["deferred"] = held_back(made, waiting)
    broken: list[str] = []
    for step in made.steps if project else ():
        from lockstep.project import early_commit, render  # noqa: PLC0415 - with nothing pending, Alembic is not needed

        rendered = render.step(project, step)
        report.data["steps"].append(
            {
                "revision": step.revision,
                "message": step.message,
                "file": step.path.name,
                "sql": rendered.sql,
                "reason": rendered.reason,
            }
        )
        report.line(f"pending    {step.label}   {step.revision}   {step.message}{why_deferred(step, waiting)}")
        if said := early_commit.of_file(step.path):
            report.line(f"    -- it {said}")
        if rendered.broken:
            broken.append(f"{step.path.name}: {rendered.reason}")
        text = rendered.sql or f"-- {rendered.reason}"
        report.sql([f"    {line}" if line else "" for line in text.splitlines()])
    if broken:
        raise Refused(f"{broken[0]}{' and more' if len(broken) > 1 else ''}", "correct the file")
    word = "pending" if made.steps else "nothing"
    return report.finish(
        EXIT_DONE, word, f"done: {len(made.steps)} pending, the database is at {at}; nothing was changed"
    )


def load(settings: Settings) -> Project:
    """Return the project, for which Alembic and every revision file are loaded."""
    from lockstep.project import environment  # noqa: PLC0415 - with nothing pending, neither is needed

    return environment.load(settings, manifest.of(settings))


def held_back(made: Plan, waiting: dict[str, tuple[str, Any]]) -> list[dict[str, Any]]:
    """Return the pending revisions that an earlier run held back, each with the reason and since when."""
    found = ((step.revision, waiting[step.revision]) for step in made.steps if step.revision in waiting)
    return [{"revision": revision, "reason": reason, "since": since} for revision, (reason, since) in found]


def why_deferred(step: Step, waiting: dict[str, tuple[str, Any]]) -> str:
    """Return what a person reads behind a pending revision that was held back; else nothing."""
    if step.revision not in waiting:
        return ""
    reason, since = waiting[step.revision]
    return f"   deferred since {since:%Y-%m-%d %H:%M:%S}: {reason}"


def read(run: Run, project: Project, target: str) -> Plan:
    """Return the plan towards a target, read without the lock."""
    from lockstep.project import environment  # noqa: PLC0415
    from lockstep.upgrade.job import current_heads  # noqa: PLC0415

    found: list[Plan] = []

    def work(context: Any, _arguments: dict[str, Any]) -> None:
        heads = current_heads(context)
        found.append(plan.make(project.script, heads, lambda: plan.upgrade_steps(project.script, heads, target)))

    engine = connect.migrating_engine(run.control.where, run.settings)
    environment.inside(project, work, connect=engine.connect, reads=True)
    return found[0]
