"""Run: the one place that knows the order: connect -> lock -> job (plan -> apply -> verify -> record) -> report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.errors import MigratorError
from lockstep.postgres import connect
from lockstep.project import environment
from lockstep.project.checkpoint_file import NONE
from lockstep.upgrade import app_schema
from lockstep.upgrade.holding import connected, locked
from lockstep.upgrade.job import Job
from lockstep.upgrade.outcome import Outcome, explain

if TYPE_CHECKING:
    from lockstep.ledger.run_context import Means
    from lockstep.project.environment import Project
    from lockstep.report import Report
    from lockstep.settings import Settings
    from lockstep.upgrade.job import Choose

__all__ = ["connected", "locked", "migrate", "settle"]


def settle(settings: Settings, report: Report) -> None:
    """Have the app's schema be where the settings say, before any connection is made that works there."""
    if settings.app_schema:
        with connected(settings, report) as means:
            if not app_schema.is_settled(means.control, settings.app_schema):
                app_schema.settle(means)


def migrate(
    means: Means,
    project: Project,
    verb: str,
    choose: Choose,
    *,
    report: Report,
    accept_edited: str | None = None,
    deferred_only: bool = False,
    replay: bool = False,
) -> Outcome:
    """Plan and apply on a database, under the lock; `choose(script, heads)` asks Alembic for the steps.

    A `replay` on a throw-away database ends with the last step: the models may be ahead of the revisions there.
    """
    outcome = Outcome()
    engine = connect.migrating_engine(means.control.where, means.settings)
    with locked(means, verb, "migrator", outcome) as own:

        def work(context: Any, arguments: dict[str, Any]) -> None:
            job = Job(own, project, context, arguments, verb, outcome)
            job.apply(
                choose,
                accept_edited=accept_edited,
                deferred_only=deferred_only,
                from_checkpoint=verb == "upgrade" and means.settings.checkpoint != NONE,
            )
            if not replay:
                job.finish(deferred_only=deferred_only)

        try:
            environment.inside(project, work, connect=engine.connect)
        except MigratorError as error:
            explain(error, outcome)
            raise
        finally:
            report.data |= outcome.as_dict()
    return outcome
