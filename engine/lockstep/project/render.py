"""Render: the SQL that a step will run, made without a database; or the reason why it cannot be known before."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext

from lockstep.errors import masked
from lockstep.project import offline
from lockstep.project.broken_python import is_broken

if TYPE_CHECKING:
    from lockstep.project.environment import Project
    from lockstep.project.plan import Step


@dataclass(frozen=True)
class Rendered:
    """The SQL of one step, or why it is not known."""

    sql: str | None
    reason: str | None = None
    broken: bool = False


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
            with Operations.context(context), offline.verbatim():
                planned.alembic.migration_fn()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a revision may do anything when it has no connection
            kind, said = type(error).__name__, " ".join(masked(str(error)).split())[:120]
            # Alembic hands out no connection here, so a revision that reads data fails on None.
            broken = is_broken(kind, said)
            what = "it is broken" if broken else "it reads the database, so its SQL is known only when it runs"
            return Rendered(None, f"{what} ({kind}: {said})", broken)
    return Rendered(written.getvalue().strip())
