"""`migrator check`: models copy, heads, seals, and that the migrations lead to the models. For CI; changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.develop import models_copy, proving, replay
from lockstep.errors import EXIT_DONE, Refused
from lockstep.ledger import steps, tables
from lockstep.project import environment, plan
from lockstep.upgrade import connected_run, exposure, grants
from lockstep.verbs import checkpoint

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.develop.autogenerate.comparison import Comparison
    from lockstep.project.environment import Project
    from lockstep.report import Report
    from lockstep.settings import Settings


def main(settings: Settings, report: Report, _arguments: Namespace) -> int:
    """Run every check, say all that is wrong, and refuse at the end if anything is."""
    project = environment.load(settings)
    findings: list[str] = []
    if models_copy.differs(project):
        findings.append(
            f"{project.models} is not the copy of {models_copy.source(project)}; `migrator revision` refreshes it"
        )
    heads = plan.alembic_says(project.script.get_heads)
    if len(heads) > 1:
        findings.append(f"{len(heads)} heads: {', '.join(heads)}; join them with `migrator revision --merge`")
    if settings.database_url:
        findings += _database(settings, project, report)
    if len(heads) == 1 and project.models:
        findings += _drift(settings, project)
        report.line("checked    that the migrations lead to the models")
    elif len(heads) == 1:
        report.line("unchecked  that the migrations lead to the models: the project names no models file")
    if len(heads) == 1:
        findings += checkpoint.findings(settings, project, report)
    report.data["findings"] = findings
    for finding in findings:
        report.line(f"finding    {finding}")
    if findings:
        raise Refused(f"{len(findings)} checks did not hold", findings[0])
    return report.finish(
        EXIT_DONE, "done", f"done: all checks hold at {', '.join(heads) or 'base'}; nothing was changed"
    )


def _database(settings: Settings, project: Project, report: Report) -> list[str]:
    """Refuse edited revisions; return every right the app's role has beyond the rows of its tables."""
    from lockstep.verbs.plan import read  # noqa: PLC0415

    with connected_run.connected(settings, report) as run:
        made = read(run, project, "heads")
        if tables.version(run.control) and not made.ahead:
            plan.check_seals(plan.applied_revisions(project.script, made.heads), steps.entries(run.control), None)
        report.line("checked    the seals of what is applied")
        role = grants.present_role(run)
        found = grants.excess(run.control, role) if role else []
        public = exposure.find(run.control.rows, settings)
    report.line("checked    that no table is open to everybody through a Data API")
    report.line(
        f"checked    the rights of {role}" if role else "unchecked  the rights of the app's role: it is not here"
    )
    return [f"the app's role {role} {may}: {cure}" for may, cure in found] + [
        f"{item}; {exposure.refusal((item,), '').cure}" for item in public
    ]


def _drift(settings: Settings, project: Project) -> list[str]:
    """Replay all revisions on a throw-away database; compare it with what the models make, and with the contract."""
    with replay.at(settings, project) as replayed:
        compared = proving.compare(settings, project, replayed.url)
        unserved = proving.unserved(settings, project, replayed.url, compared.ours)
    return [
        *(
            f"the migrations do not lead to the models: {item}; write it with `migrator revision`"
            for item in _told(compared)
        ),
        *(f"the migrations do not serve this release: {need}" for need in unserved),
    ]


def _told(compared: Comparison) -> list[str]:
    found = [one.line("by the revisions", "by the models") for one in compared.differences]
    return found + [f"{one.key} is {one.name} in the models" for one in compared.renamed]
