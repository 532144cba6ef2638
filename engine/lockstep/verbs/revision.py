"""`migrator revision -m TEXT`: write revision files for what changed in the models, by a throw-away database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command

from lockstep.develop import autogenerate, drafting, models_copy, proving
from lockstep.develop.sandbox import throwaway
from lockstep.errors import EXIT_DONE, Refused, Usage
from lockstep.project import environment, manifest_writer, plan
from lockstep.report import Report, counted
from lockstep.stop import interrupt
from lockstep.upgrade import connected_run
from lockstep.upgrade.line import migrate
from lockstep.upgrade.request import Request

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.project.environment import Project
    from lockstep.settings import Settings

LONGEST_MESSAGE = 200
REHEARSAL_MS = 30_000  # it is an extra: what is written has been tried already


def main(settings: Settings, report: Report, arguments: Namespace) -> int:
    """Refresh the models copy and write what changed as revisions; write nothing when nothing did."""
    message = " ".join((arguments.message or "").split())
    if not message and not arguments.merge:
        raise Usage("a revision needs a message", 'say what changes: -m "add phone number"')
    if len(message) > LONGEST_MESSAGE:
        raise Usage(f"the message is longer than {LONGEST_MESSAGE} characters", "say it in a few words")
    project = environment.load(settings)
    refreshed = models_copy.refresh(project)
    if arguments.merge:
        return _merge(project, report, message)
    heads = project.script.get_heads()
    if len(heads) > 1:
        raise Refused(f"there are {len(heads)} heads: {', '.join(heads)}", "join them first: migrator revision --merge")
    if refreshed:
        report.line(f"refreshed  {refreshed}")
    with throwaway.database(replays=project) as url:
        standing = _files(project)
        try:
            paths = _written(project, settings, message, url, heads, autogenerate=not arguments.empty)
            if paths and not arguments.empty and not arguments.no_rehearsal:
                _rehearse(settings, report, heads[0] if heads else "base", url)
        except BaseException:  # all or nothing
            proving.removed(sorted(_files(project) - standing))
            raise
        _show(report, project, paths)
    return _tell(report, paths)


def _files(project: Project) -> set[Path]:
    places = project.script._version_locations  # noqa: SLF001 - Alembic names only the first one publicly
    return {path for place in places for path in Path(place).rglob("*.py")}


def _merge(project: Project, report: Report, message: str) -> int:
    heads = project.script.get_heads()
    if len(heads) < 2:  # noqa: PLR2004
        return report.finish(EXIT_DONE, "nothing", f"done: one head ({', '.join(heads)}), nothing to join")
    script = plan.alembic_says(lambda: command.merge(project.config, "heads", message or f"join {' and '.join(heads)}"))
    _show(report, project, [Path(script.path)])
    return _tell(report, [Path(script.path)])


def _written(
    project: Project, settings: Settings, message: str, url: str, heads: tuple[str, ...], *, autogenerate: bool
) -> list[Path]:
    """Bring a throw-away database to head, autogenerate against it, and return the files written, in order."""
    if not autogenerate:
        return drafting.drafted(project, message)
    environment.point(project, url)
    own = settings._replace(database_url=url, app_role="", app_password="", checkpoint="none")
    quiet = Report(quiet=True)
    with connected_run.connected(own, quiet) as run:
        migrate(run, project, Request(replay=True), quiet)
    interrupt.heed()
    return drafting.written(project, own, message, url, heads)


def _show(report: Report, project: Project, paths: list[Path]) -> None:
    if paths:
        manifest_writer.leave(project)
    review = autogenerate.review(project.config) if paths else ()
    report.data |= {"files": [str(path) for path in paths], "review": list(review)}
    for path in paths:
        report.line(f"wrote      {_relative(path)}")
    for line in review:
        report.line(f"review     {line}")


def _rehearse(settings: Settings, report: Report, after: str, url: str) -> None:
    """Rehearse what was written, beside the database it was written against; raise Refused over an error."""
    from lockstep.develop.rehearsal import rehearse  # noqa: PLC0415 - for developers; what is deployed does without
    from lockstep.develop.rehearsal.formats import text  # noqa: PLC0415
    from lockstep.develop.rehearsal.options import Options  # noqa: PLC0415 - the same

    bounded = settings._replace(deadline_ms=REHEARSAL_MS)
    try:
        rehearsal = rehearse.run(bounded, Options(start=after, rows=1000, server=url, opinion=False), lambda _: None)
    except Exception as error:  # noqa: BLE001 - an extra: that the files run, lead to the models and back is known
        report.line(f"rehearsal  not possible: {' '.join(str(error).split())}")
        return
    for line in text.lines(rehearsal, statements=False):
        report.line(line)
    report.line(
        f"rehearsal  {counted(len(rehearsal.errors), 'error')}, {counted(len(rehearsal.warnings), 'warning')}; "
        f"it took {rehearsal.took_s:.1f} s"
    )
    # That it runs is known: what did not end in the time that an extra gets is no reason against it.
    if found := [one for one in rehearsal.errors if one.rule != "never-ends"]:
        raise Refused(
            f"nothing was written: the rehearsal of it found {counted(len(found), 'error')}",
            "change the models, or write it by hand with `migrator revision --empty`",
        )


def _tell(report: Report, paths: list[Path]) -> int:
    if not paths:
        return report.finish(
            EXIT_DONE, "nothing", "done: the migrations already lead to the models; nothing was written"
        )
    return report.finish(
        EXIT_DONE,
        "done",
        f"done: {len(paths)} written; read, then commit models and revisions together",
    )


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
