"""Rules about new limits, tried on what the models may write: labels, both booleans, the longest text, NULL."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, NamedTuple

from lockstep.contract.footprint import bodies
from lockstep.contract.footprint.scene import BREAKS, Match, Rule, Scene
from lockstep.postgres.statements import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Change, Thing

_MOST = 1000  # combinations of values that are tried
_LONGEST = 10_000
_CHECK = re.compile(r"^CHECK \((.*)\)(?: NO INHERIT)?(?: NOT VALID)?$", re.DOTALL)
_VARCHAR = re.compile(r"^character varying\((\d+)\)$")
# What gives the same for the same values, and no error; of any other function nothing is proved.
_SAME_EACH_TIME = {"lower", "upper", "length", "coalesce", "btrim", "char_length"}
_WHO_OR_WHEN = re.compile(r"\b(?:CURRENT_\w+|LOCALTIME\w*|SESSION_USER|SYSTEM_USER)\b", re.IGNORECASE)
_REFUSES = {"23514", "23502", "22001"}  # check_violation, not_null_violation, string_data_right_truncation


class _Values(NamedTuple):
    """SQL of values: those that a release may `write`, and `every` one that there can be; empty where not countable."""

    write: tuple[str, ...]
    every: tuple[str, ...]
    short: str = ""  # for a text with a limit: a value for which its length is no matter


def _values(scene: Scene, column: Thing) -> _Values:
    """Return what is known of a column's values by its type and by what releases know of it."""
    known = scene.columns(column.owner, column.name)
    type_ = column["type"] or ""
    null = ("NULL",) if any(one.may_write_null and one.writes for one in known) else ()
    labels = _labels(scene, column)
    if labels:
        written = {label for one in known if one.writes for label in one.labels or ()}
        return _Values((*(one for one in labels if _text(one) in written), *null), (*labels, "NULL"))
    if type_ == "boolean":
        both = ("true", "false")
        return _Values((*(both if any(one.writes for one in known) else ()), *null), (*both, "NULL"))
    limit = _VARCHAR.match(type_)
    if limit and int(limit[1]) <= _LONGEST and any(one.writes and one.type == type_ for one in known):
        return _Values((f"'{'x' * int(limit[1])}'", *null), (), "'x'")
    return _Values(null, ())


def _labels(scene: Scene, column: Thing) -> tuple[str, ...]:
    number = int(column["type_oid"] or 0)
    found = next((one["labels"] for one in scene.after.every("type") if one.oid == number and one["type"] == "e"), None)
    return tuple(re.findall(r"'(?:[^']|'')*'", found or ""))


def _text(literal: str) -> str:
    return literal[1:-1].replace("''", "'")


def _row(columns: list[Thing], values: tuple[str, ...]) -> str:
    """Write a row as a subselect, so that the expression finds its columns by their names."""
    listed = zip(columns, values, strict=True)
    return "SELECT " + ", ".join(f"CAST({value} AS {one['type']}) AS {quoted(one.name)}" for one, value in listed)


def _new_check(scene: Scene, change: Change) -> tuple[str, list[Thing]] | None:
    """Return a new CHECK's expression and its columns, of a table that a release maps, if it can be tried here."""
    after = change.after
    if after is None or after["type"] != "c" or not scene.is_mapped(after.owner) or scene.is_new(after.owner):
        return None
    if change.before is not None and not change.differs("definition"):
        return None
    expression = _CHECK.match(after["definition"] or "")
    names = [_name(one) for one in re.findall(r'"(?:[^"]|"")*"|[^, ]+', after["columns"] or "")]
    columns = [one for name in names if (one := scene.after.column(after.owner, name)) is not None]
    if expression is None or not columns or len(columns) != len(names) or not _is_plain(expression[1]):
        return None
    return expression[1], columns


def _name(quoted_or_not: str) -> str:
    return quoted_or_not[1:-1].replace('""', '"') if quoted_or_not.startswith('"') else quoted_or_not


def _refused(scene: Scene, expression: str, rows: list[str]) -> int | None:
    """Count the rows for which a CHECK is false; None where it could not be evaluated."""
    found = scene.look.value(f"SELECT count(*) FROM ({' UNION ALL '.join(rows)}) t WHERE ({expression}) IS FALSE")
    return None if found is None else int(found)


def _check_refuses(scene: Scene, change: Change) -> Iterator[Match]:
    made = _new_check(scene, change)
    if made is None or len(made[1]) != 1 or change.after is None:
        return
    expression, columns = made
    values = _values(scene, columns[0])
    for value in values.write:
        if _refused(scene, expression, [_row(columns, (value,))]) and not (
            values.short and value != "NULL" and _refused(scene, expression, [_row(columns, (values.short,))]) != 0
        ):
            offers = f"a new CHECK {change.after.name}: {change.after['definition']}"
            yield Match(change.after, f"to write {_shown(value)}", offers, change.after.owner, columns[0].name)
            return


def _shown(value: str) -> str:
    return value if len(value) <= 42 else f"{len(value) - 2} characters"  # noqa: PLR2004 - a label is shown


def holds_for_all(scene: Scene, change: Change) -> bool:
    """Tell whether a new CHECK refuses nothing: its columns are enums and booleans, and all their values were tried."""
    made = _new_check(scene, change)
    return made is not None and _holds(scene, *made)


def _holds(scene: Scene, expression: str, columns: list[Thing]) -> bool:
    every = [_values(scene, one).every for one in columns]
    if not all(every):
        return False
    rows = list(itertools.islice(itertools.product(*every), _MOST + 1))
    return len(rows) <= _MOST and _refused(scene, expression, [_row(columns, row) for row in rows]) == 0


def _is_plain(expression: str) -> bool:
    """Tell whether it says the same to everybody at any time; what it says here is then what the release would hear."""
    if _WHO_OR_WHEN.search(expression):
        return False
    return {name for _, name in bodies.expression(expression).functions} <= _SAME_EACH_TIME


def held(scene: Scene, schema: str | None, table: str, offers: str) -> bool:
    """Tell whether what the contract calls a new limit is a CHECK that holds for every value that there can be."""
    relation = scene.named(scene.after, schema, table)
    return relation is not None and any(
        change.after is not None
        and change.after.owner == relation.oid
        and re.match(rf"a new CHECK {re.escape(change.after.name)}(?: |$)", offers)
        and holds_for_all(scene, change)
        for change in scene.changes
        if change.kind == "constraint"
    )


def _new_generated(scene: Scene, column: Thing) -> list[Thing] | None:
    """Return the columns that a new generated column is made of, if all are the release's and it can be tried here."""
    before = scene.before.relations.get(column.owner)
    had = {one.name for one in scene.before.those("column", column.owner)} if before else set()
    expression = column["default"] or ""
    if not column["generated"] or column.name in had or not _is_plain(expression):
        return None
    named = {_name(one) for one in re.findall(r'"(?:[^"]|"")*"|\w+', re.sub(r"'(?:[^']|'')*'", "", expression))}
    return [one for one in scene.after.those("column", column.owner) if one.name in named and one is not column]


def _generated_fails(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    columns = _new_generated(scene, after) if after is not None and scene.is_mapped(after.owner) else None
    if after is None or not columns or len(columns) != 1:
        return
    values = _values(scene, columns[0])
    for value in values.write:
        failed = _not_made(scene, after, columns[0], value)
        # Where a short text fails too it is not for its length: which texts there are, nobody knows.
        if failed and not (values.short and value != "NULL" and _not_made(scene, after, columns[0], values.short)):
            offers = f"{after['default']}: {failed}"
            yield Match(after, f"to write {_shown(value)} to {columns[0].name}", offers, after.owner, after.name)
            return


def _not_made(scene: Scene, generated: Thing, column: Thing, value: str) -> str:
    """Return why a generated column has no value for this one of the column it is made of; "" where it has."""
    row = f"SELECT CAST(({generated['default']}) AS {generated['type']}) AS made FROM ({_row([column], (value,))}) t"
    failed = scene.look.fails(row)
    if failed is not None:
        return failed.text
    unset = f"SELECT count(*) FROM ({row}) m WHERE made IS NULL"
    return "NULL, and it must not be" if generated.is_("not_null") and scene.look.value(unset) == 1 else ""


def generates(scene: Scene, column: Thing) -> bool:
    """Tell whether a new generated column has a value for all that there can be: few values, and all were tried."""
    columns = _new_generated(scene, column)
    every = [_values(scene, one).every for one in columns or ()]
    if not columns or not all(every):
        return False
    rows = list(itertools.islice(itertools.product(*every), _MOST + 1))
    if len(rows) > _MOST:
        return False
    made = f"SELECT ({column['default']}) AS made FROM ({' UNION ALL '.join(_row(columns, row) for row in rows)}) t"
    unset = " WHERE made IS NULL" if column.is_("not_null") else " WHERE made IS DISTINCT FROM made"
    return scene.look.value(f"SELECT count(*) FROM ({made}) m{unset}") == 0


def _domain_refuses(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is None or after["type"] != "d" or not (change.before and change.differs("checks", "not_null")):
        return
    for column in scene.after.every("column"):
        if int(column["type_oid"] or 0) != after.oid or not scene.is_mapped(column.owner):
            continue
        for value, short in _of_domain(scene, column, after["underlying"] or ""):
            failed = scene.look.fails(f"SELECT CAST({value} AS {column['type']})")
            fits = not short or scene.look.fails(f"SELECT CAST({short} AS {column['type']})") is None
            if failed is not None and failed.sqlstate in _REFUSES and fits:
                yield Match(column, f"to write {_shown(value)}", failed.text, column.owner, column.name)
                break


def _of_domain(scene: Scene, column: Thing, underlying: str) -> Iterator[tuple[str, str]]:
    known = [one for one in scene.columns(column.owner, column.name) if one.writes]
    limit = _VARCHAR.match(underlying)
    if limit and known and int(limit[1]) <= _LONGEST:
        yield f"'{'x' * int(limit[1])}'", "'x'"
    if any(one.may_write_null for one in known):
        yield "NULL", ""


RULES = (
    Rule(
        "limit-refuses", BREAKS, "A new CHECK that refuses what the models may write",
        "It was evaluated for each label of an Enum, both booleans, the longest text of a String(n), and NULL.",
        "add it once no live release may write that", ("constraint",), _check_refuses,
        bad="ALTER TABLE orders ADD CONSTRAINT happy CHECK (mood <> 'sad') NOT VALID",
        good="ALTER TABLE orders ADD CONSTRAINT happy CHECK (mood IN ('sad', 'ok'))",
    ),
    Rule(
        "generated-fails", BREAKS, "A generated column that is an error for what the models may write",
        "It was evaluated for each label of an Enum, both booleans, the longest text of a String(n), and NULL.",
        "give it a value for all that a live release may write", ("column",), _generated_fails,
        bad="UPDATE orders SET mood = 'ok'; "
        "ALTER TABLE orders ADD COLUMN size int NOT NULL GENERATED ALWAYS AS (CASE mood WHEN 'ok' THEN 1 END) STORED",
        good="ALTER TABLE orders ADD COLUMN sad bool GENERATED ALWAYS AS (mood = 'sad') STORED",
    ),
    Rule(
        "domain-refuses", BREAKS, "A domain that refuses what the models may write",
        "The longest text of a String(n), and NULL, were cast to it.",
        "tighten it once no live release may write that", ("type",), _domain_refuses,
        bad="ALTER DOMAIN short_text ADD CONSTRAINT given CHECK (VALUE IS NOT NULL) NOT VALID",
        good="ALTER DOMAIN short_text ADD CONSTRAINT more CHECK (length(VALUE) < 200)",
    ),
)  # fmt: skip
