"""Foresight: judge what a statement that cannot be tried would take from each live release, before it runs.

What such a statement does to the catalog is known from its kind (`outside_transaction`). So the catalog is worked out
as it will be, and compared with each contract as after any other step.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from lockstep import contract
from lockstep.contract import ERROR, Need
from lockstep.contract.catalog import Catalog, Constraint
from lockstep.postgres.outside_transaction import Takes
from lockstep.postgres.statements import quoted, without_literals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lockstep.contract import Contract
    from lockstep.postgres.outside_transaction import Kind
    from lockstep.postgres.statements import Statement

_FLAG = "--ignore-live-releases REASON does it all the same"
# Elsewhere these are warnings, for the step can be taken back; here they defer, with or without --strict.
NEVER_RISKED = {"unique-gone"}
RULES = {"unforeseen", "rows-gone", *NEVER_RISKED}  # by which a step waits although it was not tried
_INDEXES = """
SELECT n.nspname, c.relname, x.relname FROM unnest(%s::text[]) AS w (name)
  JOIN pg_catalog.pg_class x ON x.oid = to_regclass(w.name)
  JOIN pg_catalog.pg_index i ON i.indexrelid = x.oid AND i.indisunique AND i.indisvalid
  JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"""
_TABLE = """
SELECT n.nspname, c.relname, %s FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = to_regclass(%s)"""
_ABOVE = """
SELECT n.nspname, c.relname, %s
  FROM (SELECT relid::oid FROM pg_catalog.pg_partition_ancestors(to_regclass(%s)) UNION SELECT to_regclass(%s)) a (oid)
  JOIN pg_catalog.pg_class c USING (oid) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"""
_IS_DIGEST = re.compile(r"\b[0-9a-f]{32}\b")  # of an expression or a predicate, in a unique index's definition


class Foreseen(NamedTuple):
    """What a statement touches, each as (schema, table, index or partition), under the search path it runs with."""

    statement: Statement
    kind: Kind
    touched: tuple[tuple[str, str, str], ...]

    def lost(self, needed: Contract, now: Catalog) -> tuple[Need, ...]:
        """Return what a release would lose by it, as errors and as warnings."""
        if self.kind.takes is Takes.UNKNOWN:
            return (_unforeseen(self.statement, self.kind),)
        if self.kind.takes is Takes.ROWS:
            return tuple(self._rows_gone(needed, now))
        after = self._after(now)
        had = set(contract.broken(needed, now, since=now))
        lost = [need for need in contract.broken(needed, after, since=now) if need not in had]
        return tuple(need._replace(cure=f"{need.cure}; {_FLAG}") for need in lost)

    def _after(self, now: Catalog) -> Catalog:
        """Return the catalog as it would be."""
        relations = dict(now.relations)
        if self.kind.takes is Takes.UPSERTS:
            gone = {
                (one.name, one.definition)
                for schema, table, index in self.touched
                for one in _constraints(now, schema, table)
                if one.name == index and one.kind.startswith("UNIQUE")
            }
            for name, relation in relations.items():  # a view has those of its table
                kept = tuple(one for one in relation.constraints if (one.name, one.definition) not in gone)
                if kept != relation.constraints:
                    relations[name] = relation._replace(constraints=kept)
        if self.kind.takes is Takes.ACCEPTED_WRITES:
            columns = _columns(self.statement)
            for schema, table, index in self.touched:
                new = Constraint("UNIQUE", index, columns, f"of {self.statement.digest}")
                for name, relation in relations.items():
                    if (relation.schema, relation.name) == (schema, table) and not _is_unique_by(relation, columns):
                        relations[name] = relation._replace(constraints=(*relation.constraints, new))
        return now._replace(relations=MappingProxyType(relations))

    def _rows_gone(self, needed: Contract, now: Catalog) -> Iterable[Need]:
        tables = {(schema, table): partition for schema, table, partition in self.touched}
        for table in needed.tables:
            relation = now.find((table.schema, table.name))
            partition = relation and tables.get((relation.schema, relation.name))
            if partition:
                yield Need(
                    "rows-gone", ERROR, table.schema, table.name, None, "all its rows, and a place for new ones",
                    f"those that are not in {partition}", f"detach it once no live release reads it; {_FLAG}",
                )  # fmt: skip


def look(cursor: Any, statement: Statement, kind: Kind) -> Foreseen:
    """Find what a statement touches, under the search path that it runs with."""
    touched: list[Any] = []
    if statement.node is not None:
        body = statement.node[1]
        if kind.takes is Takes.UPSERTS:
            names = [_dotted(item["List"]["items"]) for item in body.get("objects", [])]
            cursor.execute(_INDEXES, (names,))
            touched = cursor.fetchall()
        elif kind.takes is Takes.ACCEPTED_WRITES:
            cursor.execute(_TABLE, (body.get("idxname") or "a unique index", _relation(body["relation"])))
            touched = cursor.fetchall()
        elif kind.takes is Takes.ROWS:
            parent = _relation(body["relation"])
            for command in body["cmds"]:
                partition = command["AlterTableCmd"]["def"]["PartitionCmd"]["name"]["relname"]
                cursor.execute(_ABOVE, (partition, parent, parent))
                touched += cursor.fetchall()
    return Foreseen(statement, kind, tuple(map(tuple, touched)))


def _unforeseen(statement: Statement, kind: Kind) -> Need:
    return Need(
        "unforeseen", ERROR, None, "the schema", None, "no change to it that nobody could look at first",
        f"what `{without_literals(statement.sql, 60)}` does: {kind.why}",
        f"write it so that it runs in a transaction; {_FLAG}",
    )  # fmt: skip


def _constraints(now: Catalog, schema: str, table: str) -> tuple[Constraint, ...]:
    found = now.find((schema, table)) or now.find((None, table))
    return found.constraints if found is not None and found.schema == schema else ()


def _is_unique_by(relation: Any, columns: tuple[str, ...]) -> bool:
    """Tell whether a table refuses already what a unique index over these columns would."""
    return any(
        one.kind.startswith("UNIQUE") and one.columns == columns and not _IS_DIGEST.search(one.definition)
        for one in relation.constraints
    )


def _columns(statement: Statement) -> tuple[str, ...]:
    """Return the columns of a new unique index; none where it has an expression or a predicate."""
    body = statement.node[1] if statement.node else {}
    elements = [item["IndexElem"] for item in body.get("indexParams", [])]
    plain = all("name" in element for element in elements) and "whereClause" not in body
    return tuple(element["name"] for element in elements) if plain else ()


def _relation(body: dict[str, Any]) -> str:
    return ".".join(quoted(part) for part in (body.get("schemaname"), body["relname"]) if part)


def _dotted(items: list[dict[str, Any]]) -> str:
    return ".".join(quoted(item["String"]["sval"]) for item in items)
