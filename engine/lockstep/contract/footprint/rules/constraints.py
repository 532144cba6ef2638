"""Rules about constraints and indexes, of what a release maps and of what is behind it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lockstep.contract.footprint.rules import limits
from lockstep.contract.footprint.scene import UNKNOWN, Match, Rule, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Change, Thing

KINDS = {"c": "CHECK", "x": "EXCLUDE", "f": "FOREIGN KEY", "u": "UNIQUE", "p": "PRIMARY KEY"}
# A btree's entry holds 2,700 bytes; these types have no length of their own.
_LONG = re.compile(r"^(?:25|17|114|3802|1009|1015|1007|142|1043):-1$")


def _inherited(thing: Thing) -> bool:
    return thing["parent"] not in {None, "0"}


def _concerns(scene: Scene, thing: Thing) -> bool:
    """Tell whether a release meets the table, and did before: a new one has no rows to be refused."""
    return scene.is_met(thing.owner) and (not scene.is_new(thing.owner) or scene.is_child(thing.owner))


def _new(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is None or _inherited(after) or not _concerns(scene, after) or not after.is_("enforced"):
        return
    if change.before is not None and not change.differs("definition", "enforced"):
        return
    if change.before is not None and _without(change.before["definition"]) == _without(after["definition"]):
        return  # validated, or checked at another time
    if after["type"] in {"c", "x", "f"} or (after["type"] in {"u", "p"} and not _was_unique(scene, after)):
        if any(
            _without(one["definition"]) == _without(after["definition"])
            for one in scene.before.those("constraint", _old(scene, after.owner))
        ):
            return  # the same under another name
        if limits.holds_for_all(scene, change):
            return  # every value that there can be was tried
        yield Match(
            after,
            "its writes accepted as before",
            f"a new {KINDS[after['type'] or 'c']} {after.name}: {after['definition']}",
            after.owner,
        )


def _without(definition: str | None) -> str:
    return re.sub(r" (NOT VALID|(NOT )?DEFERRABLE|INITIALLY DEFERRED|NOT ENFORCED)", "", definition or "")


def _old(scene: Scene, owner: int) -> int:
    """Return the oid that what has this relation's name had before."""
    there = scene.after.relations.get(owner)
    before = scene.before.find("relation", there.schema, there.name) if there else None
    return before.oid if before else owner


def _was_unique(scene: Scene, after: Thing) -> bool:
    keys = after["columns"]
    return any(
        one.is_("unique") and one["keys"] == keys and one["predicate"] is None
        for one in scene.before.those("index", _old(scene, after.owner))
    )


def _new_unique(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is None or not after.is_("unique") or not _concerns(scene, after):
        return
    there = scene.before.those("index", _old(scene, after.owner))
    if any(
        one.is_("unique") and (one["keys"], one["predicate"]) == (after["keys"], after["predicate"]) for one in there
    ):
        return
    if any(one.name == after.name for one in scene.after.those("constraint", after.owner)):
        return  # the constraint tells it
    if (scene.relation(after.owner) or after)["parents"] and _is_of_parent(scene, after):
        return
    yield Match(
        after, "its writes accepted as before", f"a new unique index {after.name}: {after['definition']}", after.owner
    )


def _is_of_parent(scene: Scene, index: Thing) -> bool:
    relation = scene.relation(index.owner)
    return any(
        one.is_("unique") and one["keys"] == index["keys"]
        for parent in ((relation["parents"] if relation else "") or "").split()
        for one in scene.before.those("index", int(parent))
    )


def _gone(scene: Scene, change: Change) -> Iterator[Match]:
    before = change.before
    if change.after is not None or before is None or _inherited(before) or not scene.is_met(before.owner):
        return
    if scene.is_gone(before.owner) or before["type"] == "c":
        return  # what is checked no more is accepted more
    if not _is_there(scene, before.owner):
        return
    yield Match(
        before, f"{KINDS[before['type'] or 'c']} {before.name}, if it counts on it", "no such constraint", before.owner
    )


def _is_there(scene: Scene, owner: int) -> bool:
    """Tell whether a relation of the name is still what it was: of one made anew another rule tells."""
    before = scene.before.relations.get(owner)
    after = scene.after.find("relation", before.schema, before.name) if before else None
    return after is not None and before is not None and after["kind"] in {"r", "p", "f"}


def _timing(scene: Scene, change: Change) -> Iterator[Match]:
    if change.after and scene.is_met(change.after.owner) and change.differs("deferrable", "deferred"):
        if not _inherited(change.after):
            yield Match(
                change.after,
                f"{change.after.name} checked when it was",
                change.after["definition"] or "",
                change.after.owner,
            )


def _index_gone(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if (
        before is None
        or not before.is_("unique")
        or not scene.is_met(before.owner)
        or not _is_there(scene, before.owner)
    ):
        return
    if after is not None and not change.differs("unique", "valid", "immediate", "definition", "predicate"):
        return
    now = scene.after.those("index", _now(scene, before.owner))
    same = [one for one in now if one.is_("unique") and one.is_("valid")
            and (one["keys"], one["predicate"], one["immediate"]) == (before["keys"], before["predicate"], before["immediate"])]  # fmt: skip
    if not same:
        yield Match(before, f"{before['keys']} unique, if it upserts by it", f"no such {before.name}", before.owner)


def _now(scene: Scene, owner: int) -> int:
    before = scene.before.relations.get(owner)
    after = scene.after.find("relation", before.schema, before.name) if before else None
    return after.oid if after else owner


def _long(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is None or after["method"] != "btree" or not _concerns(scene, after):
        return
    if change.before is not None and not change.differs("definition"):
        return
    had = {
        number for one in scene.before.those("index", _old(scene, after.owner))
        if one["method"] == "btree" and one["predicate"] is None for number in (one["numbers"] or "").split()
    }  # fmt: skip
    pairs = zip((after["types"] or "").split(), (after["numbers"] or "").split(), strict=False)
    if any(
        _LONG.match(kind) and number not in had and (number != "0" or not _bounded(scene, after))
        for kind, number in pairs
    ):
        yield Match(
            after, "values of any length", f"a btree index {after.name}, whose entries hold 2,700 bytes", after.owner
        )


def _bounded(scene: Scene, index: Thing) -> bool:
    """Tell whether an expression is made of columns that have a limit, by functions that hardly lengthen a text."""
    named = [
        one
        for one in scene.after.those("column", index.owner)
        if re.search(rf"\b{re.escape(one.name)}\b", index["keys"] or "")
    ]
    limited = all(
        re.fullmatch(
            r"[\w ]+\((\d{1,3})\)|(big|small)?int(eger)?|date|uuid|boolean|real|double precision", one["type"] or ""
        )
        for one in named
    )
    return bool(named) and limited and _simple(index)


def _expression(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is None or not _concerns(scene, after) or after["method"] == "brin":
        return
    if change.before is not None and not change.differs("definition", "predicate"):
        return
    computed = "0" in (after["numbers"] or "").split() or after["predicate"]
    if computed and re.search(r"\w\(|::|[/]", f"{after['keys']} {after['predicate'] or ''}"):
        if (
            not re.fullmatch(
                r"\(*(lower|upper|coalesce|length|date_trunc|btrim)\(.*", after["keys"] or "", re.IGNORECASE
            )
            or after["predicate"]
        ):
            if not _simple(after):
                yield Match(
                    after,
                    "its writes accepted as before",
                    f"an index whose expression may be an error: {after['keys']}",
                    after.owner,
                )


def _simple(index: Thing) -> bool:
    """Tell whether neither key nor predicate can fail: names, literals, comparisons, and functions that take anything."""
    text = f"{index['keys']} {index['predicate'] or ''}"
    text = re.sub(r"'(?:[^']|'')*'(?:::[\w ]+)?|\(?\b\w+\)?::text\b", "x", text)
    calls = set(re.findall(r"(\w+)\s*\(", text)) - {"and", "or", "AND", "OR", "NOT", "IN"}
    return (
        calls <= {"lower", "upper", "coalesce", "length", "btrim", "COALESCE"} and "::" not in text and "/" not in text
    )


RULES = (
    Rule(
        "new-limit", UNKNOWN, "A new constraint on what a release writes", "What it writes may not hold it.",
        "make sure that it does, or add it once that release is gone", ("constraint",), _new,
        bad="ALTER TABLE log ADD CONSTRAINT short CHECK (length(what) < 3)",
        good="ALTER TABLE log ADD COLUMN more text",
    ),
    Rule(
        "new-unique", UNKNOWN, "A new unique index on what a release writes", "",
        "make sure that what it writes is unique, or add it once that release is gone", ("index",), _new_unique,
        bad="CREATE UNIQUE INDEX one ON notes (weight)", good="CREATE INDEX many ON notes (weight)",
    ),
    Rule(
        "constraint-gone", UNKNOWN, "A constraint is gone",
        "ON DELETE CASCADE does not happen any more, ON CONFLICT ON CONSTRAINT is an error, double rows are taken.",
        "drop it once no live release counts on it", ("constraint",), _gone,
        bad="ALTER TABLE items DROP CONSTRAINT items_order_id_fkey", good="ALTER TABLE orders DROP CONSTRAINT small",
    ),
    Rule(
        "constraint-timing", UNKNOWN, "A constraint that is checked at another time",
        "A deferrable one takes no ON CONFLICT; one that is not refuses what is put right later in the transaction.",
        "leave it as it is while a release counts on it", ("constraint",), _timing,
        bad="ALTER TABLE items ALTER CONSTRAINT items_order_id_fkey DEFERRABLE INITIALLY DEFERRED",
        good="ALTER TABLE items RENAME CONSTRAINT items_order_id_fkey TO other",
    ),
    Rule(
        "unique-changed", UNKNOWN, "A unique index that no ON CONFLICT finds any more", "",
        "keep it while a live release may name it in ON CONFLICT", ("index",), _index_gone,
        bad="DROP INDEX once",
        good="CREATE INDEX more ON orders (amount)",
    ),
    Rule(
        "index-long", UNKNOWN, "A btree index on values without a limit", "A value of more than 2,700 bytes is refused.",
        "index md5() or left() of it, or use a hash index", ("index",), _long,
        bad="CREATE INDEX by_note ON orders (note)", good="CREATE INDEX by_note ON orders USING hash (note)",
    ),
    Rule(
        "index-expression", UNKNOWN, "An index whose expression may be an error", "A row for which it is one is refused.",
        "make sure that it is none for all that the release writes", ("index",), _expression,
        bad="CREATE INDEX share ON orders ((100 / amount))", good="CREATE INDEX low ON orders (lower(short))",
    ),
)  # fmt: skip
