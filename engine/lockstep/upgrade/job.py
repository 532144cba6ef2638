"""Job: what one run does on the connection that env.py configured: plan -> apply -> verify -> record."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep import contract, ledger
from lockstep.errors import Refused
from lockstep.ledger import Applied, fingerprint, releases
from lockstep.postgres import session
from lockstep.project import environment, manifest, plan, release
from lockstep.report import counted, step_line
from lockstep.upgrade import backfill_steps, dry_run, exposure, grants, load_within_run, verify
from lockstep.upgrade.apply import Applier
from lockstep.upgrade.guard import Deferred, Guard, record_deferral

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.script import ScriptDirectory

    from lockstep.ledger.run_context import Means
    from lockstep.project.environment import Project
    from lockstep.project.plan import Plan, Step
    from lockstep.upgrade.outcome import Outcome

    Choose = Callable[[ScriptDirectory, tuple[str, ...]], list[Any]]


@dataclass
class Job:
    """One run on the connection that env.py configured; `outcome` is kept up to date."""

    means: Means
    project: Project
    context: Any
    arguments: dict[str, Any]
    verb: str
    outcome: Outcome

    def apply(
        self,
        choose: Choose,
        *,
        accept_edited: str | None = None,
        deferred_only: bool = False,
        from_checkpoint: bool = False,
    ) -> None:
        """Plan from where the database is and apply each step, up to the first that has to be deferred."""
        outcome, script = self.outcome, self.project.script
        dry_run.drop_left_behind(self.means)
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
            # Only from the first on: what is held back must not overtake what was never tried.
            outcome.pending = list(itertools.takewhile(lambda step: step.revision in held_back, made.steps))
        if outcome.pending:
            if self.verb == "upgrade" and not deferred_only:
                self.needed  # noqa: B018 - models that cannot be loaded are refused before anything runs
            session.require_same_database(self.context.connection, self.means.control)
            guard, backfills = self._guard(), backfill_steps.Backfills(self.means, self.project)
            checks = [guard.check, backfills.record, *exposure.watch(self.means.control, self.means.settings)]
            if from_checkpoint and not heads and not deferred_only:
                self._load(checks)
            self._apply_steps(guard, backfills, checks)

    def _load(self, checks: load_within_run.Checks) -> None:
        """Take from a checkpoint, in one transaction, what an empty database can have from it."""
        outcome = self.outcome
        outcome.loaded = load_within_run.into_empty(self.means, self.project, self.context, outcome.pending, checks)
        if outcome.loaded:
            outcome.pending = [step for step in outcome.pending if step.revision not in outcome.loaded]
            outcome.heads_after = current_heads(self.context)

    def _apply_steps(self, guard: Guard, backfills: backfill_steps.Backfills, checks: load_within_run.Checks) -> None:
        outcome = self.outcome
        applier = Applier(self.context, self.means, self.arguments)
        try:
            applier.checks += checks
            for step in tuple(outcome.pending):
                backfills.before(step)
                self._foresee(guard, step)
                applied = applier.step(step)
                outcome.applied.append(applied)
                outcome.pending.remove(step)
                outcome.heads_after = applier.heads
                _tell(self.means, applied)
                backfills.after(step)
        except Deferred as deferred:
            if self.verb == "downgrade":
                raise _not_taken_back(deferred) from None
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
        if entry and entry.state == "started" and deferred.objections:
            digests = [objection.release.digest for objection in deferred.objections if objection.release.recorded]
            # Its rollback took the mark along, and the gate must not let them in.
            releases.mark_broken(self.context.connection, digests, deferred.step.revision)
            self.context.connection.commit()
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
        if self.verb == "upgrade":
            plan.refuse_half_taken_back(applied, entries)
        accepted = plan.alembic_says(lambda: script.get_revision(accept_edited).revision) if accept_edited else None
        missing = plan.check_seals(applied, entries, accepted)
        ledger.adopt(control, self.means.run, missing)
        if missing and not entries:
            was = "was" if len(missing) == 1 else "were"
            told = f"{counted(len(missing), 'revision')} that {was} applied before there was a ledger"
            self.means.tell(f"adopted    {told}")
        self.outcome.adopted = len(missing)

    def finish(self, *, deferred_only: bool = False) -> None:
        """Grant, verify and record: does the schema serve this release? Raise Refused if it does not."""
        digest = release.of_project(self.project)
        control = self.means.control
        if self.outcome.ahead:
            verify.ahead(control, self.outcome.ahead, digest)
            releases.expect(control, digest, self.means.settings.commit)
            return
        grants.keep(self.means)
        if self.verb == "upgrade":
            exposure.require_none(control, self.means.settings)
        releases.tidy(control)
        if self.means.settings.is_own_project:  # the only one that has a manifest to compare with
            seals = plan.seals(self.project.script, self.outcome.heads_after)
            fingerprint.note(control, self.means.settings, self.outcome.heads_after, manifest.digest_of(seals))
        at_head = set(self.outcome.heads_after) == set(self.project.script.get_heads())
        if self.verb != "upgrade" or deferred_only or not (at_head or self.outcome.deferred):
            return  # an upgrade to an earlier target says nothing of this release
        ledger.forget_deferred(control, but=[step.revision for step in self.outcome.pending])
        backfill_steps.Backfills(self.means, self.project).require_finished()
        if digest is None or releases.expect(control, digest, self.means.settings.commit):
            return
        connection = self.context.connection
        verify.serves(connection, self.needed, self._app_role(), self.outcome.deferred)
        releases.record(connection, digest, self.means.settings.commit, self.needed)
        connection.commit()

    @functools.cached_property
    def needed(self) -> contract.Contract:
        """What this release needs of the schema; nothing where no models are named. Raises Usage or Refused."""
        models, manifested = self.project.models, self.project.manifested
        if manifested and manifested.contract:
            return contract.Contract.from_json(manifested.contract)
        return contract.derive(contract.load_models(models)) if models else contract.Contract(())


def _not_taken_back(deferred: Deferred) -> Refused:
    first = deferred.objections[0]
    return Refused(
        f"taking {deferred.step.label} back would break {first.release}: {first.needs[0]}",
        "stop that release first; --ignore-live-releases REASON does it all the same",
    )


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
    if deferred.backfill[1]:
        means.tell(f"           {deferred.backfill[1]}")
    for objection in deferred.objections:
        means.tell(f"           {objection.release}")
        for need in objection.needs:
            means.tell(f"           {need}")
