"""Rules about enums, domains and other types."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lockstep.contract.footprint.scene import UNKNOWN, Match, Rule, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Change, Snapshot


def _uses(scene: Scene, change: Change) -> bool:
    """Tell whether a release's tables have a column of the type."""
    return any(
        _plain(one["type"]) in names and scene.is_met(one.owner)
        for snapshot in (scene.before, scene.after)
        if (names := _made_of(snapshot, change.thing.name))
        for one in snapshot.every("column")
    )


def _made_of(snapshot: Snapshot, name: str) -> set[str]:
    """Return the type and all that are made of it: domains over it, composite types that hold it."""
    names, size = {name}, 0
    while len(names) > size:
        size = len(names)
        names |= {
            one.name for one in snapshot.every("type")
            if _plain(one["underlying"]) in names
            or any(_plain(part.rpartition(" ")[2]) in names for part in (one["attributes"] or "").split(", "))
        }  # fmt: skip
    return names


def _plain(type_: str | None) -> str:
    return (type_ or "").replace('"', "").removesuffix("[]").rpartition(".")[2]


def _order(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if not (before and after and change.differs("labels") and _uses(scene, change)):
        return
    old, new = _labels(before["labels"]), _labels(after["labels"])
    if [one for one in new if one in old] != [one for one in old if one in new]:
        yield Match(after, f"the order {before['labels']}", f"{after['labels']}")


def _labels_of(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if before and after and set(_labels(before["labels"])) != set(_labels(after["labels"])) and _uses(scene, change):
        yield Match(after, f"one of {before['labels']}", f"{after['labels']}")


def _labels(text: str | None) -> list[str]:
    return (text or "").split(", ")


def _checks(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if before and after and change.differs("checks", "not_null", "underlying", "collation") and _uses(scene, change):
        if _checked(before["checks"]) == _checked(after["checks"]) and not change.differs(
            "not_null", "underlying", "collation"
        ):
            return  # renamed, or validated
        words = after["checks"] or "no CHECK"
        yield Match(
            after,
            "its writes accepted as before",
            f"the domain {after.place} with {words}{' NOT NULL' if after.is_('not_null') else ''}",
        )


def _checked(text: str | None) -> list[str]:
    """Return a domain's conditions, whatever they are called."""
    return sorted(re.sub(r"^.*? (?=CHECK)| NOT VALID", "", one) for one in (text or "").split("; "))


def _default(scene: Scene, change: Change) -> Iterator[Match]:
    if change.differs("default") and _uses(scene, change) and change.before and change.after:
        yield Match(
            change.after,
            f"{change.before['default'] or 'NULL'} where it leaves it out",
            change.after["default"] or "NULL",
        )


def _shape(scene: Scene, change: Change) -> Iterator[Match]:
    if change.differs("type", "attributes") and _uses(scene, change) and change.after:
        yield Match(change.after, "the type as it knows it", change.after["attributes"] or "another kind of type")


def _gone(scene: Scene, change: Change) -> Iterator[Match]:
    if (
        change.after is None
        and change.before
        and not scene.came_by_extension(change.before)
        and change.before["type"] in {"e", "d", "c"}
    ):
        if scene.may(change.before, "U") and change.before.schema:
            yield Match(change.before, "the type, if it casts to it", "no such type")


def _closed(scene: Scene, change: Change) -> Iterator[Match]:
    for role in scene.lost(change.before, change.after):
        yield Match(change.after, "USAGE on the type", f"no such right for {scene.roles[role]}")


RULES = (
    Rule(
        "label-order", UNKNOWN, "Labels in another order", "ORDER BY and comparisons follow the order of the labels.",
        "keep their order", ("type",), _order,
        bad="ALTER TYPE mood RENAME TO mood_old; CREATE TYPE mood AS ENUM ('ok', 'sad'); "
        "ALTER TABLE orders ALTER mood TYPE mood USING mood::text::mood; DROP TYPE mood_old",
        good="ALTER TABLE orders ADD COLUMN mood2 mood",
    ),
    Rule(
        "label-unknown", UNKNOWN, "Labels that a release does not know", "Reading one raises LookupError.",
        "write it once every live release knows it", ("type",), _labels_of,
        bad="ALTER TYPE mood ADD VALUE 'new'", good="CREATE TYPE mood2 AS ENUM ('a')",
    ),
    Rule(
        "domain-changed", UNKNOWN, "A domain that takes other values", "",
        "make sure that what the release writes holds it", ("type",), _checks,
        bad="ALTER DOMAIN short_text ADD CONSTRAINT known CHECK (VALUE IN ('a')) NOT VALID",
        good="CREATE DOMAIN shorter AS text CHECK (length(VALUE) < 3)",
    ),
    Rule(
        "domain-default", UNKNOWN, "A domain with another default", "",
        "let the new release send the value", ("type",), _default,
        bad="ALTER DOMAIN short_text SET DEFAULT 'x'", good="CREATE DOMAIN shorter AS text DEFAULT 'x'",
    ),
    Rule(
        "type-shape", UNKNOWN, "A composite type with other attributes", "",
        "make a second type", ("type",), _shape,
        bad="ALTER TYPE place RENAME ATTRIBUTE x TO z", good="CREATE TYPE place3 AS (x int)",
    ),
    Rule(
        "type-gone", UNKNOWN, "A type is gone", "Statements cast to it by name.",
        "drop it once no live release names it", ("type",), _gone,
        bad="DROP TYPE spare_mood", good="CREATE TYPE mood2 AS ENUM ('a')",
    ),
    Rule(
        "type-closed", UNKNOWN, "The right to use a type is gone", "",
        "grant USAGE on it again", ("type",), _closed,
        bad="REVOKE USAGE ON TYPE mood FROM PUBLIC", good="GRANT USAGE ON TYPE mood TO app_role",
    ),
)  # fmt: skip
