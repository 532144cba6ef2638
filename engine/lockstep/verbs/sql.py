"""`migrator sql [FROM:TO]`: the SQL of revisions, through env.py's offline mode; no database is asked."""

from __future__ import annotations

import contextlib
import io
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command

from lockstep.backfill import declare  # noqa: F401 - registers op.backfill
from lockstep.errors import EXIT_DONE, MigratorError, StepFailed, masked
from lockstep.project import environment, offline, plan
from lockstep.project.broken_python import is_broken

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.project.environment import Project
    from lockstep.report import Report
    from lockstep.settings import Settings


def main(settings: Settings, report: Report, arguments: Namespace) -> int:
    """Print what `alembic upgrade FROM:TO --sql` prints; with --json as one field."""
    project = environment.load(settings)
    written = io.StringIO()
    project.config.output_buffer = written
    if not settings.database_url:  # the stock offline env.py wants some URL to know the dialect by
        project.config.set_main_option("sqlalchemy.url", "postgresql+psycopg2://")
    try:
        with contextlib.redirect_stdout(io.StringIO()), offline.verbatim():
            plan.alembic_says(
                lambda: environment.command(
                    project, lambda: command.upgrade(project.config, arguments.range, sql=True), connect=None
                )
            )
    except MigratorError:
        raise
    except (Exception, SystemExit) as error:
        raise _unrendered(project, error) from error
    text = written.getvalue()
    report.data["sql"] = text
    if report.as_json:
        return report.finish(EXIT_DONE, "done", "done: rendered; nothing was changed")
    report.line(text.rstrip())
    return EXIT_DONE


def _unrendered(project: Project, error: BaseException) -> StepFailed:
    """Return the error for a revision that has no SQL: it reads what only a database has, or it is broken."""
    kind, said = type(error).__name__, " ".join(masked(str(error)).split())
    versions = [Path(place).resolve() for place in project.script._version_locations]  # noqa: SLF001 - all of them
    lines = [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if any(place in Path(frame.filename).resolve().parents for place in versions)
    ]
    where = f"{lines[-1]}: " if lines else ""
    if is_broken(kind, said):
        return StepFailed(f"{where}the revision is broken ({kind}: {said})", "correct it")
    return StepFailed(
        f"{where}the revision reads the database, and `sql` has none ({kind}: {said})",
        "its SQL is known only when it runs: `migrator upgrade` runs it, `migrator rehearse` shows what it does",
    )
