"""Run: the one place that knows the order: settings -> connect -> lock -> plan -> apply -> verify -> record -> report."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from migrator import connect, environment, grants, ledger, lock, plan, release, verify
from migrator.apply import Applied, Applier
from migrator.clock import Deadline
from migrator.errors import Interrupted, MigratorError
from migrator.interrupt import Interrupt, listening
from migrator.means import Means
from migrator.report import step_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alembic.script import ScriptDirectory

    from migrator.environment import Project
    from migrator.plan import Plan, Step
    from migrator.report import Report
    from migrator.settings import Settings


@dataclass
class Outcome:
    """What a run did so far; kept up to date, so that an error can say what was applied and what was not."""

    heads_before: tuple[str, ...] = ()
    heads_after: tuple[str, ...] = ()
    applied: list[Applied] = field(default_factory=list)
    pending: list[Step] = field(default_factory=list)
    adopted: int = 0
    ahead: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as the JSON documents show it."""
        return {
            "heads_before": list(self.heads_before), "heads_after": list(self.heads_after),
            "applied": [dataclasses.asdict(item) for item in self.applied],
            "not_applied": [step.revision for step in self.pending], "adopted": self.adopted, "ahead": list(self.ahead),
        }  # fmt: skip


@contextlib.contextmanager
def connected(settings: Settings, report: Report) -> Iterator[Means]:
    """Connect within the run's deadline, signals listened to; yields the means of the run."""
    deadline = Deadline.after(settings.deadline_ms)
    with listening(Interrupt()) as interrupt:
        control = connect.control(settings, deadline, interrupt, report.line)
        try:
            yield Means(control, settings, deadline, interrupt, report.line)
        finally:
            control.close()


@contextlib.contextmanager
def locked(means: Means, verb: str, road: str, outcome: Outcome) -> Iterator[Means]:
    """Hold the run lock and keep the run's row in the ledger while the block runs."""
    control = means.control
    wait = means.deadline.sooner(means.settings.lock_wait_ms)
    with lock.held(control, wait, means.interrupt, means.tell):
        ledger.prepare(control)
        run = ledger.start_run(control, verb, road, means.settings.commit)
        try:
            yield dataclasses.replace(means, run=run)
        except MigratorError as error:
            _finish(means, run, error.word, outcome, error)
            raise
        except BaseException as error:
            _finish(means, run, "failed", outcome, MigratorError(f"{type(error).__name__}: {error}"))
            raise
        _finish(means, run, "ahead" if outcome.ahead else "done", outcome)


def _finish(means: Means, run: int, word: str, outcome: Outcome, error: MigratorError | None = None) -> None:
    revision = outcome.pending[0].revision if error and outcome.pending else None
    with contextlib.suppress(MigratorError):  # a lost connection: the next run marks this one as interrupted
        ledger.finish_run(
            means.control, run, word, heads=(outcome.heads_before, outcome.heads_after), error=error, revision=revision
        )


def migrate(
    means: Means, project: Project, verb: str, choose: Callable[[ScriptDirectory, tuple[str, ...]], list[Any]],
    *, report: Report, accept_edited: str | None = None,
) -> Outcome:
    """Plan and apply on a database, under the lock; `choose(script, heads)` asks Alembic for the steps."""
    outcome = Outcome()
    engine = connect.migrating_engine(means.control.where, means.settings)
    with locked(means, verb, "migrator", outcome) as own:

        def work(context: Any, arguments: dict[str, Any]) -> None:
            apply_plan(own, project, context, arguments, choose, outcome, accept_edited=accept_edited)

        try:
            environment.inside(project, work, connect=engine.connect)
            finish(own, project, verb, outcome)
        except MigratorError as error:
            explain(error, outcome)
            raise
        finally:
            report.data |= outcome.as_dict()
    return outcome


def apply_plan(
    means: Means, project: Project, context: Any, arguments: dict[str, Any],
    choose: Callable[[ScriptDirectory, tuple[str, ...]], list[Any]], outcome: Outcome, *, accept_edited: str | None = None,
) -> None:
    """Plan from where the database is and apply each step; `outcome` is kept up to date."""
    heads = current_heads(context)
    outcome.heads_before = outcome.heads_after = heads
    made = plan.make(project.script, heads, lambda: choose(project.script, heads))
    if made.ahead:
        outcome.ahead = made.ahead
        return
    _keep_seals(means, project, made, outcome, accept_edited)
    outcome.pending = list(made.steps)
    if not made.steps:
        return
    applier = Applier(context, means, arguments)
    try:
        for step in made.steps:
            applied = applier.step(step)
            outcome.applied.append(applied)
            outcome.pending.remove(step)
            outcome.heads_after = current_heads(context)
            _tell(means, applied)
    finally:
        applier.close()


def current_heads(context: Any) -> tuple[str, ...]:
    """Return the database's heads as Alembic's version table has them, with no transaction left open."""
    heads = tuple(sorted(context.get_current_heads()))
    context.connection.rollback()
    return heads


def _keep_seals(means: Means, project: Project, made: Plan, outcome: Outcome, accept_edited: str | None) -> None:
    """Refuse edited revisions; adopt applied ones that the ledger has no seal of."""
    applied = plan.applied_revisions(project.script, made.heads)
    entries = ledger.entries(means.control)
    if accept_edited:
        accept_edited = project.script.get_revision(accept_edited).revision
    missing = plan.check_seals(applied, entries, accept_edited)
    for revision in applied:
        if revision.revision == accept_edited:
            missing[accept_edited] = plan.seal.of_file(plan.Path(revision.path))
    ledger.adopt(means.control, means.run, missing)
    if missing and not entries:
        means.tell(f"adopted    {len(missing)} revisions that were applied before there was a ledger")
    outcome.adopted = len(missing)


def _tell(means: Means, applied: Applied) -> None:
    word = "applied" if applied.direction == "up" else "reverted"
    note = f"   {applied.attempts} tries" if applied.attempts > 1 else ""
    note += "   resumed" if applied.resumed else ""
    means.tell(step_line(word, applied.label, applied.duration_ms, applied.waited_ms, note))


def finish(means: Means, project: Project, verb: str, outcome: Outcome) -> None:
    """Verify and record: grants, and whether the schema serves this release. Raise Refused if it does not."""
    digest = release.of_project(project)
    if outcome.ahead:
        verify.ahead(means.control, outcome.ahead, digest)
        return
    grants.keep(means)
    at_head = set(outcome.heads_after) == set(project.script.get_heads())
    if verb == "upgrade" and at_head and digest and not ledger.is_recorded(means.control, digest):
        ledger.record_release(means.control, digest, means.settings.commit)


def explain(error: MigratorError, outcome: Outcome) -> None:
    """Add to an error what was applied and what was not."""
    if outcome.applied or outcome.pending:
        kept = ", ".join(item.label for item in outcome.applied) or "none"
        rest = ", ".join(step.label for step in outcome.pending) or "none"
        error.details = (*error.details, f"applied and kept: {kept}", f"not applied: {rest}")
        error.message += f"; {len(outcome.applied)} applied and kept, {len(outcome.pending)} not applied"


__all__ = ["Interrupted", "Outcome", "apply_plan", "connected", "current_heads", "explain", "finish", "locked", "migrate"]
