"""Rules about functions: those that a release's tables run, and those that its own SQL may call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lockstep.contract.footprint import bodies, paths
from lockstep.contract.footprint.scene import BREAKS, UNKNOWN, Match, Rule, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Change, Snapshot, Thing

_TURNING = (
    "result",
    "language",
    "body",
    "settings",
    "kind",
    "definer",
    "volatility",
    "strict",
    "arguments",
    "defaults",
)


def _changed(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if before and after and change.differs(*_TURNING) and not scene.came_by_extension(after):
        if before["body"] != after["body"] or change.differs(*(one for one in _TURNING if one != "body")):
            yield from _said(scene, after, "to do what it did", "another body or other settings")


def _said(scene: Scene, function: Thing, needs: str, offers: str) -> Iterator[Match]:
    run = scene.is_run(function)
    if run or (scene.may(function, "X") and function["result"] not in {"trigger", "event_trigger"}):
        yield Match(function, f"{function.place} {needs}" + ("" if run else ", if it calls it"), offers)


def _gone(scene: Scene, change: Change) -> Iterator[Match]:
    before = change.before
    if change.after is None and before and not scene.came_by_extension(before):
        yield from _said(scene, before, "to be there", "no such function")


def _closed(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if after is None:
        return
    if change.kind == "builtin":
        lost = [name for role, name in scene.roles.items() if "X" not in paths.letters(after, role)
                and (before is None or "X" in paths.letters(before, role))]  # fmt: skip
    else:
        lost = [scene.roles[role] for role in scene.lost(before, after)]
    if not lost or (change.kind == "function" and after["result"] in {"trigger", "event_trigger"}):
        return
    run = scene.is_run(after)
    yield Match(
        after,
        f"to call {after.place}" + ("" if run else ", if it does"),
        f"no such right for {', '.join(lost)}",
        verdict=BREAKS if run else "",
    )


def _names_lost(scene: Scene, _change: None) -> Iterator[Match]:
    """Find functions that a release runs and that name what is not there any more."""
    if not scene.changes:
        return
    for function in scene.after.every("function"):
        if function["extension"] or function["language"] not in {"sql", "plpgsql"} or not scene.is_run(function):
            continue
        body = bodies.function(function["language"] or "", function["body"] or "")
        for schema, name in sorted(body.relations, key=lambda one: (one[0] or "", one[1])):
            was = _found(scene, scene.before, _before(scene, function), schema, name)
            if was is not None and _found(scene, scene.after, function, schema, name) is None:
                yield Match(function, f"{function.place} to find {name}", "nothing of that name where it looks")
        for schema, name in sorted(body.functions, key=lambda one: (one[0] or "", one[1])):
            if schema is None and _function(scene.before, name) and not _function(scene.after, name):
                yield Match(function, f"{function.place} to find {name}()", "no such function")


def _before(scene: Scene, function: Thing) -> Thing:
    return scene.before.find("function", function.schema, function.name) or function


def _function(snapshot: Snapshot, name: str) -> bool:
    return any(one["name"] == name for one in snapshot.every("function"))


def _found(scene: Scene, snapshot: Snapshot, function: Thing, schema: str | None, name: str) -> Thing | None:
    if schema is not None:
        return snapshot.find("relation", schema, name) or snapshot.find("sequence", schema, name)
    own = re.search(r"search_path=(.*?)(?: \w+=|$)", function["settings"] or "")
    if own:
        path: tuple[str, ...] = tuple(
            paths.split(own[1].strip().removesuffix('""') if own[1].strip() == '""' else own[1])
        )
    else:
        path = next((scene.path_of(snapshot, role) for role in scene.roles), scene.path)
    return paths.meaning(snapshot, path, "relation", name)


def _event(scene: Scene, change: Change) -> Iterator[Match]:
    del scene
    after = change.after
    if after is not None and after["enabled"] not in {"D", "R"}:
        yield Match(after, "temporary tables and the like", f"an event trigger on {after['event']}")


def _extension(scene: Scene, change: Change) -> Iterator[Match]:
    del scene
    if change.before is not None:
        now = (
            "no such extension"
            if change.after is None
            else f"version {change.after['version']} in {change.after['schema']}"
        )
        yield Match(change.thing, f"the functions, types and operators of {change.thing.name}, if it uses them", now)


RULES = (
    Rule(
        "function-changed", UNKNOWN, "A function that does something else", "Its name is the same, what it does need not be.",
        "give the new one a name of its own, or try the release on it", ("function",), _changed,
        bad="CREATE OR REPLACE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        good="ALTER FUNCTION fee(int) COST 10",
    ),
    Rule(
        "function-gone", UNKNOWN, "A function is gone", "Models need not name a function for a release to call it.",
        "drop it once no live release calls it", ("function",), _gone,
        bad="DROP FUNCTION fee(int)", good="CREATE FUNCTION fee2(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ),
    Rule(
        "function-closed", UNKNOWN, "The right to call a function is gone",
        "Where a default, a CHECK or a policy calls it, the release's own statements fail.",
        "grant EXECUTE on it in the same revision", ("function", "builtin"), _closed,
        bad="REVOKE EXECUTE ON FUNCTION slug() FROM PUBLIC", good="GRANT EXECUTE ON FUNCTION slug() TO app_role",
    ),
    Rule(
        "body-names-nothing", BREAKS, "A function that names what is not there any more",
        "The next statement that runs it fails.",
        "replace the function first", (), _names_lost,
        bad="ALTER TABLE log RENAME TO log_of_old", good="CREATE TABLE log_of_old (id int)",
    ),
    Rule(
        "event-trigger", UNKNOWN, "An event trigger", "It is asked for every DDL statement, those of the app as well.",
        "let it pass what the app's role does", ("event trigger",), _event,
        bad="CREATE FUNCTION ev() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$; "
        "CREATE EVENT TRIGGER ev ON ddl_command_start EXECUTE FUNCTION ev()",
        good="CREATE FUNCTION ev() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$",
    ),
    Rule(
        "extension-changed", UNKNOWN, "An extension is gone, or another version", "",
        "drop it once no live release uses what is in it", ("extension",), _extension,
        bad="DROP EXTENSION citext", good="CREATE EXTENSION IF NOT EXISTS pg_trgm",
    ),
)  # fmt: skip
