"""`migrator revision -m TEXT`: models edited in, revision files out, written against a throw-away database."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command

from lockstep.develop import models_copy
from lockstep.develop.sandbox import throwaway
from lockstep.errors import EXIT_DONE, Refused, Usage
from lockstep.postgres import connect
from lockstep.postgres.address import address
from lockstep.project import environment, manifest_writer, plan
from lockstep.report import Report, counted
from lockstep.stop import interrupt
from lockstep.upgrade import holding
from lockstep.upgrade.line import migrate
from lockstep.upgrade.request import Request

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.project.environment import Project
    from lockstep.settings import Settings

LONGEST_MESSAGE = 200
REHEARSAL_MS = 30_000  # it is an extra: the files are written already


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
        paths = _written(project, settings, message, url, autogenerate=not arguments.empty)
        _show(report, project, paths)
        errors = 0
        if paths and not arguments.empty and not arguments.no_rehearsal:
            errors = _rehearse(settings, report, heads[0] if heads else "base", url)
    return _tell(report, paths, errors)


def _merge(project: Project, report: Report, message: str) -> int:
    heads = project.script.get_heads()
    if len(heads) < 2:  # noqa: PLR2004
        return report.finish(EXIT_DONE, "nothing", f"done: one head ({', '.join(heads)}), nothing to join")
    script = plan.alembic_says(lambda: command.merge(project.config, "heads", message or f"join {' and '.join(heads)}"))
    _show(report, project, [Path(script.path)])
    return _tell(report, [Path(script.path)], 0)


def _written(project: Project, settings: Settings, message: str, url: str, *, autogenerate: bool) -> list[Path]:
    """Bring a throw-away database to head, autogenerate against it, and return the files written, in order."""
    environment.point(project, url)
    own = settings._replace(database_url=url, app_role="", app_password="", checkpoint="none")
    quiet = Report(quiet=True)
    with holding.connected(own, quiet) as means:
        migrate(means, project, Request(replay=True), quiet)
    interrupt.heed()
    engine = connect.migrating_engine(address(url), own)
    # What rewrites to safe steps leaves an empty revision out by itself.
    hook = None if settings.safe_autogenerate else _drop_empty
    made = plan.alembic_says(
        lambda: environment.command(
            project,
            lambda: command.revision(
                project.config, message, autogenerate=autogenerate, process_revision_directives=hook
            ),
            connect=engine.connect,
            redirect=url,
            compared=autogenerate.beside if settings.safe_autogenerate else None,
        )
    )
    scripts = made if isinstance(made, list) else [made]
    paths = [Path(script.path) for script in scripts if script is not None]
    _format(paths)
    return paths


def _drop_empty(context: Any, _revision: Any, directives: list[Any]) -> None:
    compared = context.opts["revision_context"].command_args.get("autogenerate")
    if compared and len(directives) == 1 and directives[0].upgrade_ops.is_empty():
        directives[:] = []


def _format(paths: list[Path]) -> None:
    """Format what was written, where the formatter is installed (a development dependency)."""
    if paths and importlib.util.find_spec("ruff"):
        subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", *map(str, paths)], check=False)


def _show(report: Report, project: Project, paths: list[Path]) -> None:
    from lockstep.develop import autogenerate  # noqa: PLC0415

    if paths:
        manifest_writer.leave(project)
    review = autogenerate.review(project.config) if paths else ()
    report.data |= {"files": [str(path) for path in paths], "review": list(review)}
    for path in paths:
        report.line(f"wrote      {_relative(path)}")
    for line in review:
        report.line(f"review     {line}")


def _rehearse(settings: Settings, report: Report, after: str, url: str) -> int:
    """Rehearse what was written, beside the database it was written against; return how many errors were found."""
    from lockstep.develop.rehearsal import rehearse  # noqa: PLC0415 - for developers; what is deployed does without
    from lockstep.develop.rehearsal.formats import text  # noqa: PLC0415
    from lockstep.develop.rehearsal.options import Options  # noqa: PLC0415 - the same

    bounded = settings._replace(deadline_ms=REHEARSAL_MS)
    try:
        rehearsal = rehearse.run(bounded, Options(start=after, rows=1000, server=url, opinion=False), lambda _: None)
    except Exception as error:  # noqa: BLE001 - an extra never fails what is done: the files are there
        report.line(f"rehearsal  not possible: {' '.join(str(error).split())}")
        return 0
    for line in text.lines(rehearsal, statements=False):
        report.line(line)
    report.line(
        f"rehearsal  {counted(len(rehearsal.errors), 'error')}, {counted(len(rehearsal.warnings), 'warning')}; "
        f"it took {rehearsal.took_s:.1f} s"
    )
    return len(rehearsal.errors)


def _tell(report: Report, paths: list[Path], errors: int) -> int:
    if not paths:
        return report.finish(
            EXIT_DONE, "nothing", "done: the migrations already lead to the models; nothing was written"
        )
    found = f"; the rehearsal found {counted(errors, 'error')} in them" if errors else ""
    return report.finish(
        EXIT_DONE,
        "done",
        f"done: {len(paths)} written{found}; read, then commit models and revisions together",
    )


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
