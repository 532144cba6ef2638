"""Types: a type's text in, PostgreSQL's canonical text out; two of them in, compatible or not.

Compatible means for reads and writes with SQLAlchemy on psycopg2, whose bulk INSERT casts every value to
the type of the model (`p0::VARCHAR(20)`) and leaves the rest to assignment casts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# PostgreSQL's other spellings -> what format_type() prints.
_SPELLINGS = {
    "int": "integer", "int4": "integer", "serial": "integer",
    "int2": "smallint", "smallserial": "smallint", "int8": "bigint", "bigserial": "bigint",
    "bool": "boolean", "varchar": "character varying", "char varying": "character varying",
    "char": "character", "bpchar": "character", "nchar": "character", "nvarchar": "character varying",
    "decimal": "numeric", "float": "double precision", "float8": "double precision",
    "float4": "real", "timestamp": "timestamp without time zone", "timestamptz": "timestamp with time zone",
    "time": "time without time zone", "timetz": "time with time zone", "varbit": "bit varying",
}  # fmt: skip
_SHAPE = re.compile(r"^(?P<name>[^(\[]+)(?:\((?P<args>[^)]*)\)(?P<rest>[^\[]*))?(?P<array>(?:\[\d*\])*)$")
_TEXTS = ("character varying", "text")
_INTEGERS = ("smallint", "integer", "bigint")
# Types with one argument that may grow, or fall away. Without one, the second number is what it means.
_PRECISIONS = {
    "timestamp without time zone": 6,
    "timestamp with time zone": 6,
    "time without time zone": 6,
    "time with time zone": 6,
    "interval": 6,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A type taken apart: `numeric`, (10, 2), dimensions."""

    name: str
    arguments: tuple[int, ...]
    array: bool


def canonical(text: str) -> str:
    """The text `format_type()` prints for a type; a type nobody knows keeps its SQL text."""
    match = _SHAPE.match(" ".join(text.split()))
    if match is None:
        return text
    name, rest = match["name"].strip(), (match["rest"] or "").strip().lower()
    if '"' in name or "." in name:
        return text
    name = name.lower()
    arguments = match["args"]
    if name == "float" and arguments:
        name, arguments = ("real" if int(arguments) <= 24 else "float8"), None
    whole = f"{name} {rest}".strip()
    spelled = _SPELLINGS.get(whole) or (f"{_SPELLINGS.get(name, name)} {rest}".strip() if not rest else whole)
    return _join(spelled, arguments) + ("[]" if match["array"] else "")


def _join(name: str, arguments: str | None) -> str:
    if name in {"character", "bit"} and not arguments:
        arguments = "1"
    if name == "numeric" and arguments and "," not in arguments:
        arguments += ",0"
    if not arguments:
        return name
    arguments = arguments.replace(" ", "")
    first, separator, zone = name.partition(" ")
    if first in {"time", "timestamp"} and separator:  # timestamp(3) with time zone
        return f"{first}({arguments}) {zone}"
    return f"{name}({arguments})"


def widens(known: str, offered: str) -> bool:
    """Whether a release that knows `known` reads and writes a column of type `offered` unharmed."""
    if known == offered or _bare(known) == _bare(offered):
        return True
    old, new = shape(known), shape(offered)
    if old is None or new is None or old.array or new.array:
        return False  # `column = ARRAY[1]::integer[]` finds no operator for bigint[]: an array type never widens
    if old.name in _INTEGERS and new.name in _INTEGERS:
        return _INTEGERS.index(old.name) <= _INTEGERS.index(new.name)
    if old.name in _TEXTS and new.name in _TEXTS:
        return not new.arguments or (bool(old.arguments) and old.arguments[0] <= new.arguments[0])
    if (old.name, new.name) in {("real", "double precision"), ("json", "jsonb")}:
        return True
    if old.name != new.name:
        return False
    if old.name == "numeric":
        return _numeric(old.arguments, new.arguments)
    if old.name == "bit varying":
        return not new.arguments or (bool(old.arguments) and old.arguments[0] <= new.arguments[0])
    if old.name in _PRECISIONS:
        most = (_PRECISIONS[old.name],)
        return (old.arguments or most) <= (new.arguments or most)
    return False


def holds_labels(labels: tuple[str, ...], offered: str) -> bool:
    """Whether a column of this character type can stand in for an enum."""
    new = shape(offered)
    if new is None or new.array or new.name not in _TEXTS:
        return False
    return not new.arguments or all(len(label) <= new.arguments[0] for label in labels)


def shape(text: str) -> Shape | None:
    """A canonical text taken apart; None when its arguments are not plain numbers."""
    match = _SHAPE.match(text)
    if match is None:
        return None
    try:
        arguments = tuple(int(part) for part in (match["args"] or "").split(",") if part)
    except ValueError:
        return None
    return Shape(f"{match['name']} {(match['rest'] or '').strip()}".strip(), arguments, bool(match["array"]))


def _numeric(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    if not new:
        return True
    if not old:
        return False
    return new[1] >= old[1] and new[0] - new[1] >= old[0] - old[1]


def _bare(text: str) -> str:
    """Without schema, quotes and case: an extension's type is `geometry` here and `extensions.geometry` there."""
    name = text.rpartition(".")[2] if "(" not in text.partition(".")[0] else text
    return name.replace('"', "").casefold()
