"""Types: whether two canonical types are compatible.

Compatible means for reads and writes with SQLAlchemy on psycopg2, whose bulk INSERT casts every value to
the type of the model (`p0::VARCHAR(20)`) and leaves the rest to assignment casts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lockstep_gate.contract.type_text import SHAPE

if TYPE_CHECKING:
    from collections.abc import Callable

Arguments = tuple[int, ...]


class Shape(NamedTuple):
    """A type taken apart: `numeric`, (10, 2), dimensions."""

    name: str
    arguments: Arguments
    array: bool


def widens(known: str, offered: str) -> bool:
    """Tell whether a release that knows `known` reads and writes a column of type `offered` unharmed."""
    if known == offered or _bare(known) == _bare(offered):
        return True
    old, new = shape(known), shape(offered)
    if old is None or new is None or old.array or new.array:
        return False  # `column = ARRAY[1]::integer[]` finds no operator for bigint[]: an array type never widens
    allowed = _WIDENINGS.get((old.name, new.name))
    return allowed is not None and allowed(old.arguments, new.arguments)


def holds_labels(labels: tuple[str, ...], offered: str) -> bool:
    """Tell whether a column of this character type can stand in for an enum."""
    new = shape(offered)
    if new is None or new.array or new.name not in _CHARACTERS:
        return False
    return not new.arguments or all(len(label) <= new.arguments[0] for label in labels)


def shape(text: str) -> Shape | None:
    """Take a canonical text apart; None when its arguments are not plain numbers."""
    match = SHAPE.match(text)
    if match is None:
        return None
    try:
        arguments = tuple(int(part) for part in (match["args"] or "").split(",") if part)
    except ValueError:
        return None
    return Shape(f"{match['name']} {(match['rest'] or '').strip()}".strip(), arguments, bool(match["array"]))


def _always(_old: Arguments, _new: Arguments) -> bool:
    return True


def _longer(old: Arguments, new: Arguments) -> bool:
    """Let a length grow, or fall away."""
    return not new or (bool(old) and old <= new)


def _finer(old: Arguments, new: Arguments) -> bool:
    """Let the digits of a second's fraction grow; none given means six."""
    return (old or (6,)) <= (new or (6,))


def _wider(old: Arguments, new: Arguments) -> bool:
    """Let the digits before the point and those after it grow."""
    if not old or not new:
        return not new
    return new[1] >= old[1] and new[0] - new[1] >= old[0] - old[1]


# What may become what, each tried on a real server with SQLAlchemy's own statements; everything else breaks.
_CHARACTERS = ("character varying", "text")
_WIDENINGS: dict[tuple[str, str], Callable[[Arguments, Arguments], bool]] = {
    ("smallint", "integer"): _always,
    ("smallint", "bigint"): _always,
    ("integer", "bigint"): _always,
    ("real", "double precision"): _always,
    ("character varying", "text"): _always,
    ("text", "character varying"): _longer,
    ("character varying", "character varying"): _longer,
    ("numeric", "numeric"): _wider,
    ("bit varying", "bit varying"): _longer,
    ("timestamp without time zone", "timestamp without time zone"): _finer,
    ("timestamp with time zone", "timestamp with time zone"): _finer,
    ("time without time zone", "time without time zone"): _finer,
    ("time with time zone", "time with time zone"): _finer,
    ("interval", "interval"): _finer,
    ("json", "jsonb"): _always,
    ("text", "citext"): _always,
    ("character varying", "citext"): _always,
}


def _bare(text: str) -> str:
    """Without schema, quotes and case: an extension's type is `geometry` here and `extensions.geometry` there."""
    name = text.rpartition(".")[2] if "(" not in text.partition(".")[0] else text
    return name.replace('"', "").casefold()
