"""Render: a step in, the SQL it will run out, made without a database; or the reason why it cannot be known before."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext

from lockstep.errors import masked

if TYPE_CHECKING:
    from lockstep.project.environment import Project
    from lockstep.project.plan import Step


@dataclass(frozen=True)
class Rendered:
    """The SQL of one step, or why it is not known."""

    sql: str | None
    reason: str | None = None


def step(project: Project, planned: Step) -> Rendered:
    """Return the SQL of a step; what its function prints is kept away from our output."""
    written = io.StringIO()
    environment = EnvironmentContext(project.config, project.script, as_sql=True, fn=lambda *_: [])
    with environment, contextlib.redirect_stdout(io.StringIO()):
        environment.configure(
            dialect_name="postgresql", literal_binds=True, dialect_opts={"paramstyle": "named"}, output_buffer=written
        )
        context = environment.get_context()
        try:
            with Operations.context(context):
                planned.alembic.migration_fn()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a revision may do anything when it has no connection
            # Alembic hands out no connection here, so a revision that reads data fails on None.
            what = "it reads the database, so its SQL is known only when it runs"
            return Rendered(None, f"{what} ({type(error).__name__}: {' '.join(masked(str(error)).split())[:120]})")
    return Rendered(written.getvalue().strip())
