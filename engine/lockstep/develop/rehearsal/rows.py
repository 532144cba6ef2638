"""Rows: fill tables with made-up rows that satisfy their constraints.

Values differ from row to row wherever the type has room, so that what a revision makes unique can be. Where a CHECK
says what it wants, values are tried until it is content. A table that stays empty is named, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2

from lockstep.develop.rehearsal import values
from lockstep.postgres.statements import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

_TABLES = """
SELECT c.oid::bigint, c.oid::regclass::text, c.relkind::text, pg_get_partition_constraintdef(c.oid),
       array(SELECT i.inhparent::bigint FROM pg_inherits i WHERE i.inhrelid = c.oid)
  FROM pg_class c WHERE c.oid = ANY(%s::oid[])"""
_COLUMNS = """
SELECT a.attnum, a.attname, t.oid::regtype::text, t.typtype::text, t.typcategory::text,
       information_schema._pg_char_max_length(a.atttypid, a.atttypmod),
       information_schema._pg_numeric_precision(a.atttypid, a.atttypmod),
       information_schema._pg_numeric_scale(a.atttypid, a.atttypmod),
       a.attnotnull, a.attidentity <> '' OR a.attgenerated <> ''
         OR coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%%', false),
       format_type(a.atttypid, a.atttypmod), coalesce(t.typelem, 0) <> 0 AND t.typcategory = 'A', d.oid IS NOT NULL
  FROM pg_attribute a JOIN pg_type own ON own.oid = a.atttypid
  JOIN pg_type t ON t.oid = CASE own.typtype WHEN 'd' THEN own.typbasetype ELSE own.oid END
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
_KEYS = """
SELECT k.conkey, k.confrelid::bigint, k.confrelid::regclass::text,
       array(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS f (n, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = f.n ORDER BY place)
  FROM pg_constraint k WHERE k.conrelid = %s AND k.contype = 'f' ORDER BY k.oid"""
_KEYS_BY_NAME = """
SELECT array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS f (n, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = f.n ORDER BY place),
       k.confrelid::regclass::text,
       array(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS f (n, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = f.n ORDER BY place),
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indisunique
               AND string_to_array(i.indkey::text, ' ')::int2[] <@ k.conkey)
  FROM pg_constraint k WHERE k.conrelid = to_regclass(%s) AND k.contype = 'f' ORDER BY k.oid"""
_CHECKS = """
SELECT pg_get_expr(conbin, conrelid), conkey FROM pg_constraint WHERE conrelid = %s AND contype = 'c'
UNION ALL
SELECT replace(pg_get_expr(k.conbin, 0), 'VALUE', quote_ident(a.attname)), array[a.attnum]
  FROM pg_attribute a JOIN pg_constraint k ON k.contypid = a.atttypid AND k.contype = 'c'
 WHERE a.attrelid = %s AND a.atttypid <> 0"""  # a dropped column's is 0, as is contypid where no domain is checked

_NUMBER = "generate_series(%(number)s, %(number)s)"


@dataclass(frozen=True)
class Filled:
    """What became of one table."""

    table: str
    rows: int
    why: str | None = None  # why there are fewer than asked for


@dataclass
class _Table:
    oid: int
    name: str
    columns: list[values.Column]
    keys: list[tuple[list[int], int, str, list[str]]]
    checks: list[tuple[str, list[int]]]


def fill(connection: Any, tables: Iterable[int], count: int) -> tuple[Filled, ...]:
    """Put `count` rows into each table and into those they refer to; analyse them."""
    filled: dict[int, Filled] = {}
    with connection.cursor() as cursor:
        found = _with_parents(cursor, set(tables))
        for table in _in_order(found):
            filled[table.oid] = _fill(connection, table, count)
        cursor.execute("ANALYZE")
        connection.commit()
    return tuple(filled.values())


def _with_parents(cursor: Any, wanted: set[int]) -> dict[int, _Table]:
    """Return the tables that can hold rows, the partitions of partitioned ones and the targets of foreign keys too."""
    found: dict[int, _Table] = {}
    while wanted:
        cursor.execute(_TABLES, (list(wanted),))
        rows, wanted = cursor.fetchall(), set()
        for oid, name, kind, partition, parents in rows:
            if kind == "p":
                cursor.execute("SELECT inhrelid::bigint FROM pg_inherits WHERE inhparent = %s", (oid,))
                wanted |= {child for (child,) in cursor.fetchall()}
            if kind in "rp":
                found[oid] = _read(cursor, oid, name, partition)
                wanted |= {target for _, target, _, _ in found[oid].keys} | set(parents)
            if kind == "p":
                found[oid].columns.clear()  # its partitions hold the rows
        wanted -= found.keys()
    return found


def _read(cursor: Any, oid: int, name: str, partition: str | None) -> _Table:
    cursor.execute(_COLUMNS, (oid,))
    columns = [values.Column(*row) for row in cursor.fetchall()]
    cursor.execute(_KEYS, (oid,))
    keys = cursor.fetchall()
    cursor.execute(_CHECKS, (oid, oid))
    checks = [(text, numbers or []) for text, numbers in cursor.fetchall()]
    if partition:
        checks.append((partition, [column.number for column in columns if column.name in partition]))
    return _Table(oid, name, columns, keys, checks)


def _in_order(found: dict[int, _Table]) -> list[_Table]:
    """Return the tables with those first that others refer to; in a circle, as they come."""
    ordered: list[_Table] = []
    left = dict(sorted(found.items()))
    while left:
        free = [
            table for table in left.values()
            if not any(target in left and target != table.oid for _, target, _, _ in table.keys)
        ] or [next(iter(left.values()))]  # fmt: skip
        for table in free:
            ordered.append(table)
            del left[table.oid]
    return [table for table in ordered if table.columns]


def _fill(connection: Any, table: _Table, count: int) -> Filled:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table.name}")  # noqa: S608 - regclass gives it quoted
        before = int(cursor.fetchone()[0])
        try:
            cursor.execute(_insert(cursor, table, max(0, count - before)))
            connection.commit()
            why = None
        except (psycopg2.Error, values.NoValue) as error:
            connection.rollback()
            diag = getattr(error, "diag", None)
            why = (diag.message_primary if diag else None) or " ".join(str(error).split())
        cursor.execute(f"SELECT count(*) FROM {table.name}")  # noqa: S608 - quoted names, and texts of our own
        rows = int(cursor.fetchone()[0])
        connection.commit()
    if rows < count and not why:
        why = "its constraints leave room for no more"
    return Filled(table.name.removeprefix("public."), rows, why)


def foreign_keys(cursor: Any, table: str) -> list[tuple[list[str], str, list[str], bool]]:
    """Return a table's foreign keys by name: columns, the table they refer to, columns there, whether one to one."""
    cursor.execute(_KEYS_BY_NAME, (table,))
    return list(cursor.fetchall())


def insert_one(cursor: Any, oid: int, to_come: Iterable[tuple[list[str], str, list[str], bool]] = ()) -> str | None:
    """Return an INSERT of one made-up row, whose number is the parameter `number`; None where none can be made up.

    It satisfies foreign keys that are still to come, too: an app whose rows broke them would be put right first.
    """
    table = _with_parents(cursor, {oid})[oid]
    numbers = {column.name: column.number for column in table.columns}
    known = {tuple(columns) for columns, *_ in table.keys}
    for columns, target, referred, one_to_one in to_come:
        cursor.execute("SELECT to_regclass(%s)::oid::bigint", (target,))
        (there,) = cursor.fetchone()
        key = [numbers[name] for name in columns if name in numbers]
        if there and len(key) == len(columns) and tuple(key) not in known:
            if one_to_one:
                return None  # every row that may be referred to is already
            table.keys.append((key, there, target, referred))
    try:
        return _insert(cursor, table, 1).replace("%", "%%").replace("generate_series(1, 2)", _NUMBER).replace(
            "generate_series(1, 1)", _NUMBER
        )  # fmt: skip
    except (psycopg2.Error, values.NoValue):
        cursor.connection.rollback()
        return None


def _insert(cursor: Any, table: _Table, count: int) -> str:
    """Return the INSERT of made-up rows: every value an expression of the row's number g."""
    by_number = {column.number: column for column in table.columns}
    chosen = {column.number: values.expression(column) for column in table.columns if not column.is_own}
    joins = [
        _refer(cursor, by_number, chosen, place, key, table)
        for place, key in enumerate(table.keys)
        if all(number in chosen for number in key[0])
    ]
    referring = {number for numbers, *_ in table.keys for number in numbers}
    where = values.satisfy(cursor, table.columns, chosen, table.checks, referring=referring)
    series = f"generate_series(1, {count * 2 if where else count})"
    if not chosen:
        return f"INSERT INTO {table.name} SELECT FROM {series}"
    names = ", ".join(quoted(by_number[number].name) for number in chosen)
    # A CHECK may name a column that the server fills.
    texts = {number: chosen.get(number, "NULL") for number in by_number}
    picked = ", ".join(f"({text})::{by_number[number].declared} AS {quoted(by_number[number].name)}"
                       for number, text in texts.items())  # fmt: skip
    return (
        f"INSERT INTO {table.name} ({names}) SELECT {names} FROM "  # noqa: S608 - quoted names, and texts of our own
        f"(SELECT {picked} FROM {series} AS g {' '.join(filter(None, joins))}) AS made "
        f"{where} LIMIT {count} ON CONFLICT DO NOTHING"
    )


def _refer(
    cursor: Any, by_number: dict[int, values.Column], chosen: dict[int, str], place: int,
    key: tuple[list[int], int, str, list[str]], table: _Table,
) -> str:  # fmt: skip
    """Let the columns of a foreign key take their values from the table they refer to; NULL where that is empty."""
    numbers, target, name, columns = key
    cursor.execute(f"SELECT count(*) FROM {name}")  # noqa: S608 - quoted names, and texts of our own
    there = int(cursor.fetchone()[0])
    if not there:
        optional = [number for number in numbers if not by_number[number].not_null]
        if not optional:
            if target == table.oid:
                return ""  # each row refers to itself: both are the row's number
            raise values.NoValue(f"it refers to {name}, which is empty")
        for number in optional:
            chosen[number] = "NULL"
        return ""
    for number, column in zip(numbers, columns, strict=True):
        chosen[number] = f"key{place}.{quoted(column)}"
    listed = ", ".join(map(quoted, columns))
    return (
        f"JOIN (SELECT row_number() OVER () AS place, {listed} FROM {name}) AS key{place} "  # noqa: S608 - quoted names, and texts of our own
        f"ON key{place}.place = 1 + (g - 1) % {there}"
    )
