"""Refresh: bring a snapshot up to date for the price of what was changed.

What a release's names mean is looked up anew where it may be something else. Only relations whose stamp is another
are read again, and those that depend on more than their stamp tells. Where anything was changed that all depend on,
all is read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lockstep.contract.catalog import query, reading, stamps
from lockstep.postgres import prepared

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from lockstep.contract.catalog.reading import Meant, Parts
    from lockstep.contract.catalog.snapshot import Catalog, Name
    from lockstep.contract.catalog.stamps import Stamps
    from lockstep.contract.catalog.views import Found

FEW = 20  # relations; more are read faster by a plan of their own

# A right on a sequence counts for the tables whose defaults use it.
_FILLED_BY = """
SELECT a.adrelid FROM pg_depend d JOIN pg_attrdef a ON a.oid = d.objid
WHERE d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_attrdef'::regclass
  AND d.refobjid = ANY(%(oids)s::oid[])"""


class Known(NamedTuple):
    """A snapshot, and what it takes to tell later what is still true of it; `stamps` is None on old servers."""

    catalog: Catalog
    names: tuple[Name, ...] | None
    app_role: str | None
    meant: Meant
    parts: Parts
    stamps: Stamps | None


def know(connection: Connection, names: Iterable[Name] | None = None, *, app_role: str | None = None) -> Known:
    """Take a snapshot as `read` does, to be refreshed later; the first refresh has its statements planned."""
    names = tuple(names) if names is not None else None
    follow = _version(connection) >= stamps.SINCE
    if follow:
        _prepare(connection, names)
        query.prepared_content(_version(connection)).ask(connection, "{}", None)
    # Before the rest: what somebody changes meanwhile is read again by the next refresh.
    taken = stamps.take(connection, ()) if follow else None
    meant = reading.look_up(connection, names, app_role, again=follow)
    parts = reading.about(connection, meant.oids, meant, {})
    return Known(reading.shown(meant, parts, app_role), names, app_role, meant, parts, taken)


def refresh(connection: Connection, known: Known) -> Known:
    """Return what `know` would now; from any earlier state of the schema, also one that was rolled back."""
    if known.stamps is None:
        return know(connection, known.names, app_role=known.app_role)
    _prepare(connection, known.names)
    now, before = stamps.take(connection, known.parts.spelled), known.stamps
    meant = known.meant
    if (now.ground, now.names, now.views) != (before.ground, before.names, before.views):
        meant = reading.look_up(connection, known.names, known.app_role, again=True)
    if now.ground != before.ground or meant.role != known.meant.role or now.spelled != known.parts.spelled:
        parts = reading.about(connection, meant.oids, meant, {})
    else:
        parts = _parts(connection, known, meant, now)
    return known._replace(catalog=reading.shown(meant, parts, known.app_role), meant=meant, parts=parts, stamps=now)


def _prepare(connection: Connection, names: tuple[Name, ...] | None) -> None:
    version = _version(connection)
    prepared.prepare(
        connection, query.prepared_relations(names is None), stamps.PREPARED, query.prepared_content(version)
    )


def _parts(connection: Connection, known: Known, meant: Meant, now: Stamps) -> Parts:
    before = known.parts
    stale = _stale(connection, known, meant, now)
    kept_oids = meant.oids - stale
    kept = {oid: found for oid, found in before.found.items() if oid in kept_oids}
    if not stale:
        return before._replace(found=kept)
    content = query.prepared_content(_version(connection)) if len(stale) <= FEW else None
    again = reading.about(connection, stale, meant, before.spelled, content)
    return again._replace(found={**kept, **again.found})


def _stale(connection: Connection, known: Known, meant: Meant, now: Stamps) -> set[int]:
    """Return the relations to be read again."""
    before = known.stamps.relations if known.stamps else {}
    changed = {oid for oid, stamp in now.relations.items() if before.get(oid) != stamp}
    views = known.stamps is None or now.views != known.stamps.views
    wanted = meant.oids
    stale = {
        oid
        for oid in wanted
        if oid not in now.relations or oid not in known.parts.found or _is_unsure(known.parts.found[oid], views)
    }
    if not all(oid in known.parts.found and known.parts.found[oid].relation.kind != "sequence" for oid in changed):
        changed |= {oid for (oid,) in prepared.rows(connection, _FILLED_BY, {"oids": prepared.array(changed)})}
    return stale | (wanted & changed)


def _is_unsure(found: Found, views: bool) -> bool:
    """Tell whether the stamp does not cover a relation: another server's table, or names inside an exclusion."""
    relation = found.relation
    if relation.kind == "view":
        return views
    return relation.kind == "foreign table" or any(one.kind == "EXCLUDE" for one in relation.constraints)


def _version(connection: Connection) -> int:
    return (connection.dialect.server_version_info or (0,))[0]
