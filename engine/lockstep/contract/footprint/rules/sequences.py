"""Rules about sequences: their place, their settings, their rights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lockstep.contract.footprint.scene import BREAKS, UNKNOWN, Match, Rule, Scene
from lockstep.postgres.statements import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Change, Thing

_NEXTVAL = re.compile(r"^nextval\('([^']+)'::regclass\)$")


def _fed(scene: Scene, sequence: Thing) -> list[Thing]:
    """Return the columns that a sequence fills."""
    found = []
    if sequence.owner and sequence["column"]:
        found += [
            one for one in scene.after.those("column", sequence.owner)
            if one["number"] == sequence["column"] and (one["identity"] or sequence.name in (one["default"] or ""))
        ]  # fmt: skip
    for one in scene.after.every("column"):
        match = _NEXTVAL.match(one["default"] or "")
        if match and match[1].rpartition(".")[2].strip('"') == sequence.name and one not in found:
            found.append(one)
    return found


def _next(scene: Scene, sequence: Thing) -> int:
    """Return the number that it gives next; before its first one only its own row tells, which RESTART writes."""
    last, step = sequence["last"], int(sequence["increment"] or 1)
    if last is not None:
        return int(last) + step
    there = None
    if scene.after.find("sequence", sequence.schema, sequence.name) is sequence:
        there = scene.look.value(f"SELECT last_value FROM {quoted(sequence.schema)}.{quoted(sequence.name)}")
    return int(sequence["start"] or 1) if there is None else int(there)


def _greatest(scene: Scene, column: Thing, *, up: bool) -> int | None:
    relation = scene.after.relations.get(column.owner)
    if relation is None or relation["kind"] not in {"r", "p"}:
        return None
    # Only what a unique index compares: not the rows of tables that inherit from it.
    only = "ONLY " if relation["kind"] == "r" else ""
    where = f"{only}{quoted(relation.schema)}.{quoted(relation.name)}"
    found = scene.look.value(f"SELECT {'max' if up else 'min'}({quoted(column.name)})::bigint FROM {where}")
    return int(found) if found is not None else None


def _behind(scene: Scene, _change: None) -> Iterator[Match]:
    for sequence in _to_look_at(scene):
        up = int(sequence["increment"] or 1) > 0
        for column in _fed(scene, sequence):
            if not scene.is_met(column.owner) or not _is_key(scene, column):
                continue
            greatest, following = _greatest(scene, column, up=up), _next(scene, sequence)
            if greatest is not None and (following <= greatest if up else following >= greatest):
                offers = f"{following} next, and {greatest} is there"
                yield Match(column, "numbers that are not there yet", offers, column.owner, column.name)


_MOST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}


def _ended(scene: Scene, _change: None) -> Iterator[Match]:
    """Find sequences whose next number is beyond their own end, or beyond what their column holds."""
    for sequence in _to_look_at(scene):
        following, columns = _next(scene, sequence), [one for one in _fed(scene, sequence) if scene.is_met(one.owner)]
        if not columns and not scene.is_drawn(sequence):
            continue
        most, least = int(sequence["maximum"] or 0), int(sequence["minimum"] or 0)
        if not least <= following <= most and not sequence.is_("cycles"):
            yield Match(sequence, "a next number", f"its end at {most if following > most else least}")
        was = scene.before.find("sequence", sequence.schema, sequence.name)
        if not columns and following > _MOST["integer"] and was and _next(scene, was) <= _MOST["integer"]:
            yield Match(sequence, "numbers that an integer holds", f"{following} next", verdict=UNKNOWN)
        for one in columns:
            if following > (limit := _MOST.get(one["type"] or "", following)):
                yield Match(one, f"numbers up to {limit}", f"{following} next", one.owner, one.name)


def _is_key(scene: Scene, column: Thing) -> bool:
    return any(
        one.is_("unique") and (one["numbers"] or "").split() == [column["number"]]
        for one in scene.after.those("index", column.owner)
    )


def _to_look_at(scene: Scene) -> Iterator[Thing]:
    """Give the sequences that have changed, and those that have come to fill a column, or another table's."""
    seen = set()
    defaults = " ".join(one.after["default"] or "" for one in scene.changes if one.kind == "column" and one.after)
    filled = {one.after.oid for one in scene.changes if one.kind == "relation" and one.after and _is_other(one)}
    filled |= {
        one.after.owner for one in scene.changes if one.kind == "column" and one.after and one.differs("identity")
    }
    written = {oid for oid, rows in scene.rows.items() if rows.inserted}
    moved_ones = {one.after.oid for one in scene.changes if one.kind == "sequence" and one.after and _has_moved(one)}
    if not (moved_ones or "nextval" in defaults or filled or written):
        return
    for one in scene.after.every("sequence"):
        moved = one.oid in moved_ones
        if moved or one.name in defaults or one.owner in filled or (one.owner in written and one.owner):
            if one.oid not in seen:
                seen.add(one.oid)
                yield one


def _has_moved(change: Change) -> bool:
    """Tell whether a sequence is new, or gives other numbers; not whether its rights are others."""
    return bool(change.after) and (change.before is None or change.before.facts[:8] != change.after.facts[:8])


def _is_other(change: Change) -> bool:
    return bool(change.before and change.after and change.before.oid != change.after.oid)


def _back(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if not (before and after) or not change.differs("last", "start") or change.differs("increment"):
        return
    up = int(after["increment"] or 1) > 0
    was, now = _next(scene, before), _next(scene, after)
    if (now < was if up else now > was) and not _fed(scene, after):
        yield Match(
            after, f"numbers from {was} on", f"{now} once more", verdict=BREAKS if scene.is_drawn(after) else ""
        )


def _turned(_scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if before and after and change.differs("increment"):
        if int(before["increment"] or 1) * int(after["increment"] or 1) < 0:
            yield Match(after, "rising numbers", f"INCREMENT BY {after['increment']}")


def _settings(_scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if before and after and change.differs("increment", "minimum", "maximum", "cycles", "cache", "type"):
        words = [
            f"{name} {after[name]}"
            for name in ("increment", "minimum", "maximum", "cycles", "cache", "type")
            if before[name] != after[name]
        ]
        if not _only_wider(change):
            yield Match(after, "its numbers as they were", ", ".join(words))


def _only_wider(change: Change) -> bool:
    before, after = change.before, change.after
    assert before is not None and after is not None  # noqa: S101, PT018 - asked where both are there
    return not change.differs("increment", "cycles", "cache", "minimum") and int(after["maximum"] or 0) >= int(
        before["maximum"] or 0
    )


def _gone(scene: Scene, change: Change) -> Iterator[Match]:
    before = change.before
    if change.after is not None or before is None or scene.is_gone(before.owner):
        return
    if before.owner and any(one.oid == before.oid for one in scene.after.every("sequence")):
        return  # moved or renamed, and its column finds it
    if scene.is_drawn(before) or not before.owner:
        yield Match(before, "the sequence, if it draws from it", "nothing of that name")


def _rights(scene: Scene, change: Change) -> Iterator[Match]:
    for role, letters in scene.lost(change.before, change.after).items():
        if "U" in letters and change.after:
            # An identity column draws with nobody's rights; only a call of nextval() of its own would not.
            fed = _fed(scene, change.after)
            drawn = scene.is_drawn(change.after) and not (fed and all(one["identity"] for one in fed))
            yield Match(
                change.after,
                "USAGE on the sequence",
                f"no such right for {scene.roles[role]}",
                verdict=BREAKS if drawn else "",
            )


def _new_closed(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is None or change.before is not None or not scene.roles:
        return
    for column in _fed(scene, after):
        if column["identity"] or not scene.is_met(column.owner) or scene.is_new(column.owner) or scene.may(after, "U"):
            continue
        yield Match(after, "USAGE on the sequence", "no such right for the app's role", column.owner, column.name)


RULES = (
    Rule(
        "sequence-behind", BREAKS, "A sequence that comes to numbers that are there",
        "The next INSERT takes a key that a row has.",
        "SELECT setval('…', (SELECT max(id) FROM …)) in the same revision", (), _behind,
        bad="INSERT INTO orders (amount) VALUES (1), (2); ALTER TABLE orders ALTER id RESTART WITH 1",
        good="INSERT INTO orders (amount) VALUES (1), (2); ALTER TABLE orders ALTER id RESTART WITH 100",
    ),
    Rule(
        "sequence-ended", BREAKS, "A sequence that is at its end", "The next INSERT is an error: no number is left, or none that the column holds.",
        "leave it where numbers are left, or give the column a wider type first", (), _ended,
        bad="ALTER SEQUENCE orders_id_seq AS bigint RESTART WITH 3000000000",
        good="ALTER SEQUENCE orders_id_seq AS bigint RESTART WITH 3000",
    ),
    Rule(
        "sequence-back", UNKNOWN, "A sequence that gives numbers once more", "",
        "leave it where it is", ("sequence",), _back,
        bad="ALTER SEQUENCE numbers RESTART WITH 1", good="ALTER SEQUENCE numbers RESTART WITH 1000",
    ),
    Rule(
        "sequence-turned", BREAKS, "A sequence that runs the other way", "It comes to the numbers that it gave.",
        "leave it, and make another", ("sequence",), _turned,
        bad="ALTER SEQUENCE numbers INCREMENT BY -1", good="CREATE SEQUENCE down INCREMENT BY -1",
    ),
    Rule(
        "sequence-settings", UNKNOWN, "A sequence with other settings", "",
        "change them once no live release counts on them", ("sequence",), _settings,
        bad="ALTER SEQUENCE numbers INCREMENT BY 10", good="ALTER SEQUENCE numbers OWNED BY NONE",
    ),
    Rule(
        "sequence-gone", UNKNOWN, "A sequence is gone", "A release may draw from one that its models do not name.",
        "drop it once no live release draws from it", ("sequence",), _gone,
        bad="DROP SEQUENCE numbers", good="CREATE SEQUENCE more",
    ),
    Rule(
        "sequence-closed", UNKNOWN, "The right to draw from a sequence is gone", "",
        "grant USAGE on it again in the same revision", ("sequence",), _rights,
        bad="REVOKE ALL ON SEQUENCE numbers FROM app_role", good="GRANT USAGE ON SEQUENCE numbers TO app_role",
    ),
    Rule(
        "sequence-not-open", BREAKS, "A default draws from a sequence that the app's role may not use", "",
        "GRANT USAGE ON SEQUENCE … in the same revision", ("sequence",), _new_closed,
        bad="CREATE SEQUENCE mine; REVOKE ALL ON SEQUENCE mine FROM app_role; ALTER TABLE orders ALTER amount SET DEFAULT nextval('mine')",
        good="CREATE SEQUENCE mine; GRANT USAGE ON SEQUENCE mine TO app_role; ALTER TABLE orders ALTER amount SET DEFAULT nextval('mine')",
    ),
)  # fmt: skip
