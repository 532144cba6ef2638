"""Verify: raise Refused where the schema does not satisfy this release's contract after the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep import contract
from lockstep.contract import ERROR, catalog
from lockstep.errors import Refused
from lockstep.ledger import releases

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lockstep.contract import Contract
    from lockstep.postgres.control import Control
    from lockstep.upgrade.guard import Deferred


# What no revision of ours would bring: the cure is the rule's own.
_RIGHTS = {"right-lost", "row-security", "sequence", "partition-missing"}


def serves(connection: Connection, needed: Contract, app_role: str | None, deferred: Deferred | None) -> None:
    """Pass a schema that satisfies this release's contract; else raise Refused with what is missing and the cure.

    A required column that no recorded release mapped either is let pass: models may map a part of a wide table.
    """
    there = catalog.read(connection, needed.relations, app_role=app_role)
    broken = [need for need in contract.broken(needed, there) if need.severity == ERROR]
    if not deferred and any(need.rule == "required-column" for need in broken):
        mapped = _mapped(connection)
        broken = [need for need in broken if need.rule != "required-column" or (need.table, need.column) in mapped]
    if not broken:
        return
    if deferred:
        until = "retire that release, or write a change both can run on" if deferred.objections else deferred.cure
        cure = f"what it needs is held back: {deferred.message}; {until}"
    else:
        cure = "write what is missing with `migrator revision`; `migrator check` finds it before a deploy does"
        cure = broken[0].cure if broken[0].rule in _RIGHTS else cure
    raise Refused(
        f"the schema does not serve this release: {broken[0]}",
        cure,
        details=tuple(f"missing: {need}" for need in broken),
    )


def _mapped(connection: Connection) -> set[tuple[str, str]]:
    """Return the columns that recorded releases map."""
    known = [release.contract for release in releases.read(connection, 0) if release.contract]
    return {(table.name, column.name) for one in known for table in one.tables for column in table.columns}


def ahead(control: Control, unknown: tuple[str, ...], digest: str | None) -> None:
    """Pass a database that is ahead of this image if the ledger shows it serves this release; else raise Refused."""
    if digest is not None and releases.is_recorded(control, digest):
        return
    place = f"the database is at {', '.join(unknown)}, which this image does not have, and"
    if breaking := digest and releases.broken_by(control, digest):
        raise Refused(
            f"{place} revision {breaking} broke the release of this image",
            "deploy a newer release, or take that revision back with `migrator downgrade` of the image that has it",
        )
    raise Refused(
        f"{place} its ledger does not show this release",
        "deploy an image that holds this revision, or one of a release the ledger knows (`migrator status`)",
    )
