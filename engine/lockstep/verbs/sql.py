"""`migrator sql [FROM:TO]`: the SQL of revisions, through env.py's offline mode; no database is asked."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from alembic import command

from lockstep.backfill import declare  # noqa: F401 - registers op.backfill
from lockstep.errors import EXIT_DONE, MigratorError, StepFailed
from lockstep.project import environment, offline, plan

if TYPE_CHECKING:
    from argparse import Namespace

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
        raise StepFailed(
            "a revision cannot be rendered without a database "
            f"({type(error).__name__}: {' '.join(str(error).split())})",
            "`migrator plan` shows which; a revision that reads data has no SQL before it runs",
        ) from error
    text = written.getvalue()
    report.data["sql"] = text
    if report.as_json:
        return report.finish(EXIT_DONE, "done", "done: rendered; nothing was changed")
    report.line(text.rstrip())
    return EXIT_DONE
