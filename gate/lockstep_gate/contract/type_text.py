"""Type text: a type as somebody wrote it, in the words that PostgreSQL's `format_type()` prints for it."""

from __future__ import annotations

import re

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
SHAPE = re.compile(r"^(?P<name>[^(\[]+)(?:\((?P<args>[^)]*)\)(?P<rest>[^\[]*))?(?P<array>(?:\[\d*\])*)$")
_REAL_UP_TO_BITS = 24


def canonical(text: str) -> str:
    """Return the text `format_type()` prints for a type; one that nobody knows keeps its SQL text."""
    match = SHAPE.match(" ".join(text.split()))
    if match is None:
        return text
    name, rest = match["name"].strip(), (match["rest"] or "").strip().lower()
    if '"' in name or "." in name:
        return text
    name = name.lower()
    arguments = match["args"]
    if name == "float" and arguments:
        name, arguments = ("real" if int(arguments) <= _REAL_UP_TO_BITS else "float8"), None
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
