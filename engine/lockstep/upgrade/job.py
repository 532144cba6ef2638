"""Job: the stages of a run on the connection that env.py configured; `line` knows their order."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lockstep import contract
from lockstep.errors import Refused
from lockstep.ledger import deferrals, fingerprint, releases, runs, steps
from lockstep.postgres import connect, session
from lockstep.project import environment, manifest, plan, release_contract
from lockstep.project.checkpoint_file import NONE
from lockstep.report import counted, step_line
from lockstep.upgrade import backfill_steps, exposure, foresight, grants, load_as_step, verify
from lockstep.upgrade.apply import Applier
from lockstep.upgrade.guard import Deferred, Guard, record_deferral
from lockstep.upgrade.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.ledger.run_context import Run
    from lockstep.ledger.steps import Applied
    from lockstep.project.environment import Project
    from lockstep.project.plan import Plan
    from lockstep.upgrade.outcome import Outcome


_NAMED = """
SELECT format('%%I.%%I', relnamespace::regnamespace::text, relname) FROM pg_catalog.pg_class
 WHERE oid = to_regclass(%(name)s)"""


@dataclass
class Job:
    """One run on the connection that env.py configured; `outcome` is kept up to date."""

    run: Run
    project: Project
    context: Any
    arguments: dict[str, Any]
    verb: str
    outcome: Outcome
    request: Request = field(default_factory=Request)
    serves: bool = False  # seen by this run, and not in the ledger yet

    def plan(self, request: Request) -> None:
        """Plan from where the database is; refuse what was edited."""
        self.request, outcome, script = request, self.outcome, self.project.script
        heads = current_heads(self.context)
        outcome.heads_before = outcome.heads_after = heads
        made = plan.make(script, heads, lambda: self._chosen(heads))
        if made.ahead:
            outcome.ahead = made.ahead
            return
        self._keep_seals(made, request.accept_edited)
        outcome.pending = list(made.steps)
        if request.deferred_only:
            held_back = deferrals.current(self.run.control)
            # Only from the first on: what is held back must not overtake what was never tried.
            outcome.pending = list(itertools.takewhile(lambda step: step.revision in held_back, made.steps))

    def _chosen(self, heads: tuple[str, ...]) -> list[Any]:
        request, script = self.request, self.project.script
        if request.choose:
            return request.choose(heads)
        read = plan.downgrade_steps if request.verb == "downgrade" else plan.upgrade_steps
        return read(script, heads, request.target)

    def apply(self) -> None:
        """Apply each step, up to the first that has to be deferred."""
        outcome, request = self.outcome, self.request
        if not outcome.pending:
            return
        if self.verb == "upgrade" and not request.deferred_only:
            self.needed  # noqa: B018 - models that cannot be loaded are refused before anything runs
        session.require_same_database(self.context.connection, self.run.control)
        guard, backfills = self._guard(), backfill_steps.Backfills(self.run, self.project)
        checks = [guard.check, backfills.record, *exposure.watch(self.run.control, self.run.settings)]
        if self._may_load and not outcome.heads_before:
            self._load(checks)
        self._apply_steps(guard, backfills, checks)

    @property
    def _may_load(self) -> bool:
        """Tell whether the run may load a checkpoint: one of ours that goes up; the stock command knows none."""
        wanted = self.verb == "upgrade" and self.run.settings.checkpoint != NONE
        return wanted and not self.request.deferred_only and self.request.choose is None

    def _load(self, checks: load_as_step.Checks) -> None:
        """Load what a checkpoint has of the pending revisions into an empty database, in one transaction."""
        outcome = self.outcome
        outcome.loaded = load_as_step.into_empty(self.run, self.project, self.context, outcome.pending, checks)
        if outcome.loaded:
            outcome.pending = [step for step in outcome.pending if step.revision not in outcome.loaded]
            outcome.heads_after = current_heads(self.context)

    def _apply_steps(self, guard: Guard, backfills: backfill_steps.Backfills, checks: load_as_step.Checks) -> None:
        outcome = self.outcome
        applier = Applier(self.context, self.run, self.arguments, guard)
        try:
            applier.checks += checks
            for step in tuple(outcome.pending):
                backfills.before(step)
                applied = applier.step(step)
                outcome.applied.append(applied)
                outcome.unknown = guard.unknown
                outcome.pending.remove(step)
                outcome.heads_after = applier.heads
                _tell(self.run, applied)
                backfills.after(step)
        except Deferred as deferred:
            if self.verb == "downgrade":
                raise _not_taken_back(deferred) from None
            outcome.deferred = deferred
            record_deferral(self.run, deferred, outcome.pending)
            _tell_deferred(self.run, outcome)
        finally:
            applier.close()

    def _guard(self) -> Guard:
        settings = self.run.settings
        if settings.ignore_live_releases:
            runs.ignore_releases(self.run.control, self.run.id, settings.ignore_live_releases)
        # A downgrade is a developer's, who takes back what the last upgrade did: an app that reports is protected, one
        # that was never seen is not presumed. Nor is a release that was recorded lately and has not reported: nobody
        # serves it, and whoever starts it later asks the gate first, which says what this run took away.
        presumed = self.verb == "upgrade"
        guard = Guard(
            self.run,
            self._app_role(),
            unknown=presumed and not settings.no_unknown_release,
            expected=presumed,
            strict=settings.strict,
            ignored=bool(settings.ignore_live_releases),
            put_back=functools.partial(grants.put_back, self.run),
        )
        guard.look(self.context.connection)
        return guard

    def _app_role(self) -> str | None:
        return grants.present_role(self.run)

    def _keep_seals(self, made: Plan, accept_edited: str | None) -> None:
        """Refuse edited revisions; adopt applied ones that the ledger has no seal of."""
        script, control = self.project.script, self.run.control
        applied = plan.applied_revisions(script, made.heads)
        entries = steps.entries(control)
        if self.verb == "upgrade":
            plan.refuse_half_taken_back(applied, entries)
        accepted = plan.alembic_says(lambda: script.get_revision(accept_edited).revision) if accept_edited else None
        missing = plan.check_seals(applied, entries, accepted)
        steps.adopt(control, self.run.id, missing)
        if missing and not entries:
            was = "was" if len(missing) == 1 else "were"
            told = f"{counted(len(missing), 'revision')} that {was} applied before there was a ledger"
            self.run.tell(f"adopted    {told}")
        self.outcome.adopted = len(missing)

    def keep_rights(self) -> None:
        """Grant what the app's role lacks; refuse a table that everybody can read."""
        if self.outcome.ahead:
            return
        grants.keep(self.run)
        if self.verb == "upgrade":
            exposure.require_none(self.run.control, self.run.settings)

    def verify(self) -> None:
        """Raise Refused if the schema does not serve this release, as far as this run is to bring it there."""
        digest, control = release_contract.digest(self.project), self.run.control
        if self.outcome.ahead:
            verify.ahead(control, self.outcome.ahead, digest)
            releases.expect(control, digest, self.run.settings.commit)
        if not self._is_judged:
            return
        backfill_steps.Backfills(self.run, self.project).require_finished()
        if digest and not releases.expect(control, digest, self.run.settings.commit):
            verify.serves(self.context.connection, self.needed, self._app_role(), self.outcome.deferred)
            self.serves = True

    def record(self) -> None:
        """Write down which release the schema serves, and how the database is left."""
        control, settings, outcome = self.run.control, self.run.settings, self.outcome
        if outcome.ahead:
            return
        if self.serves:
            digest = release_contract.digest(self.project)
            releases.record(self.context.connection, digest, settings.commit, self.needed)
            self.context.connection.commit()
        outcome.failed_backfills = backfill_steps.Backfills(self.run, self.project).tell_failed()
        releases.tidy(control)
        if self._is_judged:
            deferrals.forget(control, but=[step.revision for step in outcome.pending])
        seals = plan.seals(self.project.script, outcome.heads_after)
        fingerprint.note(control, settings, outcome.heads_after, manifest.digest_of(seals))
        if not self.project.manifested:
            outcome.version_table = self._version_table()

    @property
    def _is_judged(self) -> bool:
        """Tell whether the run says something of this release: an upgrade to an earlier target does not."""
        at_head = set(self.outcome.heads_after) == set(self.project.script.get_heads())
        wanted = self.verb == "upgrade" and not self.request.deferred_only and not self.outcome.ahead
        return wanted and (at_head or self.outcome.deferred is not None)

    def _version_table(self) -> str | None:
        """Return Alembic's version table as SQL names it from anywhere."""
        connection = self.context.connection
        name = self.context.dialect.identifier_preparer.format_table(self.context._version)  # noqa: SLF001 - Alembic's own
        found = connection.exec_driver_sql(_NAMED, {"name": name}).scalar()
        connection.rollback()
        return found

    @functools.cached_property
    def needed(self) -> contract.Contract:
        """What this release needs of the schema; nothing where no models are named. Raises Usage or Refused."""
        manifested = self.project.manifested
        if manifested and manifested.contract:
            return contract.Contract.from_json(manifested.contract)
        return release_contract.needed(self.project)


def within_env(
    run: Run, project: Project, request: Request, outcome: Outcome, stages: Callable[[Job, Request], None]
) -> None:
    """Do the stages where env.py runs the migrations; what it connects to in a replay is the throw-away database."""

    def work(context: Any, arguments: dict[str, Any]) -> None:
        stages(Job(run, project, context, arguments, request.verb, outcome), request)

    engine = connect.migrating_engine(run.control.where, run.settings)
    throw_away = run.control.where.dsn if request.replay else ""
    environment.inside(project, work, connect=engine.connect, redirect=throw_away)


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


def _tell(run: Run, applied: Applied) -> None:
    word = "applied" if applied.direction == "up" else "reverted"
    note = f"   {applied.attempts} tries" if applied.attempts > 1 else ""
    note += "   resumed" if applied.resumed else ""
    run.tell(step_line(word, applied.label, applied.duration_ms, applied.waited_ms, note))


def _tell_deferred(run: Run, outcome: Outcome) -> None:
    deferred = outcome.deferred
    if deferred is None:
        return
    for step in outcome.pending:
        run.tell(f"deferred   {step.label}")
        if step is deferred.step:
            for text in deferred.kept:
                run.tell(f"           stays: {text}")
    if deferred.backfill[1]:
        run.tell(f"           {deferred.backfill[1]}")
    for objection in deferred.objections:
        run.tell(f"           {objection.release}")
        for need in objection.needs:
            run.tell(f"           {need}")
            if need.rule in foresight.RULES:
                run.tell(f"           Cure: {need.cure}")
