"""Line: the order of a run, told once.

    settings -> connect -> look -> lock -> plan -> apply (step by step) -> verify -> record -> report

`upgrade` enters at the top, and leaves after the look where there is nothing to do. Up to there the driver and the
standard library are enough; each later stage imports what it needs. `migrate` enters at the lock, for a downgrade or
a replay on a throw-away database. The stock `alembic` command enters at `stages` (`stock_alembic`). A `job` does the
stages on env.py's connection; a `load_checkpoint` does them where a checkpoint is all there is to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.errors import MigratorError
from lockstep.postgres import connect
from lockstep.project import manifest
from lockstep.upgrade import connected_run, look
from lockstep.upgrade.outcome import Outcome, explain

if TYPE_CHECKING:
    from lockstep.ledger.run_context import Run
    from lockstep.project.environment import Project
    from lockstep.project.manifest import Manifest
    from lockstep.report import Report
    from lockstep.settings import Settings
    from lockstep.upgrade.job import Job
    from lockstep.upgrade.load_checkpoint import LoadJob, Whole
    from lockstep.upgrade.request import Request


def upgrade(settings: Settings, report: Report, request: Request) -> Outcome:
    """Bring a database to what the project's files lead to, from the first stage on; return what was done."""
    known = manifest.of(settings)
    project = None if known else _loaded(settings)  # files that cannot be read are told before anything else
    with connected_run.reached(settings, report) as run:
        if known and request.is_plain and look.is_at_rest(run, known):
            outcome = Outcome(known.heads)
            report.data |= outcome.as_dict()
            return outcome
        from lockstep.upgrade import app_schema, load_checkpoint  # noqa: PLC0415 - from here on each stage brings its own

        report.prepare()
        connect.require_fit(run.control, settings)
        app_schema.ensure(run)
        checkpoint = load_checkpoint.instead_of_all(run, known) if known and request.is_plain else None
        project = project or (None if checkpoint else _loaded(settings, known))
        run.interrupt.check()  # nothing is made by a run that was stopped before its lock
        outcome = migrate(run, project, request, report, checkpoint)
    if project and outcome.version_table:
        from lockstep.project import manifest_writer  # noqa: PLC0415

        manifest_writer.leave(project, outcome.version_table)
    return outcome


def migrate(
    run: Run,
    project: Project | None,
    request: Request,
    report: Report,
    checkpoint: Whole | None = None,
) -> Outcome:
    """Take the lock and do the stages: on the connection that env.py configures, or by a load of the checkpoint."""
    from lockstep.upgrade import run_lock  # noqa: PLC0415

    outcome = Outcome()
    with run_lock.locked(run, request.verb, "migrator", outcome) as own:
        try:
            if checkpoint and checkpoint.still_fits(own):
                stages(checkpoint.job(own, outcome), request)
            else:
                from lockstep.upgrade import job  # noqa: PLC0415

                job.within_env(own, project or _loaded(own.settings), request, outcome, stages)
        except MigratorError as error:
            explain(error, outcome)
            raise
        finally:
            report.data |= outcome.as_dict()
    return outcome


def stages(job: Job | LoadJob, request: Request) -> None:
    """Do what comes after the lock, in its order; a replay ends with the last step, the models may be ahead of it."""
    job.plan(request)
    job.apply()
    if not request.replay:
        job.keep_rights()
        job.verify()
        job.record()


def _loaded(settings: Settings, known: Manifest | None = None) -> Project:
    from lockstep.project import environment  # noqa: PLC0415

    return environment.load(settings, known)
