"""Rows: the rows that revisions put into a database, and where its sequences stand."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

AT_ONCE = 500
# What an extension's own tables hold belongs to it, but for the rows that it says are its user's (`extcondition`).
_TABLES = """
SELECT format('%%I.%%I', n.nspname, c.relname), coalesce(x.condition, ''),
       array_agg(quote_ident(a.attname) ORDER BY a.attnum) AS columns,
       array_agg(t.typcategory = 'N' ORDER BY a.attnum) AS numbers,
       array_agg(t.typname::text ORDER BY a.attnum) AS types,
       array_agg(a.atthasdef AND a.attidentity = '' ORDER BY a.attnum) AS defaults,
       coalesce((SELECT array_agg(k.place - 1 ORDER BY p.position)
                   FROM pg_index i CROSS JOIN unnest(i.indkey::int[]) WITH ORDINALITY AS p (attnum, position)
                   JOIN (SELECT attnum, row_number() OVER (ORDER BY attnum) AS place FROM pg_attribute
                          WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '') k
                     ON k.attnum = p.attnum
                  WHERE i.indrelid = c.oid AND i.indisprimary), '{}'),
       bool_or(a.attidentity = 'a')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN (SELECT unnest(extconfig) AS oid, unnest(extcondition) AS condition FROM pg_extension) x ON x.oid = c.oid
 WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'migrator')
   AND c.oid IS DISTINCT FROM to_regclass(%(but)s)
   AND (x.oid IS NOT NULL OR NOT EXISTS (SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
 GROUP BY n.nspname, c.relname, c.oid, x.condition ORDER BY 1"""
_SEQUENCES = """
SELECT format('%I.%I', n.nspname, c.relname), s.seqstart FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname <> 'migrator'
 WHERE NOT EXISTS (SELECT FROM pg_depend d
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"""
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPED = re.compile(r"\\(.)")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_TIMES = {"timestamptz", "timestamp"}
_OF_ITS_OWN = _TIMES | {"uuid"}

Row = tuple[str | None, ...]


@dataclass(frozen=True)
class Table:
    """The rows of one table, as the server writes them, in the order of its primary key."""

    name: str
    columns: tuple[str, ...]
    numbers: tuple[bool, ...]
    types: tuple[str, ...]
    defaults: tuple[bool, ...]
    key: tuple[int, ...]
    always: bool
    rows: tuple[Row, ...]  # in the order they lie in: the same statements leave them in the same order

    def without(self, own: Iterable[str]) -> Table:
        """Return it without the columns of these names, `schema.table.column`."""
        left = set(own)
        stay = [place for place, column in enumerate(self.columns) if f"{self.name}.{column}" not in left]
        if len(stay) == len(self.columns):
            return self
        key = tuple(stay.index(place) for place in self.key) if set(self.key) <= set(stay) else ()
        return Table(
            self.name, *(tuple(values[place] for place in stay)
                         for values in (self.columns, self.numbers, self.types, self.defaults)),
            key, self.always, tuple(tuple(row[place] for place in stay) for row in self.rows),
        )  # fmt: skip

    @property
    def ordered(self) -> list[Row]:
        """Return the rows in an order that does not depend on how they came to be."""

        def place(row: Row) -> list[tuple[bool, float, str]]:
            keys = [*self.key, *range(len(row))]
            return [(row[n] is None, _number(row[n]) if self.numbers[n] else 0.0, row[n] or "") for n in keys]

        return sorted(self.rows, key=place)

    @property
    def statements(self) -> list[str]:
        """Return the INSERTs of its rows, one line for each row."""
        lines = [f"    ({', '.join(map(_literal, row, self.numbers))})" for row in self.ordered]
        names = ", ".join(self.columns)
        overriding = " OVERRIDING SYSTEM VALUE" if self.always else ""
        return [
            f"INSERT INTO {self.name} ({names}){overriding} VALUES\n" + ",\n".join(lines[start : start + AT_ONCE]) + ";"
            for start in range(0, len(lines), AT_ONCE)
        ]


def tables(cursor: Any, version_table: str | None) -> dict[str, Table]:
    """Return every table that has rows; the columns are named as SQL quotes them."""
    cursor.execute(_TABLES, {"but": version_table})
    found = {}
    for name, condition, columns, numbers, types, defaults, key, always in cursor.fetchall():
        names = ", ".join(columns)
        # The order they lie in pairs the rows of two replays.
        rows = _copied(cursor, f"SELECT {names} FROM ONLY {name} {condition} ORDER BY ctid")  # noqa: S608 - quoted names, and texts of our own
        if rows:
            found[name] = Table(
                name, tuple(columns), tuple(numbers), tuple(types), tuple(defaults), tuple(key), always, rows
            )
    return found


def sequences(cursor: Any) -> dict[str, str]:
    """Return the statement that moves each sequence that is not where it started."""
    cursor.execute(_SEQUENCES)
    moved = {}
    for name, start in cursor.fetchall():
        cursor.execute(f"SELECT last_value, is_called FROM {name}")  # noqa: S608 - quoted names, and texts of our own
        last, called = cursor.fetchone()
        if called or last != start:
            literal = _literal(name, number=False)
            moved[name] = f"SELECT pg_catalog.setval({literal}, {last}, {'true' if called else 'false'});"
    return moved


def own_columns(one: dict[str, Table], other: dict[str, Table], cursor: Any, since: Any) -> tuple[str, ...]:
    """Return the columns whose values two replays made differently, and a default makes anew: times and UUIDs.

    Raises Refused where a checkpoint could not stand for what the revisions do.
    """
    own = []
    for name in sorted({*one, *other}):
        first, second = one.get(name), other.get(name)
        if first is None or second is None or len(first.rows) != len(second.rows):
            raise Refused(f"two replays leave other rows in {name}", "a checkpoint cannot stand for such revisions")
        for place, column in enumerate(first.columns):
            if all(a[place] == b[place] for a, b in zip(first.rows, second.rows, strict=True)):
                continue
            if not first.defaults[place] or not _is_made_anew(cursor, first, place, since):
                raise Refused(
                    f"two replays give {name}.{column} other values, and no default would make them",
                    "a checkpoint cannot stand for such revisions: let the revision write a value of its own choosing",
                )
            own.append(f"{name}.{column}")
    return tuple(own)


def _is_made_anew(cursor: Any, table: Table, place: int, since: Any) -> bool:
    """Tell whether a column's default would give such values: the time of the replay, or a UUID."""
    kind, column = table.types[place], table.columns[place]
    if kind in _TIMES:
        cursor.execute(
            f"SELECT bool_and({column}::timestamptz BETWEEN %s AND clock_timestamp()) FROM ONLY {table.name}",  # noqa: S608 - quoted names, and texts of our own
            (since,),
        )
        return bool(cursor.fetchone()[0])
    return kind in _OF_ITS_OWN


def _copied(cursor: Any, query: str) -> tuple[Row, ...]:
    """Return rows in the server's own text, which every type reads back as it was."""
    taken = io.StringIO(newline="")
    cursor.copy_expert(f"COPY ({query}) TO STDOUT", taken)
    return tuple(tuple(map(_unescaped, line.split("\t"))) for line in taken.getvalue().split("\n")[:-1])


def _unescaped(text: str) -> str | None:
    return None if text == "\\N" else _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), text)


def _number(text: str | None) -> float:
    return float(text) if text and _NUMBER.fullmatch(text) else 0.0


def _literal(text: str | None, number: bool) -> str:
    if text is None:
        return "NULL"
    if number and _NUMBER.fullmatch(text):
        return text
    if re.search(r"[\x00-\x1f\\]", text):
        special = {"\\": "\\\\", "'": "''", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
        return "E'" + re.sub(r"[\x00-\x1f\\']", lambda one: special.get(one[0], f"\\x{ord(one[0]):02x}"), text) + "'"
    return "'" + text.replace("'", "''") + "'"
