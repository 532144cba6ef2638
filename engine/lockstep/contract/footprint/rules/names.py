"""Rules about what a name means to the roles that a release signs in with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.contract.footprint import paths
from lockstep.contract.footprint.scene import BREAKS, UNKNOWN, Match, Rule, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Snapshot, Thing


def _wanted(scene: Scene) -> Iterator[tuple[str, str]]:
    """Give the (kind, name) of all that releases look up without a schema."""
    for contract in scene.contracts:
        yield from (("relation", table.name) for table in contract.tables if table.schema is None)
        yield from (("sequence", name) for schema, name in contract.sequences if schema is None)


def _meanings(scene: Scene) -> Iterator[tuple[int, str, Thing, Thing | None]]:
    if not scene.has_other_paths and not scene.renamed:
        return
    wanted = [one for one in dict.fromkeys(_wanted(scene)) if scene.has_other_paths or one[1] in scene.renamed]
    for role in scene.roles:
        before, after = scene.path_of(scene.before, role), scene.path_of(scene.after, role)
        for kind, name in wanted:
            was = paths.meaning(scene.before, before, kind, name)
            now = paths.meaning(scene.after, after, kind, name)
            if was is not None:
                yield role, kind, was, now


def _another(scene: Scene, _change: None) -> Iterator[Match]:
    for role, _, was, now in _meanings(scene):
        if now is not None and now.schema != was.schema and now.oid != was.oid:
            yield Match(was, f"{was.name} to mean {was.place}", f"{now.place}, to {scene.roles[role]}", was.oid)


def _nothing(scene: Scene, _change: None) -> Iterator[Match]:
    for role, _, was, now in _meanings(scene):
        # What is gone from the database is told by the contract itself.
        if now is not None:
            continue
        there = scene.after.relations.get(was.oid) or next(
            (one for one in scene.after.every("sequence") if one.oid == was.oid), None
        )
        if there is not None and there.name == was.name:
            yield Match(
                was, f"{was.name} to be found", f"{there.place}, which {scene.roles[role]} does not search", was.oid
            )


def _moved(scene: Scene, _change: None) -> Iterator[Match]:
    """Find what new sessions find, and those from before do not: a setting of a role is taken at sign-in."""
    for role, kind, was, now in _meanings(scene):
        if now is None or now.oid != was.oid or now.schema == was.schema:
            continue
        if paths.meaning(scene.after, scene.path_before(role), kind, was.name) is None:
            yield Match(was, f"{was.name} to be found by connections from before", f"{now.place}", was.oid)


def _hidden(scene: Scene, _change: None) -> Iterator[Match]:
    """Find names that functions behind the tables, and SQL of the release's own, look up and find elsewhere."""
    told = {name for _, name in _wanted(scene)}
    fresh = {
        (one.kind, _called(one.after))
        for one in scene.changes
        if one.after and not one.before and one.kind in _LOOKED_UP
    }
    for role in scene.roles:
        before, after = scene.path_of(scene.before, role), scene.path_of(scene.after, role)
        if before == after and not fresh:
            continue
        for kind in _LOOKED_UP:
            was, now = _first(scene.before, kind, before), _first(scene.after, kind, after)
            for name, one in was.items():
                other = now.get(name)
                if (
                    name in told
                    or (before == after and (kind, name) not in fresh)
                    or (other is None and before == after)
                ):
                    continue
                if other is None or (other.oid != one.oid and other.schema != one.schema):
                    where = other.place if other else f"nothing in {', '.join(after)}"
                    yield Match(one, f"{name} to mean {one.place}, if it uses it", f"{where}, to {scene.roles[role]}")


_LOOKED_UP = ("relation", "sequence", "function", "type")


def _called(thing: Thing) -> str:
    return (thing["name"] if thing.kind == "function" else None) or thing.name


def _first(snapshot: Snapshot, kind: str, path: tuple[str, ...]) -> dict[str, Thing]:
    """Return what each name means on a path; of functions of one name, the first that is searched."""
    found: dict[str, Thing] = {}
    places = {schema: place for place, schema in enumerate(path)}
    for one in snapshot.every(kind):
        name = _called(one)
        if one.schema in places and (name not in found or places[one.schema] < places[found[name].schema]):
            found[name] = one
    return found


def _shadowed(scene: Scene, change: object) -> Iterator[Match]:
    after = getattr(change, "after", None)
    if after is None or getattr(change, "before", None) is not None:
        return
    builtin = scene.look.value(
        "SELECT 1 FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace "
        f"AND proname = '{(after['name'] or '').replace(chr(39), chr(39) * 2)}' LIMIT 1"
    )
    others = [
        one for one in scene.before.every("function") if one["name"] == after["name"] and one.schema != "migrator"
    ]
    if (others or builtin) and scene.may(after, "X") and not after["extension"]:
        yield Match(
            after, f"calls of {after['name']} to mean what they meant", f"another function of that name, {after.place}"
        )


RULES = (
    Rule(
        "name-means-another", BREAKS, "A name that means another table",
        "A schema that comes first in the search path of the app's role (its own, as \"$user\" is, too) hides what was meant.",
        "give it another name, or make it once no live release uses the old one", (), _another,
        bad="CREATE SCHEMA app_role; GRANT USAGE ON SCHEMA app_role TO app_role; CREATE TABLE app_role.orders (id int)",
        good="CREATE SCHEMA crm; CREATE TABLE crm.orders (id int)",
    ),
    Rule(
        "name-means-nothing", BREAKS, "A name that is not found any more",
        "The table is there, and the app's role does not search the schema that it is in.",
        "put the schema into the search path of the app's role in the same revision", (), _nothing,
        bad="CREATE SCHEMA crm; ALTER ROLE app_role SET search_path = crm",
        good="CREATE SCHEMA crm; ALTER ROLE app_role SET search_path = crm, public",
    ),
    Rule(
        "name-hidden", UNKNOWN, "A name that means something else, to a function or to SQL of its own",
        "The body of a function is looked up by the search path of whoever runs it.",
        "write the schema before the name, or keep the order of the search path", (), _hidden,
        bad="CREATE SCHEMA app_role; GRANT USAGE ON SCHEMA app_role TO app_role; CREATE TABLE app_role.log (id int)",
        good="CREATE SCHEMA crm; CREATE TABLE crm.log (id int); ALTER ROLE app_role SET search_path = public, crm",
    ),
    Rule(
        "name-moved", UNKNOWN, "A name that only new connections find", "A role's search path is taken when it signs in.",
        "let the app's connections be made anew, or leave a view of the old name", (), _moved,
        bad="CREATE SCHEMA crm; GRANT USAGE ON SCHEMA crm TO app_role; ALTER TABLE notes SET SCHEMA crm; "
        "ALTER ROLE app_role SET search_path = public, crm",
        good="CREATE SCHEMA app_role; GRANT USAGE ON SCHEMA app_role TO app_role; ALTER TABLE notes SET SCHEMA app_role",
    ),
    Rule(
        "function-overloaded", UNKNOWN, "A second function of a name",
        "A call takes the one whose arguments fit best, and fails where two fit as well.",
        "give it a name of its own, or try the release's calls", ("function",), _shadowed,
        bad="CREATE FUNCTION fee(bigint) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        good="CREATE FUNCTION fee_of_order(bigint) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ),
)  # fmt: skip
