"""`migrator check`: models copy, heads, seals, and that the migrations lead to the models. For CI; changes nothing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from migrator import environment, exposure, grants, ledger, models_copy, plan, road, run, shadow
from migrator.commands import checkpoint
from migrator.errors import EXIT_DONE, Refused
from migrator.report import Report

if TYPE_CHECKING:
    from argparse import Namespace

    from migrator.environment import Project
    from migrator.settings import Settings


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
    from migrator.commands.plan import look  # noqa: PLC0415

    with run.connected(settings, report) as means:
        made = look(means, project, "heads")
        if ledger.version(means.control) and not made.ahead:
            plan.check_seals(plan.applied_revisions(project.script, made.heads), ledger.entries(means.control), None)
        report.line("checked    the seals of what is applied")
        role = grants.present_role(means)
        found = grants.excess(means.control, role) if role else []
        public = exposure.find(means.control.rows, settings)
    report.line("checked    that no table is open to everybody through a Data API")
    report.line(
        f"checked    the rights of {role}" if role else "unchecked  the rights of the app's role: it is not here"
    )
    return [f"the app's role {role} {may}: {cure}" for may, cure in found] + [
        f"{item}; {exposure.refusal((item,), '').cure}" for item in public
    ]


def _drift(settings: Settings, project: Project) -> list[str]:
    """Replay all revisions on a throw-away database and return what autogenerate would still write."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415

    found: list[str] = []

    def work(context: Any, _arguments: dict[str, Any]) -> None:
        found.extend(
            f"the migrations do not lead to the models: {_shown(item)}; write it with `migrator revision`"
            for item in compare_metadata(context, context.opts["target_metadata"])
        )

    with shadow.database(replays=project) as url:
        environment.point(project, url)
        own = dataclasses.replace(settings, database_url=url, app_role="", app_password="", checkpoint="none")
        quiet = Report(quiet=True)
        with run.connected(own, quiet) as means:
            run.migrate(
                means,
                project,
                "upgrade",
                lambda script, now: plan.upgrade_steps(script, now, "head"),
                report=quiet,
                replay=True,
            )
            engine = run.connect.migrating_engine(means.control.where, own)
            project.config.attributes[road.COMPARE] = True
            environment.inside(project, work, connect=engine.connect, reads=True)
    return found


def _shown(item: Any) -> str:
    """Return one difference of Alembic's in a few words."""
    first = item[0] if isinstance(item, list) else item
    names = [str(getattr(part, "name", part)) for part in first[1:] if part is not None and not isinstance(part, dict)]
    return f"{first[0]} {' '.join(names)}"[:200]
