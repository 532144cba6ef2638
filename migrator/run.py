"""Run: the one place that knows the order: connect -> lock -> plan -> apply -> verify -> record -> report."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from migrator import connect, contract, dry_run, environment, grants, ledger, lock, plan, release, releases, verify
from migrator.apply import Applied, Applier
from migrator.clock import Deadline
from migrator.errors import MigratorError, Refused
from migrator.guard import Deferred, Guard, Objection, record_deferral
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

    Choose = Callable[[ScriptDirectory, tuple[str, ...]], list[Any]]


@dataclass
class Outcome:
    """What a run did so far; kept up to date, so that an error can say what was applied and what was not."""

    heads_before: tuple[str, ...] = ()
    heads_after: tuple[str, ...] = ()
    applied: list[Applied] = field(default_factory=list)
    pending: list[Step] = field(default_factory=list)
    adopted: int = 0
    ahead: tuple[str, ...] = ()
    deferred: Deferred | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as the JSON documents show it."""
        return {
            "heads_before": list(self.heads_before), "heads_after": list(self.heads_after),
            "applied": [dataclasses.asdict(item) for item in self.applied],
            "not_applied": [step.revision for step in self.pending], "adopted": self.adopted, "ahead": list(self.ahead),
            "deferred": [step.revision for step in self.pending] if self.deferred else [],
            "waits_for": [_objection(item) for item in self.deferred.objections] if self.deferred else [],
        }  # fmt: skip


def _objection(item: Objection) -> dict[str, Any]:
    release = item.release
    return {
        "release": release.digest, "commit": release.commit, "instances": release.instances, "since": release.since,
        "last_seen": release.last_seen, "needs": [dataclasses.asdict(need) for need in item.needs],
    }  # fmt: skip


@contextlib.contextmanager
def connected(settings: Settings, report: Report) -> Iterator[Means]:
    """Connect within the run's deadline, signals listened to; yields the means of the run."""
    deadline = Deadline.after(settings.deadline_ms)
    with listening(Interrupt()) as interrupt:
        control = connect.control(settings, deadline, interrupt, report.line)
        try:
            with connect.errors_of_server(control.where):
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
        run = ledger.start_run(control, verb, road, means.settings.commit, means.settings.run_id)
        try:
            yield dataclasses.replace(means, run=run)
        except BaseException as caught:
            error = means.interrupt.instead_of(caught)
            if not isinstance(error, MigratorError):
                _finish(means, run, "failed", outcome, MigratorError(f"{type(error).__name__}: {error}"))
                raise
            _finish(means, run, error.word, outcome, error)
            if error is caught:
                raise
            raise error from caught
        _finish(means, run, "ahead" if outcome.ahead else "done", outcome)


def _finish(means: Means, run: int, word: str, outcome: Outcome, error: MigratorError | None = None) -> None:
    revision = outcome.pending[0].revision if error and outcome.pending else None
    with contextlib.suppress(MigratorError):  # a lost connection: the next run marks this one as interrupted
        ledger.finish_run(
            means.control, run, word, heads=(outcome.heads_before, outcome.heads_after), error=error, revision=revision
        )


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
            job.apply(choose, accept_edited=accept_edited, deferred_only=deferred_only)
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


@dataclass
class Job:
    """One run on the connection that env.py configured; `outcome` is kept up to date."""

    means: Means
    project: Project
    context: Any
    arguments: dict[str, Any]
    verb: str
    outcome: Outcome

    def apply(self, choose: Choose, *, accept_edited: str | None = None, deferred_only: bool = False) -> None:
        """Plan from where the database is and apply each step, up to the first that has to be deferred."""
        outcome, script = self.outcome, self.project.script
        heads = current_heads(self.context)
        outcome.heads_before = outcome.heads_after = heads
        made = plan.make(script, heads, lambda: choose(script, heads))
        if made.ahead:
            outcome.ahead = made.ahead
            return
        self._keep_seals(made, accept_edited)
        outcome.pending = list(made.steps)
        if deferred_only:
            held_back = ledger.deferred(self.means.control)
            outcome.pending = [step for step in made.steps if step.revision in held_back]
        if outcome.pending:
            self._apply_steps()

    def _apply_steps(self) -> None:
        outcome = self.outcome
        applier = Applier(self.context, self.means, self.arguments)
        try:
            guard = self._guard()
            applier.checks.append(guard.check)
            for step in tuple(outcome.pending):
                self._foresee(guard, step)
                applied = applier.step(step)
                outcome.applied.append(applied)
                outcome.pending.remove(step)
                outcome.heads_after = current_heads(self.context)
                _tell(self.means, applied)
        except Deferred as deferred:
            if self.verb == "downgrade":
                raise
            self._refuse_what_stays(deferred)
            outcome.deferred = deferred
            record_deferral(self.means, deferred, outcome.pending)
            _tell_deferred(self.means, outcome)
        finally:
            applier.close()

    def _foresee(self, guard: Guard, step: Step) -> None:
        """Check a step that could not be rolled back before it runs, where that can be done."""
        try:
            with environment.aside():
                if step.direction != "up" or not dry_run.is_needed(self.project, step):
                    return
                foreseen = dry_run.foresee(self.means, step)
            guard.foresee(self.context.connection, step, foreseen)
            self.means.tell(f"checked    {step.label}   on a copy of the schema: it cannot be rolled back")
        except dry_run.NotForeseen as reason:
            self.means.tell(
                f"unchecked  {step.label}   it cannot be rolled back, and is checked after it ran: {reason}"
            )

    def _refuse_what_stays(self, deferred: Deferred) -> None:
        """Refuse, rather than defer, a step whose statements outside a transaction have been done already."""
        entry = ledger.entry(self.means.control, deferred.step.revision)
        if entry and entry.state == "started":
            raise Refused(
                f"{deferred.step.label} ran outside a transaction, stays, and breaks {deferred.objections[0].release}: "
                f"{deferred.objections[0].needs[0]}",
                "retire that release, or put back what it needs; then run again",
            ) from None

    def _guard(self) -> Guard:
        settings = self.means.settings
        if settings.ignore_live_releases:
            ledger.ignore_releases(self.means.control, self.means.run, settings.ignore_live_releases)
        # A downgrade is a developer's: an app that reports is protected, one that was never seen is not presumed.
        unknown = not settings.no_unknown_release and self.verb == "upgrade"
        guard = Guard(
            self.means,
            self._app_role(),
            unknown=unknown,
            strict=settings.strict,
            ignored=bool(settings.ignore_live_releases),
        )
        guard.look(self.context.connection)
        return guard

    def _app_role(self) -> str | None:
        return grants.present_role(self.means)

    def _keep_seals(self, made: Plan, accept_edited: str | None) -> None:
        """Refuse edited revisions; adopt applied ones that the ledger has no seal of."""
        script, control = self.project.script, self.means.control
        applied = plan.applied_revisions(script, made.heads)
        entries = ledger.entries(control)
        accepted = plan.alembic_says(lambda: script.get_revision(accept_edited).revision) if accept_edited else None
        missing = plan.check_seals(applied, entries, accepted)
        ledger.adopt(control, self.means.run, missing)
        if missing and not entries:
            self.means.tell(f"adopted    {len(missing)} revisions that were applied before there was a ledger")
        self.outcome.adopted = len(missing)

    def finish(self, *, deferred_only: bool = False) -> None:
        """Grant, verify and record: does the schema serve this release? Raise Refused if it does not."""
        digest = release.of_project(self.project)
        control = self.means.control
        if self.outcome.ahead:
            verify.ahead(control, self.outcome.ahead, digest)
            return
        grants.keep(self.means)
        releases.tidy(control)
        if self.verb != "upgrade" or deferred_only or digest is None or releases.is_recorded(control, digest):
            return
        at_head = set(self.outcome.heads_after) == set(self.project.script.get_heads())
        if not at_head and not self.outcome.deferred:
            return  # an upgrade to an earlier target says nothing of this release
        connection = self.context.connection
        needed = contract.derive(contract.load_models(self.project.models))
        verify.serves(connection, needed, self._app_role(), self.outcome.deferred)
        releases.record(connection, digest, self.means.settings.commit, needed)
        connection.commit()


def current_heads(context: Any) -> tuple[str, ...]:
    """Return the database's heads as Alembic's version table has them, with no transaction left open."""
    heads = tuple(sorted(context.get_current_heads()))
    context.connection.rollback()
    return heads


def _tell(means: Means, applied: Applied) -> None:
    word = "applied" if applied.direction == "up" else "reverted"
    note = f"   {applied.attempts} tries" if applied.attempts > 1 else ""
    note += "   resumed" if applied.resumed else ""
    means.tell(step_line(word, applied.label, applied.duration_ms, applied.waited_ms, note))


def _tell_deferred(means: Means, outcome: Outcome) -> None:
    deferred = outcome.deferred
    if deferred is None:
        return
    for step in outcome.pending:
        means.tell(f"deferred   {step.label}")
    for objection in deferred.objections:
        means.tell(f"           {objection.release}")
        for need in objection.needs:
            means.tell(f"           {need}")


def explain(error: MigratorError, outcome: Outcome) -> None:
    """Add to an error what was applied and what was not."""
    if outcome.applied or outcome.pending:
        kept = ", ".join(item.label for item in outcome.applied) or "none"
        rest = ", ".join(step.label for step in outcome.pending) or "none"
        error.details = (*error.details, f"applied and kept: {kept}", f"not applied: {rest}")
        error.message += f"; {len(outcome.applied)} applied and kept, {len(outcome.pending)} not applied"
