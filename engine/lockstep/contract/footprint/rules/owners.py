"""Rules about owners: a view is read, a foreign key checked, a SECURITY DEFINER function run with the owner's rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.contract.footprint.scene import UNKNOWN, Match, Rule, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Change, Thing

_ALL = set("arwdDxtmX")


def _owner(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is None or not change.differs("owner"):
        return
    if change.kind == "function":
        if after.is_("definer") and (scene.is_run(after) or scene.may(after, "X")):
            yield Match(after, "to run with its owner's rights", f"those of {after['owner']}")
    elif scene.is_met(after.oid) or (after["kind"] == "v" and scene.may(after, "r")):
        yield Match(after, "to be read and checked with its owner's rights", f"those of {after['owner']}", after.oid)


def _closed(scene: Scene, change: Change) -> Iterator[Match]:
    """Find rights that those have lost whose rights are used on behalf of the release."""
    before, after = change.before, change.after
    if not (before and after and change.differs("acl")) or (change.kind == "relation" and not _reached(scene, after)):
        return
    for name in sorted(_owners(scene)):
        if _letters(before, name) - _letters(after, name) - {"*"} and not _is_super(scene, name):
            yield Match(after, f"{name}, with whose rights it is reached, to have its rights", "fewer", after.oid)
            return


def _reached(scene: Scene, relation: Thing) -> bool:
    return scene.is_met(relation.oid) or any(
        one["kind"] == "v" and scene.may(one, "r") and relation.name in (one["definition"] or "")
        for one in scene.after.relations.values()
    )


def _owners(scene: Scene) -> set[str]:
    """Return the owners of what a release reads, refers to or runs."""
    after = scene.after
    found = {one["owner"] for one in after.relations.values() if scene.is_met(one.oid)}
    found |= {one["owner"] for one in after.relations.values() if one["kind"] == "v" and scene.may(one, "r")}
    found |= {
        one["owner"] for one in after.every("function")
        if one.is_("definer") and not one["extension"] and (scene.is_run(one) or scene.may(one, "X"))
    }  # fmt: skip
    return {one for one in found if one}


def _is_super(scene: Scene, name: str) -> bool:
    literal = name.strip('"').replace("'", "''")
    return bool(scene.look.value(f"SELECT true FROM pg_roles WHERE rolname = '{literal}' AND rolsuper"))


def _letters(thing: Thing, name: str) -> set[str]:
    """Return the letters of what a role was granted, by name or as one of all; the owner of what was never granted has all."""
    if thing["acl"] is None:
        return _ALL if thing.kind in {"relation", "function"} and thing["owner"] == name else set()
    granted = (one.strip('"').rpartition("/")[0].rpartition("=") for one in thing["acl"].strip("{}").split(","))
    return {
        letter for grantee, _, letters in granted if grantee.replace('\\"', '"') in {name, ""} for letter in letters
    }


RULES = (
    Rule(
        "owner-changed", UNKNOWN, "Another owner", "A view is read, a foreign key is checked and a SECURITY DEFINER function runs with "
        "the rights of the owner.",
        "grant the new owner the rights first", ("relation", "function"), _owner,
        bad="ALTER VIEW big_orders OWNER TO app_role", good="ALTER TABLE unmapped OWNER TO app_role",
    ),
    Rule(
        "owner-closed", UNKNOWN, "Rights of an owner", "What the owner may not do any more, the view, the key's check or the function cannot do for the release.",
        "grant them again in the same revision", ("relation", "schema", "function", "sequence"), _closed,
        bad="REVOKE SELECT ON items FROM lockstep_example_worker",
        good="GRANT SELECT ON notes TO lockstep_example_worker",
    ),
)  # fmt: skip
