"""Stamps: one number for each relation, which differs once anything about the relation was changed.

Every change of a catalog row makes another version of it, at another place (`ctid`) or by another transaction
(`xmin`), and an undone one leaves none. So the versions there are, hashed, tell what has to be read again: also what
was deleted, done by somebody else, or done outside the transaction. Not statistics and the like, which PostgreSQL
writes in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lockstep.postgres import prepared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

SINCE = 14  # hash_record_extended(), bit_xor()

# What the rights and spellings of all depend on: schemas, roles, enums and domains, and the path they are seen by.
_GROUND = """
SELECT {stamp} AS stamp FROM pg_namespace
UNION ALL SELECT {stamp} FROM pg_auth_members
UNION ALL SELECT hash_record_extended(ROW(oid, rolname, rolsuper, rolinherit, rolbypassrls), 0) FROM pg_roles
UNION ALL SELECT {stamp} FROM pg_database WHERE datname = current_database()
UNION ALL SELECT hash_record_extended(ROW(tableoid, xmin, ctid, pg_type_is_visible(oid)), 0)
  FROM pg_type WHERE oid >= 16384 AND typtype IN ('e', 'd')
UNION ALL SELECT {stamp} FROM pg_enum
UNION ALL SELECT {stamp} FROM pg_constraint WHERE contypid >= 16384
UNION ALL SELECT hashtextextended(current_schemas(true)::text, 0)"""

# What a name means, beside the ground. An index hides a table of its name, if its schema is searched before; the
# first to be searched is always pg_catalog. What belongs to an extension is nobody's name.
_NAMES = """
SELECT meaning AS stamp FROM class
  WHERE relkind NOT IN ('i', 'I') OR (SELECT cardinality(current_schemas(true)) > 2)
UNION ALL SELECT {stamp} FROM pg_depend
  WHERE refclassid = 'pg_extension'::regclass AND classid = 'pg_class'::regclass AND deptype = 'e'"""

# What makes a view take writes or not, however deep beneath it.
_VIEWS = """
SELECT {stamp} AS stamp FROM pg_rewrite WHERE ev_class >= 16384
UNION ALL SELECT {stamp} FROM pg_trigger WHERE tgtype::int & 64 <> 0
UNION ALL SELECT {stamp} FROM pg_foreign_data_wrapper
UNION ALL SELECT {stamp} FROM pg_foreign_server
UNION ALL SELECT {stamp} FROM pg_foreign_table"""

# The other half of a foreign key has another seed: on a table that refers to itself the two would cancel out.
_RELATIONS = """
SELECT oid AS relation, stamp FROM class WHERE relkind NOT IN ('i', 'I')
UNION ALL SELECT attrelid, {stamp} FROM pg_attribute
  WHERE attrelid >= 16384 AND attnum > 0 AND attrelid IN (SELECT oid FROM class WHERE relkind NOT IN ('i', 'I', 'S'))
UNION ALL SELECT adrelid, {stamp} FROM pg_attrdef WHERE adrelid >= 16384
UNION ALL SELECT indrelid, hash_record_extended(ROW(i.tableoid, i.xmin, i.ctid, x.xmin, x.ctid), 0)
  FROM pg_index i JOIN pg_class x ON x.oid = indexrelid
  WHERE indrelid >= 16384 AND indisunique AND relnamespace <> 'pg_toast'::regnamespace
UNION ALL SELECT conrelid, {stamp} FROM pg_constraint WHERE conrelid >= 16384 AND contype IN ('c', 'x', 'f')
UNION ALL SELECT confrelid, hash_record_extended(ROW(tableoid, xmin, ctid), 1) FROM pg_constraint
  WHERE confrelid >= 16384
UNION ALL SELECT tgrelid, {stamp} FROM pg_trigger WHERE tgrelid >= 16384 AND NOT tgisinternal
UNION ALL SELECT ev_class, {stamp} FROM pg_rewrite WHERE ev_class >= 16384
UNION ALL SELECT polrelid, {stamp} FROM pg_policy WHERE polrelid >= 16384
UNION ALL SELECT partrelid, {stamp} FROM pg_partitioned_table WHERE partrelid >= 16384"""

_QUERY = """
WITH class AS MATERIALIZED (
  SELECT oid, relkind, {stamp} AS stamp,
         hash_record_extended(ROW(oid, relname, relnamespace, relkind, relowner, relispartition), 0) AS meaning
    FROM pg_class WHERE oid >= 16384 AND relkind <> 't' AND relnamespace <> 'pg_toast'::regnamespace)
SELECT 'ground', NULL::oid, NULL::int, bit_xor(stamp), NULL::text FROM ({ground}) g
UNION ALL SELECT 'names', NULL, NULL, bit_xor(stamp), NULL FROM ({names}) n
UNION ALL SELECT 'views', NULL, NULL, bit_xor(stamp), NULL FROM ({views}) v
UNION ALL SELECT 'relation', relation, NULL, bit_xor(stamp), NULL FROM ({relations}) r GROUP BY relation
UNION ALL SELECT 'spelling', t, m, NULL, format_type(t, m) FROM unnest($1, $2) AS w (t, m)"""
_STAMP = "hash_record_extended(ROW(tableoid, xmin, ctid), 0)"
_TEXT = _QUERY
for _name, _part in (
    ("ground", _GROUND), ("names", _NAMES), ("views", _VIEWS), ("relations", _RELATIONS), ("stamp", _STAMP)
):  # fmt: skip
    _TEXT = _TEXT.replace(f"{{{_name}}}", _part)
PREPARED = prepared.Statement("lockstep_stamps", ("oid[]", "int[]"), _TEXT)


class Stamps(NamedTuple):
    """The stamps as they are; `spelled` are the types that were asked for, by oid and modifier."""

    ground: int
    names: int
    views: int
    relations: Mapping[int, int]
    spelled: Mapping[tuple[int, int], str]


def take(connection: Connection, types: Iterable[tuple[int, int]]) -> Stamps:
    """Return the stamps of everything as it stands, and how these types are spelled."""
    pairs = list(types)
    single: dict[str, int] = {}
    relations: dict[int, int] = {}
    spelled: dict[tuple[int, int], str] = {}
    arguments = (prepared.array(t for t, _ in pairs), prepared.array(m for _, m in pairs))
    for section, oid, modifier, stamp, text in PREPARED.ask(connection, *arguments):
        if section == "relation":
            relations[oid] = stamp
        elif section == "spelling":
            spelled[oid, modifier] = text
        else:
            single[section] = stamp or 0
    return Stamps(single["ground"], single["names"], single["views"], relations, spelled)
