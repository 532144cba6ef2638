"""Values: an SQL expression that gives row number g a value of a column's type; tried until CHECKs hold."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

import psycopg2

from lockstep.postgres.statements import quoted

MOST_TRIED = 600
_LITERAL = re.compile(r"'((?:[^']|'')*)'(?:::[\w \"\[\]]+)?|(?<![\w.'])(-?\d+(?:\.\d+)?)(?![\w'])")
_INTEGERS = {"smallint": 32767, "integer": 2147483647, "bigint": 2**62}


class NoValue(Exception):
    """No value that the table would take was found; the text says of what."""


@dataclass(frozen=True)
class Column:
    """A column as far as a value for it needs."""

    number: int
    name: str
    base: str  # the type, a domain's base type
    kind: str  # pg_type.typtype of it
    category: str
    length: int | None
    precision: int | None
    scale: int | None
    not_null: bool
    is_own: bool  # the server fills it: identity, serial, generated
    declared: str
    is_array: bool
    has_default: bool


_BY_TYPE = {
    "boolean": "g % 2 = 0",
    "uuid": "md5(g::text)::uuid",
    "json": "json_build_object('n', g)",
    "jsonb": "jsonb_build_object('n', g)",
    "date": "date '2000-01-01' + g",
    "timestamp without time zone": "timestamp '2020-01-01' + g * interval '1 minute'",
    "timestamp with time zone": "timestamptz '2020-01-01 00:00:00+00' + g * interval '1 minute'",
    "time without time zone": "time '00:00' + g * interval '1 second'",
    "time with time zone": "timetz '00:00+00' + g * interval '1 second'",
    "interval": "g * interval '1 minute'",
    "bytea": "decode(md5(g::text), 'hex')",
    "inet": "inet '10.0.0.0' + g",
    "cidr": "(inet '10.0.0.0' + g)::cidr",
    "macaddr": "lpad(to_hex(g), 12, '0')::macaddr",
    "macaddr8": "lpad(to_hex(g), 16, '0')::macaddr8",
    "money": "(g % 100000)::money",
    "real": "g",
    "double precision": "g",
    "oid": "g",
    "point": "point(g, g)",
    "box": "box(point(g, g), point(g + 1, g + 1))",
    "circle": "circle(point(g, g), 1)",
    "lseg": "lseg(point(g, g), point(g + 1, g))",
    "line": "line(point(0, g), point(1, g))",
    "path": "path '((0,0),(1,1))'",
    "polygon": "polygon '((0,0),(1,1),(1,0))'",
    "tsvector": "to_tsvector('simple', 'row ' || g)",
    "tsquery": "to_tsquery('simple', 'row' || g)",
    "int4range": "int4range(g * 2, g * 2 + 1)",
    "int8range": "int8range(g * 2, g * 2 + 1)",
    "numrange": "numrange(g * 2, g * 2 + 1)",
    "daterange": "daterange(date '2000-01-01' + g, date '2000-01-01' + g + 1)",
    "tsrange": "tsrange(timestamp '2020-01-01' + g * interval '1 hour', "
    "timestamp '2020-01-01' + (g + 1) * interval '1 hour')",
    "tstzrange": "tstzrange(timestamptz '2020-01-01 00:00:00+00' + g * interval '1 hour', "
    "timestamptz '2020-01-01 00:00:00+00' + (g + 1) * interval '1 hour')",
}
_SHAPES = (("mail", "'row' || g || '@example.org'"), ("url", "'https://example.org/' || g"),
           ("phone", "'+1555' || lpad(g::text, 7, '0')"))  # fmt: skip


def expression(column: Column) -> str:  # noqa: PLR0911 - one for each kind of type
    """Return the expression of a column's value in row g."""
    if column.is_array:
        return "'{}'"
    if column.base in _INTEGERS:
        return f"1 + (g - 1) % {_INTEGERS[column.base]}"
    if column.base == "numeric":
        digits = (column.precision or 18) - (column.scale or 0)
        return f"g % {10 ** max(digits, 0)}" if digits < 18 else "g"  # noqa: PLR2004
    if column.category == "S":
        return _text(column)
    if column.base in ("bit", "bit varying"):
        return f"(g % 2)::bit({column.length or 1})"
    if column.kind == "e":
        return f"(enum_range(NULL::{column.base}))[1 + g % array_length(enum_range(NULL::{column.base}), 1)]"
    if column.base in _BY_TYPE:
        return _BY_TYPE[column.base]
    if not column.not_null:
        return "NULL"
    raise NoValue(f"no made-up value for column {column.name} of type {column.declared}")


def _text(column: Column) -> str:
    shape = next((text for part, text in _SHAPES if part in column.name.lower()), "")
    plain = shape or "'" + re.sub(r"\W", "", column.name)[:12] + " ' || g"
    if column.length is None:
        return plain
    if column.length >= 30:  # noqa: PLR2004 - as long as the longest of the shapes
        return plain
    # The row's number in letters and digits, so that short columns have room for many values.
    return f"right(lpad(to_hex(g), {column.length}, '0'), {column.length})"


def satisfy(
    cursor: Any,
    columns: list[Column],
    chosen: dict[int, str],
    checks: list[tuple[str, list[int]]],
    *,
    referring: set[int],
) -> str:
    """Change the expressions until the CHECKs hold for some rows; return the WHERE that keeps the others out."""
    texts = [text for text, _ in checks if text]
    if not texts:
        return ""
    where = " AND ".join(f"({text}) IS NOT FALSE" for text in texts)
    concerned = sorted({number for _, numbers in checks for number in numbers if number in chosen} - referring)
    by_number = {column.number: column for column in columns}
    tried = [_candidates(by_number[number], chosen[number], texts) for number in concerned]
    for combination in itertools.islice(_nearest_first(tried), MOST_TRIED):
        trial = chosen | dict(zip(concerned, combination, strict=True))
        if _holds(cursor, by_number, trial, where):
            chosen.update(trial)
            return f"WHERE {where}"
    raise NoValue(f"no made-up row satisfies {' and '.join(texts)[:200]}")


def _nearest_first(tried: list[list[str]]) -> Any:
    """Return all combinations, those first that change little."""
    places = itertools.product(*(range(len(one)) for one in tried))
    ordered = sorted(itertools.islice(places, 20_000), key=lambda place: (sum(map(bool, place)), sum(place)))
    return (tuple(one[at] for one, at in zip(tried, place, strict=True)) for place in ordered)


def _candidates(column: Column, own: str, texts: list[str]) -> list[str]:
    """Return expressions to try: the column's own first, then what the texts of the CHECKs mention, and NULL."""
    found = [own]
    for text in texts:
        for literal, number in _LITERAL.findall(text):
            if number and column.category == "S":
                found += [f"left(md5(g::text) || md5((g + 1)::text), {number})", f"repeat('x', {number})"]
            elif number:
                found += [f"{number} + g % 100", f"{number} - g % 100", number, f"{number} + 1", f"{number} - 1"]
            elif literal:
                found += [f"'{literal}'", f"'{literal.replace('%', '')}' || g"]
                if column.category == "D":
                    found += [f"('{literal}'::{column.declared} + g * interval '1 second')"]
    found += ["upper(left(md5(g::text), 8))", "left(md5(g::text), 8)", "g::text"] if column.category == "S" else []
    if column.category == "N":
        found += ["1 + g % 5", "- g", "g % 2"]
    if not column.not_null:
        found.append("NULL")
    return list(dict.fromkeys(found))


def _holds(cursor: Any, columns: dict[int, Column], trial: dict[int, str], where: str) -> bool:
    """Tell whether some of a few rows satisfy the CHECKs; columns that refer elsewhere are taken as unknown."""
    picked = ", ".join(
        f"({'NULL' if text.startswith('key') else text})::{columns[number].declared} AS {quoted(columns[number].name)}"
        for number, text in trial.items()
    )  # fmt: skip
    own = ", ".join(
        f"NULL::{column.declared} AS {quoted(column.name)}" for number, column in columns.items() if number not in trial
    )
    picked = ", ".join(filter(None, (picked, own)))
    cursor.execute("SAVEPOINT trial")
    try:
        cursor.execute(
            f"SELECT count(*) FROM (SELECT {picked} FROM generate_series(1, 20) AS g) AS made WHERE {where}"  # noqa: S608 - quoted names, and texts of our own
        )
        return bool(cursor.fetchone()[0] >= 10)  # noqa: PLR2004 - half of them, or few rows would be left
    except psycopg2.Error:
        return False
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT trial; RELEASE SAVEPOINT trial")
