"""Rules that prove a change harmless: nothing that a release does can meet it, or only in ways that give it more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.contract.footprint.scene import HARMLESS, Match, Rule, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Change

_OF_RELATIONS = ("column", "constraint", "index", "trigger", "rule", "policy")


def _proved(change: Change) -> Iterator[Match]:
    yield Match(change.thing, "", "", change.thing.owner)


def _unmet(scene: Scene, change: Change) -> Iterator[Match]:
    owner = change.thing.owner or change.thing.oid
    if change.kind in (*_OF_RELATIONS, "relation") and not scene.is_met(owner):
        yield from _proved(change)


def _came_or_went(scene: Scene, change: Change) -> Iterator[Match]:
    """Prove what a table brought along, or took with it; of the table itself its own rules tell."""
    owner = change.thing.owner
    if change.kind in _OF_RELATIONS and (scene.is_gone(owner) or (scene.is_new(owner) and not scene.is_child(owner))):
        yield from _proved(change)
    elif change.kind in _OF_RELATIONS and change.after is None:
        there = scene.before.relations.get(owner)
        now = scene.after.find("relation", there.schema, there.name) if there else None
        if now is not None and there is not None and now["kind"] != there["kind"]:
            yield from _proved(change)


# What nothing takes that does not name it.
_BY_NAME_ONLY = {"collation", "text search configuration", "text search dictionary", "server"}


def _by_name_only(change: Change) -> bool:
    return change.kind == "other" and change.thing["what"] in _BY_NAME_ONLY


def _new(scene: Scene, change: Change) -> Iterator[Match]:
    del scene
    if change.before is None and (change.kind not in {"setting", "other"} or _by_name_only(change)):
        yield from _proved(change)


def _mapped(scene: Scene, change: Change) -> Iterator[Match]:
    """Prove what the contract tells of: a column or a table that a release maps, or that it does not name."""
    if change.kind in {"column", "relation"} and scene.is_met(change.thing.owner or change.thing.oid):
        if (
            (
                change.kind == "relation"
                and (change.before is None or change.after is None or change.before.facts == change.after.facts)
            )
            or (
                change.kind == "column"
                and (
                    change.after is None
                    or change.differs("number", "not_null", "type", "default", "identity", "generated")
                )
            )
            or (
                change.kind == "relation"
                and not change.differs("kind", "definition", "options", "partition_key", "populated")
            )
        ):
            yield from _proved(change)


def _less(scene: Scene, change: Change) -> Iterator[Match]:
    """Prove what refuses less, or checks the same: a CHECK or a plain index that is gone, one that was validated."""
    del scene
    if (
        change.kind == "constraint" and (change.after is None or not change.differs("deferrable", "deferred"))
    ) or change.kind == "index":
        yield from _proved(change)


def _more(scene: Scene, change: Change) -> Iterator[Match]:
    """Prove what only gives a role more."""
    if (
        change.before
        and change.after
        and change.kind in {"function", "builtin", "schema", "database", "type", "sequence", "relation"}
    ):
        others = [name for name in _names(change) if name != "rights" and change.differs(name)]
        if set(others) <= {
            "file",
            "last",
            "start",
            "maximum",
            "column",
            "populated",
            "acl",
            "persistence",
        } and not scene.lost(change.before, change.after):
            yield from _proved(change)


def _names(change: Change) -> tuple[str, ...]:
    from lockstep.contract.footprint.things import FIELDS  # noqa: PLC0415

    return FIELDS[change.kind]


def _uncalled(scene: Scene, change: Change) -> Iterator[Match]:
    if change.kind == "function" and (scene.came_by_extension(change.thing) or not scene.is_run(change.thing)):
        if (
            scene.came_by_extension(change.thing)
            or change.thing["result"] in {"trigger", "event_trigger"}
            or not scene.may(change.thing, "X")
        ):
            yield from _proved(change)
    elif change.kind in {"type", "relation"} and scene.came_by_extension(change.thing):
        yield from _proved(change)
    elif (
        change.kind == "sequence"
        and change.after is None
        and any(one.oid == change.thing.oid for one in scene.after.every("sequence"))
    ):
        yield from _proved(change)  # moved or renamed: its column finds it
    elif change.kind == "sequence" and change.thing.owner and not scene.is_met(change.thing.owner):
        yield from _proved(change)
    elif change.kind == "type" and change.before and change.after:
        yield from _proved(change)  # of those that a release's columns have, the rules of types tell
    elif change.kind == "event trigger" and (change.after is None or change.after["enabled"] in {"D", "R"}):
        yield from _proved(change)
    elif change.kind == "schema" and change.after is None:
        yield from _proved(change)  # what was in it is told of by itself
    elif change.kind == "trigger" and change.after and change.after["enabled"] in {"D", "R"}:
        yield from _proved(change)


def _silent_setting(scene: Scene, change: Change) -> Iterator[Match]:
    """Prove a setting that only logs, or a path in which all names mean what they did; else a rule has told."""
    del scene
    if change.kind in {"setting", "role"}:
        yield from _proved(change)


_ALL = (*_OF_RELATIONS, "relation", "function", "builtin", "sequence", "type", "schema", "event trigger", "role", "setting",
        "database", "extension", "other")  # fmt: skip


def _rule(id_: str, title: str, why: str, check: object, good: str) -> Rule:
    return Rule(id_, HARMLESS, title, why, "", _ALL, check, bad="", good=good)  # type: ignore[arg-type]


RULES = (
    _rule("nobody-meets-it", "A table that no release meets", "No release maps it, and no trigger, view, foreign key or function leads to it.",
          _unmet, "DROP TABLE unmapped"),
    _rule("came-or-went-with-it", "What a table brought along, or took with it", "Of the table itself its own rules tell.",
          _came_or_went, "DROP TABLE notes"),
    _rule("is-new", "What is new, and not in the way", "Nothing of its name was there, and no statement finds it by a name that meant something.",
          _new, "CREATE TABLE more (id int); ALTER TABLE orders ADD COLUMN more text"),
    _rule("contract-tells", "What the release contract tells of", "See the contract's own findings.",
          _mapped, "ALTER TABLE orders ALTER amount SET NOT NULL"),
    _rule("refuses-less", "What refuses less", "A CHECK or an index that is not unique is gone; a constraint was validated.",
          _less, "ALTER TABLE orders DROP CONSTRAINT small"),
    _rule("gives-more", "What gives a role more", "Rights were granted, numbers go on.",
          _more, "GRANT CREATE ON SCHEMA public TO app_role"),
    _rule("nobody-runs-it", "A function, type or sequence that no release can meet", "No release's tables run it, and the app's role may not call it.",
          _uncalled, "CREATE OR REPLACE FUNCTION unused() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"),
    _rule("changes-no-result", "A setting that changes no result", "It logs, or plans, or the path finds all names where it did.",
          _silent_setting, "ALTER ROLE app_role SET log_statement = 'none'"),
)  # fmt: skip
