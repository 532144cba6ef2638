"""Paths: what an unqualified name means to a role when it signs in: its settings, the database's, "$user" too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockstep.contract.footprint.things import Snapshot, Thing

SERVER_DEFAULT = '"$user", public'


def settings(snapshot: Snapshot, role: int) -> dict[str, str]:
    """Return what a session of the role begins with: for it in this database, for it, for the database, for all."""
    found: dict[str, tuple[int, str]] = {}
    for one in snapshot.every("setting"):
        if one.owner not in {0, role}:
            continue
        rank = 2 * bool(one.owner) + one.is_("of_database")
        name = one["name"] or ""
        if name not in found or found[name][0] < rank:
            found[name] = (rank, one["value"] or "")
    return {name: value for name, (_, value) in found.items()}


def schemas(snapshot: Snapshot, role: int, name: str) -> tuple[str, ...]:
    """Return the schemas that the role's names are looked up in: those that there are and that it may use."""
    return schemas_of(settings(snapshot, role), snapshot, role, name)


def schemas_of(set_: dict[str, str], snapshot: Snapshot, role: int, name: str) -> tuple[str, ...]:
    """Return the same for a session that began with these settings."""
    found: list[str] = []
    for part in split(set_.get("search_path", SERVER_DEFAULT)):
        schema = name if part == "$user" else part
        there = snapshot.find("schema", "", schema)
        if there is not None and "U" in letters(there, role) and schema not in found:
            found.append(schema)
    return tuple(found)


def split(path: str) -> list[str]:
    """Return the parts of a search path, without their quotes."""
    return [one.strip().strip('"').replace('""', '"') for one in path.split(",") if one.strip()]


def letters(thing: Thing, role: int) -> str:
    """Return the letters of the rights that a role has on a thing."""
    for one in (thing["rights"] or "").split():
        oid, _, rights = one.partition(":")
        if oid == str(role):
            return rights
    return ""


def meaning(snapshot: Snapshot, path: tuple[str, ...], kind: str, name: str) -> Thing | None:
    """Return what an unqualified name means; `kind` is "relation" or "sequence"."""
    for schema in path:
        found = snapshot.find(kind, schema, name)
        if found is not None:
            return found
    return None
