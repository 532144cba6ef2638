"""Snapshot: the state of a database as far as a statement may change it.

It is read on the revision's own connection, inside its transaction, so that it shows what is not committed yet.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep.develop.rehearsal.observation import Changes, Column, Constraint, Index, Lock

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'migrator') AND n.nspname !~ '^pg_(toast|temp)'"
_RELATIONS = f"""
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relfilenode::bigint,
       coalesce(pg_relation_size(c.oid), 0), c.relpersistence::text,
       (SELECT i.inhparent::bigint FROM pg_inherits i WHERE i.inhrelid = c.oid AND c.relispartition LIMIT 1)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f', 'i', 'I') AND c.relname !~ '^alembic_version' AND {_OURS}"""  # noqa: S608 - quoted names, and texts of our own
_COLUMNS = f"""
SELECT a.attrelid::bigint, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.attidentity::text, a.attgenerated::text, pg_get_expr(d.adbin, d.adrelid)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND {_OURS}"""  # noqa: S608 - quoted names, and texts of our own
_CONSTRAINTS = f"""
SELECT k.oid::bigint, k.conrelid::bigint, k.conname, k.contype::text, k.convalidated, pg_get_constraintdef(k.oid)
  FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE k.conrelid <> 0 AND {_OURS}"""  # noqa: S608 - quoted names, and texts of our own
_INDEXES = f"""
SELECT i.indexrelid::bigint, i.indrelid::bigint, i.indisunique, i.indisvalid, pg_get_indexdef(i.indexrelid)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {_OURS}"""  # noqa: S608 - quoted names, and texts of our own
_LOCKS = """
SELECT DISTINCT l.relation::bigint, l.mode FROM pg_locks l
 WHERE l.pid = {pid} AND l.granted AND l.locktype = 'relation' AND l.mode <> 'AccessShareLock'
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_COUNTS = """
SELECT relid::bigint, seq_tup_read + coalesce(idx_tup_fetch, 0), n_tup_ins + n_tup_upd + n_tup_del, seq_scan
  FROM pg_stat_xact_user_tables"""
_ROWS = (
    "(SELECT coalesce(json_agg(row), '[]') FROM "
    "(SELECT json_build_array({columns}) AS row FROM ({query}) AS q ({columns})) AS r)"
)


def _part(query: str, width: int) -> str:
    columns = ", ".join(f"c{number}" for number in range(width))
    return _ROWS.format(columns=columns, query=query)


_LIGHT = f"{_part(_LOCKS, 2)}, {_part(_COUNTS, 4)}, (pg_current_wal_insert_lsn() - '0/0')::bigint"
_FULL = f"{_part(_RELATIONS, 8)}, {_part(_COLUMNS, 8)}, {_part(_CONSTRAINTS, 6)}, {_part(_INDEXES, 5)}"


@dataclass(frozen=True)
class Catalog:
    """Relations, columns, constraints and indexes, each by its key in the server's catalog."""

    relations: dict[int, tuple[Any, ...]]
    columns: dict[tuple[int, int], Column]
    constraints: dict[int, Constraint]
    indexes: dict[int, Index]

    @property
    def size(self) -> int:
        """Return the bytes of all tables and indexes."""
        return sum(row[4] for row in self.relations.values())

    def name(self, oid: int) -> str:
        """Return the name of a relation as a person writes it."""
        schema, name = self.relations[oid][:2] if oid in self.relations else ("public", f"relation {oid}")
        return name if schema == "public" else f"{schema}.{name}"

    def tables(self) -> frozenset[int]:
        """Return the tables, partitions and materialized views."""
        return frozenset(oid for oid, row in self.relations.items() if row[2] in "rpm")


def reindexed(before: Catalog, after: Catalog) -> set[int]:
    """Return the tables that have an index more or less than before: outside of a transaction locks say it by luck."""
    keys = before.indexes.keys() ^ after.indexes.keys()
    names = {(before.indexes.get(key) or after.indexes[key]).table for key in keys}
    return {oid for oid in before.tables() | after.tables() if {before.name(oid), after.name(oid)} & names}


@dataclass(frozen=True)
class State:
    """The database as one transaction sees it."""

    catalog: Catalog
    locks: frozenset[tuple[int, str]]
    counts: dict[int, tuple[int, int, int]]  # read, written, sequential scans
    wal: int


def take(cursor: Any, before: Catalog | None = None) -> State:
    """Return the state; with the catalog as it was `before` where a statement cannot have changed it."""
    cursor.execute(f"SELECT json_build_array({_LIGHT.format(pid='pg_backend_pid()')}{'' if before else ', ' + _FULL})")
    row = cursor.fetchone()[0]
    locks, counts, wal, *full = json.loads(row) if isinstance(row, str) else row
    catalog = before or _catalog(*full)
    return State(
        catalog, frozenset((oid, mode) for oid, mode in locks), {oid: tuple(rest) for oid, *rest in counts}, wal
    )


def locks_of(cursor: Any, pid: int) -> set[tuple[int, str]]:
    """Return the locks that another session holds now."""
    cursor.execute(_LOCKS.format(pid=int(pid)))
    return set(cursor.fetchall())


def _catalog(relations: list[Any], columns: list[Any], constraints: list[Any], indexes: list[Any]) -> Catalog:
    catalog = Catalog({oid: tuple(rest) for oid, *rest in relations}, {}, {}, {})
    for oid, number, *rest in columns:
        catalog.columns[oid, number] = Column(catalog.name(oid), *rest)
    for oid, table, *rest in constraints:
        catalog.constraints[oid] = Constraint(catalog.name(table), *rest)
    for oid, table, *rest in indexes:
        catalog.indexes[oid] = Index(catalog.name(table), catalog.name(oid), *rest)
    return catalog


def changes(before: Catalog, after: Catalog, standing: frozenset[int], read: set[int]) -> Changes:
    """Return how the catalog differs; `standing` are the tables whose file counts, `read` those that were read.

    A change of type makes the column's constraints and indexes again under their names: these are not new ones.
    """
    moved = {
        oid for oid, row in before.relations.items()
        if oid in after.relations and row[3] != after.relations[oid][3] and row[3]
    }  # fmt: skip
    emptied = {
        oid for oid in moved & standing if after.relations[oid][4] == 0 < before.relations[oid][4] and oid not in read
    }  # fmt: skip
    return Changes(
        columns_added=_new(before.columns, after.columns),
        columns_dropped=_new(after.columns, before.columns),
        columns_altered=tuple(
            (before.columns[key], column)
            for key, column in after.columns.items()
            if key in before.columns and before.columns[key] != column
        ),
        constraints_added=_unknown(before.constraints, after.constraints),
        constraints_dropped=_unknown(after.constraints, before.constraints),
        constraints_validated=tuple(
            item
            for key, item in after.constraints.items()
            if item.valid and key in before.constraints and not before.constraints[key].valid
        ),
        indexes_built=_unknown(before.indexes, after.indexes),
        indexes_rebuilt=tuple(_rebuilt(before, after, moved, {after.name(oid) for oid in emptied})),
        indexes_dropped=_unknown(after.indexes, before.indexes),
        tables_made=tuple(after.name(oid) for oid in sorted(after.tables() - before.tables())),
        tables_dropped=tuple(before.name(oid) for oid in sorted(before.tables() - after.tables())),
        partitions_made=_partitions(before, after),
        partitions_detached=_partitions(after, before),
        rewritten=tuple(after.name(oid) for oid in sorted((moved & standing) - emptied)),
        emptied=tuple(after.name(oid) for oid in sorted(emptied)),
    )


def _rebuilt(before: Catalog, after: Catalog, moved: set[int], empty: set[str]) -> Iterator[Any]:
    """Yield the indexes with another file: of a table that has one, or made again under their names."""
    files = {before.indexes[oid].name: row[3] for oid, row in before.relations.items() if oid in before.indexes}
    for oid, item in after.indexes.items():
        again = oid not in before.indexes and item.name in files  # one that is new has no other file to be compared
        if item.table not in empty if oid in moved else again and files[item.name] != after.relations[oid][3]:
            yield item


def _new(before: dict[Any, Any], after: dict[Any, Any]) -> tuple[Any, ...]:
    return tuple(item for key, item in after.items() if key not in before)


def _unknown(before: dict[int, Any], after: dict[int, Any]) -> tuple[Any, ...]:
    names = {(item.table, item.name) for item in before.values()}
    return tuple(item for key, item in after.items() if key not in before and (item.table, item.name) not in names)


def _partitions(before: Catalog, after: Catalog) -> tuple[tuple[str, str], ...]:
    """Return the partitions that are attached in `after` alone."""
    return tuple(
        (after.name(oid), after.name(row[6])) for oid, row in sorted(after.relations.items())
        if row[2] in "rp" and row[6] and (oid not in before.relations or not before.relations[oid][6])
    )  # fmt: skip


def locks(found: set[tuple[int, str]], catalogs: tuple[Catalog, ...], standing: frozenset[int]) -> tuple[Lock, ...]:
    """Return locks by the names of their tables; those on indexes are left out, but for one that keeps readers out."""
    named = []
    for oid, mode in sorted(found):
        catalog = next((one for one in catalogs if oid in one.relations), None)
        if catalog and catalog.relations[oid][2] not in "iI":
            named.append(Lock(catalog.name(oid), mode, oid in standing))
    return tuple(named)
