# ruff: noqa: S608 - our own texts
"""Definitions: each object of a database that models can describe, in the server's own words.

Two databases on one server are compared by them: what `MetaData.create_all` makes, and where the revisions lead.
Partitions and inheritance children belong to their parent, members of an extension to the extension; the ledger, the
version table, views, functions, triggers, policies and grants are no matter of models.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import sqlalchemy as sa


class Key(NamedTuple):
    """What an object is called; schema None is the default one, and what is of no table has an empty table."""

    kind: str  # schema, enum, domain, sequence, table, column, constraint, index
    schema: str | None
    table: str
    name: str

    def __str__(self) -> str:
        place = ".".join(part for part in (self.schema, self.table, self.name) if part)
        return f"{self.kind} {place}"


class Thing(NamedTuple):
    """One object: its aspects, which are compared, and facts about it, which are not."""

    aspects: tuple[tuple[str, str | None], ...]
    columns: frozenset[str] = frozenset()  # of a constraint or an index: the columns that it rests on

    def get(self, aspect: str) -> str:
        """Return one aspect; empty where the object has none of it."""
        return dict(self.aspects).get(aspect) or ""


@dataclass(frozen=True)
class Definitions:
    """All objects of a database, or of those of its schemas that were asked for; tables with their columns' order."""

    things: Mapping[Key, Thing]
    server_version: int
    order: Mapping[tuple[str | None, str], tuple[str, ...]] = field(default_factory=dict)

    def of_table(self, schema: str | None, table: str, kind: str) -> Iterator[tuple[Key, Thing]]:
        """Yield what of one kind a table has."""
        return ((key, thing) for key, thing in self.things.items() if key[:3] == (kind, schema, table))

    def generation(self, schema: str | None, table: str) -> int:
        """Return how many ancestors deep a table is by inheritance."""
        thing = self.things.get(Key("table", schema, table, ""))
        parents = thing.get("inherits").split(", ") if thing and thing.get("inherits") else []
        names = [parent.rpartition(".")[2].strip('"') for parent in parents]
        found = [key for key in self.things if key.kind == "table" and key.table in names and key.table != table]
        return max((1 + self.generation(key.schema, key.table) for key in found), default=0)


# Literals are printed alike in both databases, whatever their own settings are.
_SESSION = (
    "SET LOCAL datestyle = 'ISO, MDY'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL timezone = 'UTC'; "
    "SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'"
)
_MINE = """
  n.nspname <> 'migrator' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND (n.nspname = current_schema() OR n.nspname = ANY (%(schemas)s))"""
_NOT_EXTENSION = """
  NOT EXISTS (SELECT FROM pg_depend e
               WHERE e.classid = '{catalog}'::regclass AND e.objid = {oid} AND e.deptype = 'e')"""
_SCHEMA = "CASE WHEN n.nspname <> current_schema() THEN n.nspname END"

_TABLES = f"""
SELECT c.oid, {_SCHEMA}, c.relname, c.relkind::text,
       concat(CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' END, 'TABLE'),
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END, array_to_string(c.reloptions, ', '),
       (SELECT string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = c.oid),
       obj_description(c.oid, 'pg_class'), c.relispartition
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {_MINE}
   AND {_NOT_EXTENSION.format(catalog="pg_class", oid="c.oid")}"""
_COLUMNS = """
SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod),
       CASE WHEN a.attcollation <> t.typcollation THEN
         (SELECT concat_ws('.', CASE WHEN nc.nspname <> 'pg_catalog' THEN quote_ident(nc.nspname) END,
                           quote_ident(collname)) FROM pg_collation co JOIN pg_namespace nc ON nc.oid = collnamespace
           WHERE co.oid = a.attcollation) END,
       CASE WHEN a.attnotnull THEN 'NOT NULL' END,
       CASE WHEN a.attgenerated = '' AND s.oid IS NULL THEN pg_get_expr(d.adbin, d.adrelid) END,
       CASE WHEN s.oid IS NOT NULL AND a.attidentity = '' THEN 'serial' END,
       CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END,
       CASE WHEN a.attidentity <> '' THEN
         format('INCREMENT BY %%s MINVALUE %%s MAXVALUE %%s START WITH %%s CACHE %%s %%s', q.seqincrement, q.seqmin,
                q.seqmax, q.seqstart, q.seqcache, CASE WHEN q.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END) END,
       CASE WHEN a.attgenerated <> '' THEN
         format('(%%s) %%s', pg_get_expr(d.adbin, d.adrelid), CASE a.attgenerated::text WHEN 's' THEN 'STORED'
                ELSE 'VIRTUAL' END) END,
       col_description(a.attrelid, a.attnum), a.attislocal
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_depend o ON o.refclassid = 'pg_class'::regclass AND o.refobjid = a.attrelid AND o.refobjsubid = a.attnum
    AND o.classid = 'pg_class'::regclass AND o.deptype IN ('a', 'i')
    AND EXISTS (SELECT FROM pg_sequence WHERE seqrelid = o.objid)
    -- a sequence that was given to a column later on is no `serial` unless the default asks it
    AND (o.deptype = 'i' OR EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_attrdef'::regclass
           AND x.objid = d.oid AND x.refclassid = 'pg_class'::regclass AND x.refobjid = o.objid))
  LEFT JOIN pg_class s ON s.oid = o.objid
  LEFT JOIN pg_sequence q ON q.seqrelid = o.objid
 WHERE a.attrelid = ANY (%(tables)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum"""
_CONSTRAINTS = """
SELECT con.conrelid, con.conname, con.contype::text, pg_get_constraintdef(con.oid), con.conindid,
       obj_description(con.oid, 'pg_constraint'),
       ARRAY(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = con.conrelid AND a.attnum = ANY (con.conkey))
  FROM pg_constraint con
 WHERE con.conrelid = ANY (%(tables)s::oid[]) AND con.contype IN ('c', 'f', 'p', 'u', 'x') AND con.conparentid = 0
   AND con.conislocal"""
_INDEXES = """
SELECT i.indrelid, c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid,
       ARRAY(SELECT DISTINCT a.attname::text FROM pg_depend d JOIN pg_attribute a
               ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
              WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = ANY (%(tables)s::oid[])
   AND NOT EXISTS (SELECT FROM pg_constraint con
                    WHERE con.conindid = i.indexrelid AND con.contype IN ('p', 'u', 'x'))"""
_SEQUENCES = f"""
SELECT {_SCHEMA}, c.relname,
       format('AS %%s INCREMENT BY %%s MINVALUE %%s MAXVALUE %%s START WITH %%s CACHE %%s %%s',
              format_type(q.seqtypid, NULL), q.seqincrement, q.seqmin, q.seqmax, q.seqstart, q.seqcache,
              CASE WHEN q.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)
  FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {_MINE} AND c.relpersistence <> 't' AND NOT EXISTS (
   SELECT FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i', 'e'))"""
_ENUMS = f"""
SELECT {_SCHEMA}, t.typname, ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder)
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
 WHERE t.typtype = 'e' AND {_MINE} AND {_NOT_EXTENSION.format(catalog="pg_type", oid="t.oid")}"""
_DOMAINS = f"""
SELECT {_SCHEMA}, t.typname, format_type(t.typbasetype, t.typtypmod),
       CASE WHEN t.typcollation <> b.typcollation THEN (SELECT quote_ident(collname) FROM pg_collation
         WHERE oid = t.typcollation) END,
       t.typdefault, CASE WHEN t.typnotnull THEN 'NOT NULL' END,
       (SELECT string_agg(format('CONSTRAINT %%I %%s', conname, pg_get_constraintdef(oid)), ' ' ORDER BY conname)
          FROM pg_constraint WHERE contypid = t.oid AND contype = 'c')
  FROM pg_type t JOIN pg_type b ON b.oid = t.typbasetype JOIN pg_namespace n ON n.oid = t.typnamespace
 WHERE t.typtype = 'd' AND {_MINE} AND {_NOT_EXTENSION.format(catalog="pg_type", oid="t.oid")}"""
_SCHEMAS = f"SELECT n.nspname FROM pg_namespace n WHERE {_MINE} AND n.nspname <> current_schema()"


def read(
    connection: sa.Connection, schemas: tuple[str, ...], version_table: tuple[str | None, str] = (None, "")
) -> Definitions:
    """Return what there is in the default schema and in those that are named."""
    transaction = connection.begin_nested() if connection.in_transaction() else connection.begin()
    try:
        connection.exec_driver_sql(_SESSION)
        return _read(connection, schemas, version_table)
    finally:
        transaction.rollback()


def _read(connection: sa.Connection, schemas: tuple[str, ...], version_table: tuple[str | None, str]) -> Definitions:
    def rows(query: str, **more: Any) -> list[Any]:
        return connection.exec_driver_sql(query, {"schemas": list(schemas), **more}).all()

    things: dict[Key, Thing] = {}
    for (schema,) in rows(_SCHEMAS):
        things[Key("schema", schema, "", "")] = Thing(())
    for schema, name, text in rows(_SEQUENCES):
        things[Key("sequence", schema, "", name)] = Thing((("options", text),))
    for schema, name, labels in rows(_ENUMS):
        things[Key("enum", schema, "", name)] = Thing(tuple((label, str(at)) for at, label in enumerate(labels)))
    for schema, name, type_, collation, default, not_null, checks in rows(_DOMAINS):
        things[Key("domain", schema, "", name)] = Thing(
            (("type", type_), ("collation", collation), ("default", default), ("not null", not_null), ("check", checks))
        )
    # pg_get_indexdef names the schema of a table whatever the search path is
    [(default,)] = rows("SELECT quote_ident(current_schema())")
    tables = _tables(rows(_TABLES), version_table, things)
    order = _of_tables(rows, tables, default, things) if tables else {}
    version = connection.connection.dbapi_connection.server_version
    return Definitions(things, version, {place: tuple(names) for place, names in order.items()})


def _of_tables(
    rows: Any, tables: dict[int, tuple[str | None, str]], default: str, things: dict[Key, Thing]
) -> dict[tuple[str | None, str], list[str]]:
    """Put in what the tables have; return their columns in order."""
    order: dict[tuple[str | None, str], list[str]] = {place: [] for place in tables.values()}
    within = {"tables": list(tables)}
    for oid, name, *aspects, local in rows(_COLUMNS, **within):
        order[tables[oid]].append(name)
        if local:
            things[Key("column", *tables[oid], name)] = Thing(tuple(zip(COLUMN, aspects, strict=True)))
    for oid, name, kind, text, _, comment, columns in rows(_CONSTRAINTS, **within):
        aspects = (("type", kind), ("definition", _settled(text)), ("comment", comment))
        things[Key("constraint", *tables[oid], name)] = Thing(aspects, frozenset(columns))
    for oid, name, text, valid, columns in rows(_INDEXES, **within):
        plain = text.replace(f" ON {default}.", " ON ", 1).replace(f" ON ONLY {default}.", " ON ONLY ", 1)
        aspects = (("definition", _settled(plain)), ("valid", None if valid else "INVALID"))
        things[Key("index", *tables[oid], name)] = Thing(aspects, frozenset(columns))
    return order


COLUMN = (
    "type", "collation", "not null", "default", "serial", "identity", "identity options", "generated", "comment",
)  # fmt: skip


# What `IN ('a', 'b')` becomes for varchar; read back once more, it becomes the other way to say the same.
_CAST_ARRAY = re.compile(r"\(ARRAY\[((?:'(?:[^']|'')*'::character varying(?:, )?)+)\]\)::text\[\]")
_ELEMENT = re.compile(r"'(?:[^']|'')*'::character varying")


def _settled(text: str) -> str:
    """Return a definition as it is printed when what was printed is made and printed again."""
    return _CAST_ARRAY.sub(lambda found: f"ARRAY[{_ELEMENT.sub(lambda one: f'({one[0]})::text', found[1])}]", text)


def _tables(
    found: list[Any], version_table: tuple[str | None, str], things: dict[Key, Thing]
) -> dict[int, tuple[str | None, str]]:
    """Put the tables in; return their names by their number."""
    tables: dict[int, tuple[str | None, str]] = {}
    for oid, schema, name, _, kind, partition_key, options, parents, comment, is_partition in found:
        if is_partition or (schema, name) == version_table:
            continue
        tables[oid] = (schema, name)
        things[Key("table", schema, name, "")] = Thing(
            (("kind", kind), ("partition key", partition_key), ("options", options), ("inherits", parents),
             ("comment", comment))
        )  # fmt: skip
    return tables
