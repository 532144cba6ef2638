"""Guard: check a step that was just run against the live releases; roll it back and defer it where one would break.

It is asked in each transaction of a step, before that commits: the catalog as it would be is compared with the contract
of every release. Where a live release would lose something, the step is deferred for as long as that release reports.
A release that nobody runs any more is marked as broken instead. What cannot be tried is judged before it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockstep import contract
from lockstep.contract import ERROR, Contract, catalog, footprint, tenants
from lockstep.errors import Refused
from lockstep.ledger import deferrals, releases, steps
from lockstep.postgres import prepared
from lockstep.upgrade import foresight, unknowns

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from lockstep.contract import Need
    from lockstep.contract.catalog import Catalog, Known
    from lockstep.contract.footprint.judge import Found
    from lockstep.ledger.releases import Release
    from lockstep.ledger.run_context import Run
    from lockstep.project.plan import Step
    from lockstep.upgrade.foresight import Foreseen


_TAKEN_RIGHTS = {"right-missing", "read-only"}  # errors where they are new, warnings where they were found so


# Rights that a step took from the app's role, without those that this run grants again.
_RIGHTS = {
    "right-lost", "sequence", "sequence-closed", "sequence-not-open", "schema-closed", "behind-closed",
    "statement-refused", "default-fails", "default-broken",
}  # fmt: skip


@dataclass(frozen=True)
class Objection:
    """One live release, and what it needs that a step would take away."""

    release: Release
    needs: tuple[Need, ...]


_FOUND = """
UPDATE migrator.run SET found = coalesce(
  (SELECT r.found FROM migrator.run r
    WHERE r.found IS NOT NULL AND r.id < %(run)s
      AND r.id > (SELECT coalesce(max(d.id), 0) FROM migrator.run d WHERE d.outcome = 'done')
    ORDER BY r.id LIMIT 1), %(now)s)
 WHERE id = %(run)s RETURNING found::text"""


class Deferred(Refused):
    """A step would break a live release, or needs a backfill finished: it and all after it are held back."""

    def __init__(self, step: Step, objections: tuple[Objection, ...], *, backfill: tuple[str, str] = ("", "")) -> None:
        """Say which live release needs what; or which backfill, by name and in words, is not finished."""
        if objections:
            first = objections[0]
            what, until = f"{first.release}: {first.needs[0]}", "that release is gone"
        else:
            what, until = backfill[1], "it is finished (`migrator backfill`)"
        super().__init__(f"{step.label} waits for {what}", f"it is applied by a later run, once {until}")
        self.step, self.objections, self.backfill = step, objections, backfill


class Guard:
    """The contracts of one run."""

    def __init__(self, run: Run, app_role: str | None, *, unknown: bool, strict: bool, ignored: bool,
        expected: bool = True, put_back: Callable[[Connection], int] | None = None,
    ) -> None:  # fmt: skip
        """`unknown`: an app that never reported is live; `strict`: warnings defer too; `ignored`: nothing defers.

        `expected`: a release that was recorded lately is live before it reports.

        `put_back` grants in a step's transaction what the run would grant at its end, and returns how much it was.
        """
        self._put_back = put_back
        self._run, self._app_role = run, app_role
        self._unknown, self._strict, self._ignored, self._expected = unknown, strict, ignored, expected
        self._known: Known | None = None
        self._before: Catalog | None = None
        self._asked: Step | None = None
        self._contracts: dict[str, Contract] = {}
        self._copies: tenants.Copies = {}
        self._untouched = contract.Untouched()
        self._stranger: Contract | None = None
        self._stranger_lacks: frozenset[Need] = frozenset()
        self._footprint = footprint.Watch(run.control.rows)
        self.unknown: list[unknowns.Unknown] = []  # what may break a release, and was not deferred

    def look(self, connection: Connection) -> None:
        """Read the schema as it stands before the run: what an app that does not report may need."""
        if any(release.live for release in self._releases(connection)) or self._unknown:
            self._footprint.look(connection, {*releases.roles(connection), *filter(None, [self._app_role])})
        with self._footprint.searched(connection):
            self._known = catalog.know(connection, None, app_role=self._app_role)
        self._before = self._known.catalog
        if self._unknown and not releases.anybody_reported(connection):
            self._stranger = _found(self._run, contract.of_catalog(self._before))
            self._stranger_lacks = frozenset(contract.broken(self._stranger, self._before))
        self._releases(connection)  # a contract that cannot be read is refused before anything runs
        connection.rollback()

    def check(self, connection: Connection, step: Step) -> None:
        """Compare every release with the schema after the step; raise Deferred for a live one that would break."""
        # What a deferred trigger does, it would do at COMMIT: after all questions.
        prepared.rows(connection, "SET CONSTRAINTS ALL IMMEDIATE")
        after, behind = self._after(connection, step)
        found = self._judged(connection, after, behind)
        taken = any(need.rule in _RIGHTS for _, needs in found for need in needs)
        if taken and self._put_back and self._put_back(connection):
            after, behind = self._after(connection, step)
            found = self._judged(connection, after, behind)
        if any(map(self._counts, (need for _, needs in found for need in needs))):
            releases.hold_reports(connection)
            found = self._judged(connection, after, behind)
        objections = tuple(
            Objection(release, counted)
            for release, needs in found
            if release.live and (counted := tuple(filter(self._counts, needs)))
        )
        if objections and not self._ignored:
            raise Deferred(step, objections)
        self.unknown += unknowns.say(self._run, connection, step, found, self.unknown)
        if newly := [release.digest for release, needs in found if release.recorded and _is_broken(needs)]:
            releases.mark_broken(connection, newly, step.revision)
        if again := [
            release.digest
            for release, needs in found
            if not any(map(self._counts, needs)) and self._is_served_again(release, after)
        ]:
            releases.mark_served(connection, again)

    def foresee(self, connection: Connection, step: Step, foreseen: Foreseen) -> None:
        """Judge a statement that cannot be taken back before it runs; raise Deferred for a live release that may lose.

        What is only a risk is said, as it cannot be taken back, and defers with `strict`.
        """
        now = self._now(connection, step)
        objections, risks = [], []
        for release in self._releases(connection):
            if release.live:
                needs = foreseen.lost(release.contract or contract.of_catalog(now), now)
                lost = tuple(need for need in needs if self._counts(need) or need.rule in foresight.NEVER_RISKED)
                objections += [Objection(release, lost)] if lost else []
                risks += [f"{release}: {need}" for need in needs if need not in lost]
        if objections and not self._ignored:
            raise Deferred(step, tuple(objections))
        for risk in risks:
            self._run.tell(f"risked     {step.label}   {risk}")

    def _now(self, connection: Connection, step: Step) -> Catalog:
        """Read the catalog as it is in this transaction."""
        self._turn_to(step)
        with self._footprint.searched(connection):
            if self._known is None:
                self._known = catalog.know(connection, None, app_role=self._app_role)
            else:
                self._known = catalog.refresh(connection, self._known)
        return self._known.catalog

    def _turn_to(self, step: Step) -> None:
        """Take the schema as the step finds it; one that is tried again, as its first try found it."""
        if step is not self._asked and self._known is not None:
            self._asked, self._before = step, self._known.catalog

    def _after(self, connection: Connection, step: Step) -> tuple[Catalog, tuple[Found, ...]]:
        """Read the schema as the step leaves it, and what that is behind the tables of live releases."""
        self._turn_to(step)
        behind = self._behind(connection, step)
        return self._now(connection, step), behind

    def _behind(self, connection: Connection, step: Step) -> tuple[Found, ...]:
        """Return what the step has changed behind the tables of live releases."""
        live = [release for release in self._releases(connection) if release.live]
        contracts = [release.contract or self._as_it_stood() for release in live]
        drivers = frozenset(driver for release in live for driver in release.drivers)
        whole = steps.is_started(connection, step.revision)
        return self._footprint.found(connection, contracts, drivers=drivers, whole=whole)

    def _judged(
        self, connection: Connection, after: Catalog, behind: tuple[Found, ...]
    ) -> list[tuple[Release, tuple[Need, ...]]]:
        """Return every release with the needs of it that the schema would not meet."""
        cache: dict[int, tuple[Need, ...]] = {}  # by identity: hashing a contract costs as much as judging it
        found = []
        known = self._releases(connection)
        as_it_stood = self._as_it_stood() if any(release.contract is None for release in known) else None
        for release in known:
            needed = release.contract or as_it_stood
            if id(needed) not in cache:
                cache[id(needed)] = self._broken(needed, after, None if needed is as_it_stood else self._untouched)
            needs = cache[id(needed)]
            had = self._lost_before(release) if needs else frozenset()
            needs = tuple(need for need in needs if need not in had)
            found.append((release, unknowns.with_behind(needs, behind, needed) if release.live else needs))
        return found

    def _lost_before(self, release: Release) -> frozenset[Need]:
        """Return what a release has lost already: it objects only to what it would lose besides."""
        if release.digest == releases.UNKNOWN:
            return self._stranger_lacks
        # Only some tenants may have what a release needs, or all but one: it has lived with what the others lack.
        if not ((release.broken_by or release.schemas) and release.contract and self._before):
            return frozenset()
        return frozenset(contract.broken(release.contract, self._before, since=self._before))

    def _releases(self, connection: Connection) -> tuple[Release, ...]:
        known = tuple(
            map(self._with_tenants, releases.read(connection, self._run.settings.retention_ms, self._contracts))
        )
        if not self._expected:
            known = tuple(release._replace(expected=False) for release in known)
        if self._stranger is None:
            return known
        stranger = releases.Release(
            releases.UNKNOWN, None, self._stranger, None, False, 0, None, None, False, drivers=("",)
        )
        return (*known, stranger)

    def _with_tenants(self, release: Release) -> Release:
        """Have what a release needs looked at in each schema that it reports."""
        if release.contract is None or self._before is None or not release.schemas:
            return release
        spread = tenants.in_schemas(release.contract, release.schemas, self._before, self._copies)
        return release._replace(contract=spread)

    def _as_it_stood(self) -> Contract:
        """Return the contract of a release that reports but was never recorded here: the schema it is running on."""
        return contract.of_catalog(self._before) if self._before else contract.Contract(())

    def _is_served_again(self, release: Release, after: Catalog) -> bool:
        """Tell whether a broken release can live with the schema again, judged as it stands and not by what is new."""
        if not (release.recorded and release.broken_by and release.contract):
            return False
        needs = contract.broken(release.contract, after)
        return not any(need.severity == ERROR or need.rule in _TAKEN_RIGHTS for need in needs)

    def _broken(self, needed: Contract, after: Catalog, untouched: contract.Untouched | None) -> tuple[Need, ...]:
        needs = contract.broken(needed, after, since=self._before, untouched=untouched)
        return tuple(need for need in needs if not self._footprint.disproves(need))

    def _counts(self, need: Need) -> bool:
        return need.severity == ERROR or self._strict


def _is_broken(needs: tuple[Need, ...]) -> bool:
    """Tell whether a release cannot run any more: a warning, which --strict counts too, does not say so."""
    return any(need.severity == ERROR for need in needs)


def record_deferral(run: Run, deferred: Deferred, held_back: list[Step]) -> None:
    """Write to the ledger what is held back, and for whom."""
    waits_for = [objection.release.digest for objection in deferred.objections]
    waits_for += [f"backfill {deferred.backfill[0]}"] if deferred.backfill[0] else []
    deferrals.record(run.control, [step.revision for step in held_back], deferred.message, waits_for)


def _found(run: Run, now: Contract) -> Contract:
    """Return what an app that never reported may need: the schema before the first run after the last finished one.

    What runs that were cut off or failed have made since is nobody's yet: their release was not let in.
    """
    [(found,)] = run.control.rows(_FOUND, {"run": run.id, "now": now.to_json()})
    return Contract.from_json(found)
