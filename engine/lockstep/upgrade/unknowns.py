"""Unknowns: say, before a step commits, what may break a live release and cannot be proved either way; and keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lockstep.contract import ERROR
from lockstep.postgres import prepared

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from lockstep.contract import Contract, Need
    from lockstep.contract.footprint.judge import Found
    from lockstep.ledger.releases import Release
    from lockstep.ledger.run_context import Run
    from lockstep.project.plan import Step

# What the contract and the footprint tell of the same change, by other names.
_SAME = {
    "new-unique": "new-limit", "unique-changed": "unique-gone", "policy-changed": "row-policy",
    "type-arithmetic": "type-functions", "constraint-gone": "unique-gone", "domain-changed": "new-limit",
}  # fmt: skip
_KEEP = (
    "INSERT INTO migrator.unknown (run, revision, release, rule, place, needs, offers, cure) VALUES "
    "(%(run)s, %(revision)s, %(release)s, %(rule)s, %(place)s, %(needs)s, %(offers)s, %(cure)s)"
)


class Unknown(NamedTuple):
    """One finding of one revision for one release."""

    revision: str
    label: str
    release: Release
    need: Need

    def as_dict(self) -> dict[str, Any]:
        """Return it as the JSON documents show it."""
        return {"revision": self.revision, "release": self.release.digest, **self.need._asdict()}


def with_behind(needs: tuple[Need, ...], behind: Iterable[Found], needed: Contract) -> tuple[Need, ...]:
    """Add what was found behind a release's tables, where its contract has not told the same; errors come first."""
    told = {(_SAME.get(one.rule, one.rule), one.table) for one in needs}
    mapped = {table.name for table in needed.tables}
    more = tuple(
        one.need
        for one in behind
        if (not one.owner or one.need.table in mapped)
        and (_SAME.get(one.need.rule, one.need.rule), one.need.table) not in told
    )
    return tuple(sorted((*needs, *more), key=lambda need: need.severity != ERROR))


def say(
    run: Run,
    connection: Connection,
    step: Step,
    found: Iterable[tuple[Release, tuple[Need, ...]]],
    already: Iterable[Unknown] = (),
) -> list[Unknown]:
    """Say what is unknown of a step that is about to be committed, and write it to the ledger in its transaction.

    What an earlier try has said `already` is only written again, as that try was rolled back; the rest is returned.
    """
    before = {(one.revision, one.release.digest, one.need) for one in already}
    said = [
        Unknown(step.revision, step.label, release, need)
        for release, needs in found
        if release.live
        for need in needs
        if need.severity != ERROR
    ]
    told: set[str] = set()
    for one in said:
        need = one.need
        if (one.revision, one.release.digest, need) not in before:
            if str(one.release) not in told:
                run.tell(f"may break  {step.label}   {one.release}")
                told.add(str(one.release))
            run.tell(f"           {need}")
            run.tell(f"           to find out: {need.cure}")
        values = {"run": run.id, "revision": one.revision, "release": one.release.digest, "place": need.place}
        prepared.rows(
            connection, _KEEP, values | {name: getattr(need, name) for name in ("rule", "needs", "offers", "cure")}
        )
    return [one for one in said if (one.revision, one.release.digest, one.need) not in before]
