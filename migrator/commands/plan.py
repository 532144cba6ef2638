"""`migrator plan [REV]`: what an upgrade would do. Takes no lock and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migrator import connect, environment, ledger, plan, release, render, run, verify
from migrator.errors import EXIT_DONE

if TYPE_CHECKING:
    from argparse import Namespace

    from migrator.environment import Project
    from migrator.means import Means
    from migrator.plan import Plan
    from migrator.report import Report
    from migrator.settings import Settings


def main(settings: Settings, report: Report, arguments: Namespace) -> int:
    """Show the pending revisions in order, each with its SQL."""
    project = environment.load(settings)
    with run.connected(settings, report) as means:
        made = look(means, project, arguments.revision)
        digest = release.of_project(project)
        if made.ahead:
            verify.ahead(means.control, made.ahead, digest)
        known = ledger.entries(means.control) if ledger.version(means.control) else {}
        plan.check_seals(plan.applied_revisions(project.script, made.heads), known, None)
    at = ", ".join(made.heads) or "base"
    report.data |= {"heads": list(made.heads), "ahead": list(made.ahead), "steps": []}
    for step in made.steps:
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
        report.line(f"pending    {step.label}   {step.revision}   {step.message}")
        for line in (rendered.sql or f"-- {rendered.reason}").splitlines():
            report.line(f"    {line}" if line else "")
    word = "pending" if made.steps else "nothing"
    return report.finish(
        EXIT_DONE, word, f"done: {len(made.steps)} pending, the database is at {at}; nothing was changed"
    )


def look(means: Means, project: Project, target: str) -> Plan:
    """Return the plan towards a target, read without the lock."""
    found: list[Plan] = []

    def work(context: Any, _arguments: dict[str, Any]) -> None:
        heads = run.current_heads(context)
        found.append(plan.make(project.script, heads, lambda: plan.upgrade_steps(project.script, heads, target)))

    engine = connect.migrating_engine(means.control.where, means.settings)
    environment.inside(project, work, connect=engine.connect, reads=True)
    return found[0]
