"""Rules about columns: collation, default, identity, generation, type; and what a new one meets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lockstep.contract.footprint import bodies
from lockstep.contract.footprint.rules import limits
from lockstep.contract.footprint.scene import BREAKS, UNKNOWN, Match, Rule, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Change, Thing

_COUNTED = {("smallint", "integer"), ("smallint", "bigint"), ("integer", "bigint"), ("real", "double precision")}
_FROZEN = re.compile(
    r"^(?:-?\d+(?:\.\d+)?|'(?:[^']|'')*'(?:::[\w .\[\]\"(),]+)?|true|false|now\(\)|CURRENT_\w+|NULL.*)$"
)


def _owner(change: Change) -> int:
    return change.thing.owner


def _met(scene: Scene, change: Change) -> bool:
    """Tell whether both are there, of a table that a release meets."""
    return bool(change.before and change.after) and scene.is_met(_owner(change))


def _left_out(scene: Scene, column: Thing) -> bool:
    """Tell whether a release may leave the column out of an INSERT: also one that it does not know."""
    known = scene.columns(column.owner, column.name)
    return not known or any(one.may_omit_on_insert for one in known)


def _made_anew(scene: Scene, change: Change) -> Iterator[Match]:
    """Find another column under the name: its place in the row is another. A table made anew is told by itself."""
    before, after = change.before, change.after
    if before and after and before.owner == after.owner and change.differs("number") and scene.is_met(after.owner):
        if not (before["generated"] or after["generated"]):
            yield at(change, "its values, and its place in whole rows", "another column under its name")


def _collation(scene: Scene, change: Change) -> Iterator[Match]:
    if _met(scene, change) and change.differs("collation") and change.before and change.after:
        if "nondeterministic" not in (change.after["collation"] or ""):
            yield at(
                change, "values sorted and compared as before", f"collation {change.after['collation'] or 'default'}"
            )


def _nondeterministic(scene: Scene, change: Change) -> Iterator[Match]:
    if _met(scene, change) and change.differs("collation") and change.after:
        if "nondeterministic" in (change.after["collation"] or ""):
            yield at(change, "values that differ to be different", f"collation {change.after['collation']}")


def _default(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if not _met(scene, change) or not before or not after or not change.differs("default") or after["generated"]:
        return
    if _left_out(scene, after) and not (after["identity"] or before["identity"]):
        if _is_sequence(before["default"]) and _is_sequence(after["default"]):
            return  # the sequence is looked at
        if {before["default"], after["default"]} == {"now()", "CURRENT_TIMESTAMP"}:
            return  # two words for one
        yield at(change, f"{before['default'] or 'NULL'} where it leaves it out", after["default"] or "NULL")


def _is_sequence(default: str | None) -> bool:
    return bool(default) and str(default).startswith("nextval(")


def _default_fails(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if (
        not after
        or not after["default"]
        or after["generated"]
        or not scene.is_met(after.owner)
        or not _left_out(scene, after)
    ):
        return
    if change.before and not change.differs("default", "type"):
        return
    yield from _evaluated(scene, after)


def _other_default_fails(scene: Scene, _change: None) -> Iterator[Match]:
    """Evaluate defaults whose functions or sequences have changed beneath them."""
    changed = {one.thing["name"] or "" for one in scene.changes if one.kind in {"function", "builtin"}}
    changed |= {one.thing.name for one in scene.changes if one.kind in {"sequence", "type"}}
    if not changed:
        return
    touched = {(one.thing.owner, one.thing.name) for one in scene.changes if one.kind == "column"}
    for column in scene.after.every("column"):
        default = column["default"]
        if (
            not default
            or column["generated"]
            or (column.owner, column.name) in touched
            or not scene.is_met(column.owner)
        ):
            continue
        body = bodies.expression(default)
        run = {name for _, name in body.functions}
        for name in tuple(run):
            for function in scene.after.every("function"):
                if function["name"] == name and not function["extension"]:
                    inner = bodies.function(function["language"] or "", function["body"] or "")
                    run |= {one for _, one in inner.functions} | {one.rpartition(".")[2] for one in inner.literals}
        if run & changed and _left_out(scene, column):
            yield from _evaluated(scene, column)


def _evaluated(scene: Scene, column: Thing) -> Iterator[Match]:
    default = column["default"] or ""
    if _FROZEN.match(default) and "::" not in default:
        return
    if any(name == "nextval" for _, name in bodies.expression(default).functions):
        return  # it would take a number
    for role in scene.look.roles or (None,):
        failed = scene.look.fails(f"SELECT CAST(({default}) AS {column['type']})", role=role)
        if failed is not None:
            yield Match(
                column, "to leave it out on INSERT", f"DEFAULT {default}: {failed.text}", column.owner, column.name
            )
            return


def _generated(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if not after or not scene.is_met(after.owner):
        return
    if before and change.differs("generated", "default") and (before["generated"] or after["generated"]):
        yield at(change, before["default"] or "what it writes", f"{after['default'] or 'no expression'}")


def _new_generated(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if (
        after
        and not change.before
        and after["generated"]
        and scene.is_met(after.owner)
        and not scene.is_new(after.owner)
    ):
        body = bodies.expression(after["default"] or "")
        total = not body.functions and not re.search(r"[/%^]|::|<<|>>|-|\+|\*", after["default"] or "")
        if (after.is_("not_null") or not total) and not limits.generates(scene, after):
            yield at(change, "its writes accepted as before", f"a new column generated from {after['default']}")


def _type(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if not _met(scene, change) or not before or not after or not change.differs("type"):
        return
    pair = (_plain(before["type"]), _plain(after["type"]))
    if pair in _COUNTED:
        yield at(change, f"sums and casts of {before['type']}", f"{after['type']}, whose sum() is another type")
    elif "citext" in pair:
        yield at(change, f"values compared as {before['type']}", f"{after['type']}, for which a and A are equal")
    elif not scene.is_mapped(after.owner) or (pair[0] != pair[1] and not (pair[0] in _TEXTS and pair[1] in _TEXTS)):
        yield at(change, before["type"] or "", after["type"] or "")


_TEXTS = {"text", "character varying"}


def _plain(type_: str | None) -> str:
    return (type_ or "").partition("(")[0].rpartition(".")[2].strip()


def _identity(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if _met(scene, change) and before and after and change.differs("identity"):
        if (after["identity"] == "a" and not scene.is_mapped(after.owner)) or (
            not after["identity"] and not after["default"]
        ):
            yield at(
                change,
                "numbers of its own, where it sends them",
                "GENERATED ALWAYS" if after["identity"] else "no identity",
            )
        elif before["identity"] == "a":
            return


def at(change: Change, needs: str, offers: str, verdict: str = "") -> Match:
    """Make a finding at the column of a change."""
    thing = change.thing
    return Match(thing, needs, offers, thing.owner, thing.name, verdict)


RULES = (
    Rule(
        "column-made-anew", UNKNOWN, "Another column under a name", "What was in the old one has to be in it; whole rows "
        "(NEW.*, SELECT *, INSERT without names) have another order.",
        "make sure that the values were copied, and that no function takes whole rows", ("column",), _made_anew,
        bad="ALTER TABLE log DROP COLUMN what; ALTER TABLE log ADD COLUMN what text",
        good="ALTER TABLE log RENAME COLUMN what TO x; ALTER TABLE log RENAME COLUMN x TO what",
    ),
    Rule(
        "collation-changed", UNKNOWN, "Another collation", "ORDER BY and comparisons give another order.",
        "add a column with the new collation", ("column",), _collation,
        bad='ALTER TABLE orders ALTER note TYPE text COLLATE "C"', good='ALTER TABLE orders ADD COLUMN note2 text COLLATE "C"',
    ),
    Rule(
        "collation-nondeterministic", BREAKS, "A collation for which different values are equal",
        "UNIQUE refuses what it took, and LIKE may be an error.",
        "add a column with the new collation", ("column",), _nondeterministic,
        bad="CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); "
        "ALTER TABLE orders ALTER note TYPE text COLLATE ci",
        good="CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    ),
    Rule(
        "default-changed", UNKNOWN, "Another default", "Rows in which the release leaves it out get another value.",
        "let the new release send the value, and change the default later", ("column",), _default,
        bad="ALTER TABLE orders ALTER state SET DEFAULT 'other'", good="ALTER TABLE orders ALTER state SET DEFAULT 'new'",
    ),
    Rule(
        "default-fails", BREAKS, "A default that is an error", "It was evaluated as the app's role.",
        "correct the default, or grant EXECUTE on its functions", ("column",), _default_fails,
        bad="CREATE FUNCTION no() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; "
        "ALTER TABLE orders ALTER state SET DEFAULT no()",
        good="CREATE FUNCTION yes() RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$; ALTER TABLE orders ALTER state SET DEFAULT yes()",
    ),
    Rule(
        "default-broken", BREAKS, "A default whose function is an error now", "It was evaluated as the app's role.",
        "correct the function, or grant EXECUTE on it", (), _other_default_fails,
        bad="CREATE OR REPLACE FUNCTION slug() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$",
        good="CREATE OR REPLACE FUNCTION slug() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN 'y'; END $$",
    ),
    Rule(
        "generated-changed", UNKNOWN, "Another generated value", "",
        "add a second column", ("column",), _generated,
        bad="ALTER TABLE orders DROP COLUMN twice; ALTER TABLE orders ADD COLUMN twice int GENERATED ALWAYS AS (amount * 3) STORED",
        good="ALTER TABLE orders ADD COLUMN thrice int",
    ),
    Rule(
        "new-generated", UNKNOWN, "A new generated column", "Where its expression is an error, or NULL and must not be, the row is refused.",
        "make sure that it has a value for all that the release writes", ("column",), _new_generated,
        bad="ALTER TABLE orders ADD COLUMN share int GENERATED ALWAYS AS (100 / nullif(amount, 0)) STORED",
        good="ALTER TABLE orders ADD COLUMN same int GENERATED ALWAYS AS (amount) STORED",
    ),
    Rule(
        "type-arithmetic", UNKNOWN, "A wider type counts in another one",
        "sum() of bigint is numeric, an average or a rounded value has other digits.",
        "cast in the release's own queries first", ("column",), _type,
        bad="ALTER TABLE notes ALTER weight TYPE double precision", good="ALTER TABLE notes ADD COLUMN weight2 double precision",
    ),
    Rule(
        "identity-changed", UNKNOWN, "Numbers that the release may not send any more", "",
        "leave it BY DEFAULT until no live release sends numbers", ("column",), _identity,
        bad="ALTER TABLE orders ALTER id DROP IDENTITY", good="ALTER TABLE orders ALTER id SET GENERATED BY DEFAULT",
    ),
)  # fmt: skip
