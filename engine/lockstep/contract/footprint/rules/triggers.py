"""Rules about triggers, rules and policies, of what a release maps and of what is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.contract.footprint import bodies
from lockstep.contract.footprint.reach import functions_of
from lockstep.contract.footprint.scene import BREAKS, UNKNOWN, Match, Rule, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Change, Snapshot, Thing

BEFORE_INSERT_ROW = 7  # the bits of pg_trigger.tgtype
_OFF = {"D", "R"}


def _concerns(scene: Scene, thing: Thing) -> bool:
    return scene.is_met(thing.owner) and (not scene.is_new(thing.owner) or scene.is_child(thing.owner))


def _fills(function: Thing) -> frozenset[str]:
    body = bodies.function(function["language"] or "", function["body"] or "")
    return body.assigned if not body.raises else frozenset()


def _raises(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is None or not _concerns(scene, after) or after["enabled"] in _OFF or after.is_("conditional"):
        return
    if change.before is not None and not change.differs("definition", "enabled"):
        return
    function = scene.after.functions.get(after["function"] or "")
    if function is not None and bodies.function(function["language"] or "", function["body"] or "").raises:
        yield Match(after, "its writes done as before", f"a trigger {after.name} that raises an error", after.owner)


def _new(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is None or not _concerns(scene, after) or after["enabled"] in _OFF:
        return
    if change.before is None or change.differs("definition", "enabled"):
        yield Match(after, "its writes done as before", f"a new {change.kind} {after.name}", after.owner)


def _gone(scene: Scene, change: Change) -> Iterator[Match]:
    before = change.before
    if before is None or not scene.is_met(before.owner) or scene.is_gone(before.owner) or before["enabled"] in _OFF:
        return
    if change.after is None and any(
        one.oid == before.oid and one["enabled"] not in _OFF for one in scene.after.those("trigger", before.owner)
    ):
        return  # renamed, or its table was moved
    if change.after is None or (change.differs("enabled") and change.after["enabled"] in _OFF):
        yield Match(before, f"what {change.kind} {before.name} did", f"no such {change.kind}", before.owner)


def _filled_no_more(scene: Scene, _change: None) -> Iterator[Match]:
    """Find columns that a release leaves out, that must not be NULL, and that no trigger fills any more."""
    if not any(one.kind in {"trigger", "function", "column", "relation"} for one in scene.changes):
        return
    for owner in dict.fromkeys(one.owner for one in scene.before.every("trigger")):
        was = scene.before.relations.get(owner)
        relation = scene.after.find("relation", was.schema, was.name) if was else None
        oid = relation.oid if relation else 0
        tables = scene.mapped_after.get(oid)
        if relation is None or not tables:
            continue
        if was is None or relation["kind"] not in {"r", "p"}:
            continue
        filled_before = _filled(scene.before, was.oid)
        lost = filled_before - _filled(scene.after, oid)
        for name in sorted(lost):
            column, old = scene.after.column(oid, name), scene.before.column(was.oid, name)
            if (
                column is None
                or old is None
                or not column.is_("not_null")
                or column["default"]
                or column["identity"]
                or column["generated"]
            ):
                continue
            known = [one for table in tables for one in table.columns if one.name == name]
            if not known or any(one.may_omit_on_insert for one in known):
                yield Match(column, f"{name} filled where it leaves it out", "no trigger that fills it", oid, name)


def _filled(snapshot: Snapshot, oid: int) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for trigger, function in functions_of(snapshot, oid):
        if int(trigger["type"] or 0) & BEFORE_INSERT_ROW == BEFORE_INSERT_ROW:
            found |= _fills(function)
    return found


def always_filled(snapshot: Snapshot, oid: int) -> frozenset[str]:
    """Return the columns that a BEFORE INSERT trigger gives a value whatever the row is."""
    found: frozenset[str] = frozenset()
    for trigger, function in functions_of(snapshot, oid):
        if int(trigger["type"] or 0) & BEFORE_INSERT_ROW == BEFORE_INSERT_ROW and not trigger.is_("conditional"):
            found |= bodies.function(function["language"] or "", function["body"] or "").always
    return found


def _policy(scene: Scene, change: Change) -> Iterator[Match]:
    owner = change.thing.owner
    relation = scene.after.relations.get(owner)
    was = scene.before.relations.get(owner)
    if relation is None or not _concerns(scene, change.thing) or scene.is_gone(owner):
        return
    if relation.is_("row_security") or (was is not None and was.is_("row_security")):
        now = change.after
        words = (
            f"USING ({now['using']})" + (f" WITH CHECK ({now['check']})" if now["check"] else "")
            if now
            else "no such policy"
        )
        yield Match(change.thing, f"the rows that policy {change.thing.name} showed and took", words, owner)


RULES = (
    Rule(
        "trigger-raises", BREAKS, "A trigger that can only raise an error", "",
        "create it once no live release writes that", ("trigger",), _raises,
        bad="CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; "
        "CREATE TRIGGER no BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION no()",
        good="CREATE FUNCTION fine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
    ),
    Rule(
        "new-trigger", UNKNOWN, "A new trigger on what a release writes", "",
        "make sure that it neither refuses nor alters what the release writes", ("trigger", "rule"), _new,
        bad="CREATE TRIGGER more AFTER INSERT ON log FOR EACH ROW EXECUTE FUNCTION keep()",
        good="CREATE TABLE other (id int); CREATE TRIGGER more AFTER INSERT ON other FOR EACH ROW EXECUTE FUNCTION keep()",
    ),
    Rule(
        "trigger-gone", UNKNOWN, "A trigger is gone, or disabled", "What it filled, kept or refused is not any more.",
        "drop it once no live release counts on it", ("trigger", "rule"), _gone,
        bad="DROP TRIGGER notes_keep ON notes", good="CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    ),
    Rule(
        "filled-no-more", BREAKS, "A required column that no trigger fills any more", "",
        "give the column a default first", (), _filled_no_more,
        bad="DROP TRIGGER orders_fill ON orders",
        good="ALTER TABLE orders ALTER code SET DEFAULT ''; DROP TRIGGER orders_fill ON orders",
    ),
    Rule(
        "policy-changed", UNKNOWN, "A policy that shows or takes other rows", "",
        "make sure that the policies show and accept all that the release reads and writes", ("policy",), _policy,
        bad="ALTER POLICY all_notes ON notes USING (weight > 0)", good="CREATE POLICY more ON orders USING (false)",
    ),
)  # fmt: skip
