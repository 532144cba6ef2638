"""Rules about columns that what is behind a release's tables names, meets or has to fill."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lockstep.contract.footprint import bodies
from lockstep.contract.footprint.reach import functions_of
from lockstep.contract.footprint.rules.columns import at
from lockstep.contract.footprint.scene import BREAKS, UNKNOWN, Match, Rule, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Change, Thing


def _unmapped_gone(scene: Scene, change: Change) -> Iterator[Match]:
    """Find what triggers, and functions behind, name and lose."""
    before = change.before
    if change.after is not None or before is None or not scene.is_met(before.owner):
        return
    relation = scene.before.relations.get(before.owner)
    if relation is None or scene.is_gone(before.owner):
        return
    for function in _running(scene):
        body = bodies.function(function["language"] or "", function["body"] or "")
        named = before.name in body.of_row and _is_trigger_of(scene, function, before.owner)
        named = named or (relation.name, before.name) in body.columns
        if named:
            yield at(change, f"{function.place}() to find it", "no such column", BREAKS)
        elif any(name == relation.name for _, name in body.relations) and re.search(
            rf"\b{re.escape(before.name)}\b", function["body"] or ""
        ):
            yield at(change, f"{function.place}() to find it", "no such column", UNKNOWN)


def _running(scene: Scene) -> list[Thing]:
    return [
        one for one in scene.after.every("function")
        if not one["extension"] and (scene.reach_after.calls(one) or scene.may(one, "X")) and one["language"] in {"sql", "plpgsql"}
    ]  # fmt: skip


def _is_trigger_of(scene: Scene, function: Thing, relation: int) -> bool:
    return any(one.oid == function.oid for _, one in functions_of(scene.after, relation))


def _new_meets_body(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is None or change.before is not None or not scene.is_met(after.owner) or scene.is_new(after.owner):
        return
    relation = scene.after.relations[after.owner]
    for function in _running(scene):
        body = bodies.function(function["language"] or "", function["body"] or "")
        of_row = _is_trigger_of(scene, function, after.owner)
        names_it = any(name == relation.name for _, name in body.relations)
        if after.name in {*body.variables, *(function["arguments"] or "").split()} and (names_it or of_row):
            yield at(
                change,
                f"{function.place}() to mean its variable",
                f"a column {after.name} as well",
                BREAKS if names_it else UNKNOWN,
            )
        elif body.whole_row and (of_row or names_it):
            yield at(change, f"{function.place}() to take whole rows", "a row with one column more")


def _ambiguous(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is None or change.before is not None or not scene.is_mapped(after.owner) or scene.is_new(after.owner):
        return
    mine = scene.after.relations[after.owner]
    for one in scene.after.every("constraint"):
        if one["type"] != "f" or mine.oid not in {one.owner, int(one["refers_to"] or 0)}:
            continue
        other = int(one["refers_to"] or 0) if one.owner == mine.oid else one.owner
        if other != mine.oid and scene.is_mapped(other) and scene.after.column(other, after.name):
            place = scene.after.relations[other].place
            yield at(
                change,
                f"{after.name} in SQL of its own to mean {place}.{after.name}",
                "the same name in a table that is joined to it",
            )
            return


def _hidden_required(scene: Scene, change: Change) -> Iterator[Match]:
    """Find a column that has to be filled in a table that only triggers and cascades write."""
    after = change.after
    if not after or scene.is_mapped(after.owner) or not scene.is_met(after.owner) or scene.is_new(after.owner):
        return
    filled = after["default"] or after["identity"] or after["generated"]
    was = change.before
    if (
        after.is_("not_null")
        and not (was and was.is_("not_null") and not change.differs("default", "identity"))
        and not filled
    ):
        yield at(change, "what is behind its tables to be written", "NOT NULL without a default")


RULES = (
    Rule(
        "body-loses-column", BREAKS, "A column that a function names is gone", "The next statement that runs it fails.",
        "replace the function first", ("column",), _unmapped_gone,
        bad="ALTER TABLE orders DROP COLUMN search", good="ALTER TABLE orders DROP COLUMN spare",
    ),
    Rule(
        "body-meets-column", UNKNOWN, "A new column meets a function that takes whole rows, or a variable of its name",
        "INSERT … VALUES (NEW.*) puts values into other columns; a name that is a column and a variable is an error.",
        "name the columns in the function first", ("column",), _new_meets_body,
        bad="ALTER TABLE notes ADD COLUMN unit text", good="ALTER TABLE orders ADD COLUMN unit text",
    ),
    Rule(
        "name-ambiguous", UNKNOWN, "A new column of a name that a joined table has",
        "SQL that is written by hand and does not say which table it means is an error.",
        "write the table's name before the column in such SQL; SQLAlchemy's own statements do", ("column",), _ambiguous,
        bad="ALTER TABLE items ADD COLUMN amount int", good="ALTER TABLE items ADD COLUMN count int",
    ),
    Rule(
        "behind-required", UNKNOWN, "A required column in a table that a release writes through a trigger", "",
        "give it a default", ("column",), _hidden_required,
        bad="DELETE FROM marks; ALTER TABLE marks ADD COLUMN kind text NOT NULL", good="ALTER TABLE marks ADD COLUMN kind text NOT NULL DEFAULT 'x'",
    ),
)  # fmt: skip
