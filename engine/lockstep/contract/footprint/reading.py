"""Reading: a snapshot of all things, and the same again after a step for the price of what the step touched.

What a transaction touched is told by three things: the relations it holds more than a reader's or writer's lock on,
the catalogs it wrote to (`pg_stat_xact_sys_tables` counts this transaction's rows alone), and the rows of those
catalogs that are younger than the transaction. Where one of them does not tell, all is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lockstep.contract.footprint import queries
from lockstep.contract.footprint.things import Snapshot, Thing
from lockstep.postgres import prepared

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

# `track_counts` off: nothing is counted, and nothing told. Rows younger than the transaction: its own, also those of
# its savepoints, and some of others, which are read again for nothing. $1 is the transaction that was asked last.
_TOUCHED = """
WITH locked AS MATERIALIZED (
  SELECT relation::oid AS oid, bool_or(mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')) AS strong,
         bool_or(mode NOT IN ('AccessShareLock', 'RowShareLock')) AS writes
    FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation >= 16384
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY relation),
catalog AS (SELECT oid, relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r')
SELECT 'counted', current_setting('track_counts')::bool::int::bigint, NULL
UNION ALL SELECT 'now', (pg_xact_status($1::xid8) = 'committed')::int, pg_current_xact_id()::text
UNION ALL SELECT 'catalog', pg_stat_get_xact_tuples_updated(oid) + pg_stat_get_xact_tuples_deleted(oid), relname
  FROM catalog WHERE pg_stat_get_xact_tuples_inserted(oid)
    + pg_stat_get_xact_tuples_updated(oid) + pg_stat_get_xact_tuples_deleted(oid) > 0
UNION ALL SELECT 'rows', oid::bigint, concat_ws(' ', pg_stat_get_xact_tuples_inserted(oid),
    pg_stat_get_xact_tuples_updated(oid), pg_stat_get_xact_tuples_deleted(oid)) FROM locked WHERE writes
UNION ALL SELECT 'locked', oid::bigint, NULL FROM locked
  WHERE strong OR (writes AND oid IN (SELECT seqrelid FROM pg_sequence))
UNION ALL SELECT 'members', sum(objid::bigint)::bigint, NULL FROM pg_depend
  WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'"""
# What was counted is kept for a second beyond its transaction, and would be told of the next one.
_FLUSHED, _FLUSHED_SINCE = " UNION ALL SELECT 'flushed', 0, NULL FROM pg_stat_force_next_flush()", 15
_YOUNG = {
    "pg_class": "SELECT CASE WHEN relkind IN ('i', 'I') THEN (SELECT indrelid FROM pg_index WHERE indexrelid = c.oid) "
    "ELSE c.oid END FROM pg_class c WHERE {young}",
    "pg_attribute": "SELECT attrelid FROM pg_attribute WHERE {young}",
    "pg_attrdef": "SELECT adrelid FROM pg_attrdef WHERE {young}",
    "pg_constraint": "SELECT unnest(ARRAY[conrelid, confrelid]) FROM pg_constraint WHERE {young}",
    "pg_index": "SELECT indrelid FROM pg_index WHERE {young}",
    "pg_trigger": "SELECT tgrelid FROM pg_trigger WHERE {young}",
    "pg_rewrite": "SELECT ev_class FROM pg_rewrite WHERE {young}",
    "pg_policy": "SELECT polrelid FROM pg_policy WHERE {young}",
    "pg_inherits": "SELECT unnest(ARRAY[inhrelid, inhparent]) FROM pg_inherits WHERE {young}",
    "pg_partitioned_table": "SELECT partrelid FROM pg_partitioned_table WHERE {young}",
}  # fmt: skip
# What prints the names of others: defaults those of sequences, keys those of tables, views, policies, conditions.
_PRINTING = """
WITH printed AS MATERIALIZED (SELECT classid, objid FROM pg_depend
                               WHERE refclassid = 'pg_class'::regclass AND refobjid = ANY(%(oids)s::oid[]))
SELECT adrelid::bigint FROM printed JOIN pg_attrdef ON oid = objid WHERE classid = 'pg_attrdef'::regclass
UNION SELECT conrelid FROM printed JOIN pg_constraint ON oid = objid WHERE classid = 'pg_constraint'::regclass
UNION SELECT ev_class FROM printed JOIN pg_rewrite ON oid = objid WHERE classid = 'pg_rewrite'::regclass
UNION SELECT polrelid FROM printed JOIN pg_policy ON oid = objid WHERE classid = 'pg_policy'::regclass
UNION SELECT tgrelid FROM printed JOIN pg_trigger ON oid = objid WHERE classid = 'pg_trigger'::regclass
UNION SELECT indrelid FROM printed JOIN pg_index ON indexrelid = objid WHERE classid = 'pg_class'::regclass"""
_YOUNG_ROW = "age(xmin) <= (SELECT age(pg_current_xact_id()::xid)) + 1 AND xmin::text::bigint > 2"
# What all relations are shown by: their names, types, roles, publications.
_OF_EVERYTHING = {
    "pg_namespace", "pg_type", "pg_enum", "pg_authid", "pg_auth_members", "pg_publication", "pg_publication_rel",
    "pg_publication_namespace", "pg_collation", "pg_proc",
}  # fmt: skip
_RENAMES = {
    "pg_database",  # its owner is a member of pg_database_owner
    "pg_namespace",
    "pg_authid",
    "pg_auth_members",
    "pg_publication",
    "pg_publication_rel",
    "pg_publication_namespace",
}


OFTEN = (*queries.OF_RELATIONS, "sequence", "type")  # what a step that changes tables has to have read again


class Written(NamedTuple):
    """How many rows of a table a transaction wrote."""

    inserted: int
    updated: int
    deleted: int


class Touched(NamedTuple):
    """What a transaction has touched: relations by oid, catalogs by name, rows; `told` is false where all may be."""

    told: bool
    relations: frozenset[int]
    catalogs: frozenset[str]
    rows: dict[int, Written]
    altered: frozenset[str] = frozenset()  # catalogs whose rows were updated or deleted
    transaction: str = ""
    members: int = 0  # of extensions, which nothing else tells: only their dependencies are written
    goes_on: bool = False  # the transaction that was asked last was committed


def roles(connection: Connection, names: Iterable[str]) -> dict[int, str]:
    """Return those roles that there are, by oid."""
    rows = prepared.rows(
        connection, "SELECT oid::bigint, rolname FROM pg_roles WHERE rolname = ANY(%(names)s::text[]) ORDER BY oid",
        {"names": sorted(set(names))},
    )  # fmt: skip
    return dict(rows)


def everything(connection: Connection, as_roles: tuple[int, ...]) -> Snapshot:
    """Read all things, with what these roles may do to them."""
    return Snapshot(_ask(connection, as_roles, (*queries.OF_RELATIONS, *queries.OF_ALL), None))


def touched(connection: Connection, last: str | None = None) -> Touched:
    """Tell what this transaction has touched so far; `last` is the one that was asked last."""
    asked = _asked(connection)
    prepared.prepare(connection, asked)
    locked, catalogs, altered, rows = set(), set(), set(), {}
    told, transaction, goes_on, members = True, "", False, 0
    for what, number, text in asked.ask(connection, last):
        if what == "counted":
            told = bool(number)
        elif what == "now":
            transaction, goes_on = text, bool(number)
        elif what == "catalog":
            catalogs.add(text)
            altered |= {text} if number else set()
        elif what == "rows" and text != "0 0 0":
            rows[number] = Written(*map(int, text.split()))
        elif what == "locked":
            locked.add(number)
        elif what == "members":
            members = number or 0
    return Touched(
        told, frozenset(locked), frozenset(catalogs), rows, frozenset(altered), transaction, members, goes_on
    )


def again(connection: Connection, before: Snapshot, as_roles: tuple[int, ...], seen: Touched) -> Snapshot:
    """Return what `everything` would, reading only what was touched."""
    if not seen.told or seen.members != _members(before):
        return everything(connection, as_roles)
    kinds = tuple(kind for kind, catalogs in queries.CATALOGS.items() if seen.catalogs & set(catalogs))
    whole = bool(seen.catalogs & _RENAMES)
    if whole:
        kinds, oids = (*queries.OF_RELATIONS, *queries.OF_ALL), None
    else:
        oids = _relations(connection, before, seen)
        kinds = (*queries.OF_RELATIONS, "sequence", *kinds) if oids else kinds
    if not kinds:
        return before.patched((), ())
    fresh = (
        _ask_often(connection, as_roles, oids) if kinds == OFTEN and oids else _ask(connection, as_roles, kinds, oids)
    )
    if oids is None:
        return Snapshot(fresh)
    gone = [one for oid in oids for one in before.of.get(oid, ()) if one.kind in queries.OF_RELATIONS]
    gone += [before.relations[oid] for oid in oids if oid in before.relations]
    if oids:
        gone += [one for one in before.kinds["sequence"].values() if one.oid in oids or one.owner in oids]
    for kind in {*kinds, *(("builtin",) if "function" in kinds else ())} - {*queries.OF_RELATIONS, "sequence"}:
        gone += before.kinds[kind].values()
    return before.patched(gone, fresh)


def _members(snapshot: Snapshot) -> int:
    return sum(int((one["members"] or "0 0").split()[1]) for one in snapshot.every("extension"))


def _relations(connection: Connection, before: Snapshot, seen: Touched) -> set[int]:
    """Return the relations to be read again."""
    found = {*seen.relations, *seen.rows}  # of what was written to, the sequences: who draws from them is not told
    asked = [select.format(young=_YOUNG_ROW) for catalog, select in _YOUNG.items() if catalog in seen.catalogs]
    if asked:
        union = " UNION ".join(asked)
        found |= {oid for (oid,) in prepared.rows(connection, f"SELECT x::bigint FROM ({union}) t (x)")}  # noqa: S608 - texts of our own
    if seen.catalogs & (_OF_EVERYTHING - _RENAMES):
        found |= {
            one.oid
            for one in before.relations.values()
            if one["kind"] in {"v", "m"} or _is_printed_by_name(before, one)
        }
    found.discard(0)  # a constraint that refers to nothing
    if found:
        rows = prepared.rows(connection, _PRINTING, {"oids": prepared.array(found)})
        found |= {oid for (oid,) in rows}
    return found


def _is_printed_by_name(snapshot: Snapshot, relation: Thing) -> bool:
    """Tell whether a relation is shown by names of types or functions that may have become others."""
    return any(
        (one.kind == "column" and (int(one["type_oid"] or 0) >= 16384 or one["default"]))  # noqa: PLR2004 - the first oid of a user's
        or (one.kind in {"constraint", "index", "policy", "trigger"} and "(" in str(one.facts))
        for one in snapshot.of.get(relation.oid, ())
    )


def _asked(connection: Connection) -> prepared.Statement:
    flushed = _FLUSHED if (connection.dialect.server_version_info or (0,))[0] >= _FLUSHED_SINCE else ""
    return prepared.Statement("lockstep_touched", ("text",), _TOUCHED + flushed)


def _often(connection: Connection) -> prepared.Statement:
    version = (connection.dialect.server_version_info or (0,))[0]
    text = queries.text(version, OFTEN, everything=False)
    return prepared.Statement(
        "lockstep_things", ("oid[]", "oid[]"), text.replace("%(roles)s::oid[]", "$1").replace("%(oids)s::oid[]", "$2")
    )


def prepare(connection: Connection) -> None:
    """Have the question that most steps ask planned before the first of them holds locks."""
    statement = _often(connection)
    prepared.prepare(connection, statement, _asked(connection))
    statement.ask(connection, "{}", "{}")


def _ask_often(connection: Connection, as_roles: tuple[int, ...], oids: set[int]) -> list[Thing]:
    prepared.prepare(connection, _often(connection))
    rows = _often(connection).ask(connection, prepared.array(as_roles), prepared.array(oids))
    return [Thing(*row[:5], tuple(row[5])) for row in rows]


def _ask(
    connection: Connection, as_roles: tuple[int, ...], kinds: tuple[str, ...], oids: set[int] | None
) -> list[Thing]:
    version = (connection.dialect.server_version_info or (0,))[0]
    text = queries.text(version, kinds, everything=oids is None)
    parameters: dict[str, Any] = {"roles": prepared.array(as_roles)}
    if oids is not None:
        parameters["oids"] = prepared.array(oids)
    text = text.replace("%", "%%").replace("%%(roles)s", "%(roles)s").replace("%%(oids)s", "%(oids)s")
    return [Thing(*row[:5], tuple(row[5])) for row in prepared.rows(connection, text, parameters)]
