"""Rules about the elementary statements of a release, planned as the app's role: names, rights, keys, conflict targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.contract.footprint import paths
from lockstep.contract.footprint.scene import BREAKS, UNKNOWN, Match, Rule, Scene
from lockstep.postgres.statements import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Thing
    from lockstep_gate.contract.needs import Table

_LISTED = ("relation", "column", "constraint", "index", "policy", "rule", "type", "schema", "role")
# undefined_column, undefined_table, undefined_function, undefined_object, insufficient_privilege, datatype_mismatch,
# object_not_in_prerequisite_state, wrong_object_type, generated_always, feature_not_supported
_TELLS = {"42703", "42P01", "42883", "42704", "42501", "42804", "55000", "42809", "428C9", "0A000"}


def _tables(scene: Scene) -> Iterator[tuple[Thing, Thing, Table]]:
    """Give each mapped relation that has changed, as it was and is, with what a release knows of it."""
    touched = {one.thing.owner or one.thing.oid for one in scene.changes if one.kind in _LISTED}
    anew = any(one.kind in {"schema", "role", "type"} for one in scene.changes)
    for oid, tables in scene.mapped_after.items():
        after = scene.after.relations[oid]
        before = scene.before.find("relation", after.schema, after.name) if anew or oid in touched else None
        if before is None:
            continue
        for table in tables:
            yield before, after, table


def _refused(scene: Scene, _change: None) -> Iterator[Match]:
    for before, after, table in _tables(scene):
        for oid, role in scene.roles.items():
            statements = dict(_elementary(scene, before, table, paths.letters(before, oid)))
            for statement, failed in scene.look.failures(statements, role=role):
                if failed.sqlstate in _TELLS:
                    yield Match(after, f"to {statements[statement]}", f"{failed.text}, as {role}", after.oid)
                    break


def _elementary(scene: Scene, before: Thing, table: Table, rights: str) -> Iterator[tuple[str, str]]:
    """Write what it could do before, with the columns that were there."""
    name = f"{quoted(table.schema)}.{quoted(table.name)}" if table.schema else quoted(table.name)
    had = {one.name: one for one in scene.before.those("column", before.oid)}
    known = [one for one in table.columns if one.name in had]
    columns = ", ".join(quoted(one.name) for one in known) or "1"
    if "r" in rights:
        yield f"EXPLAIN SELECT {columns} FROM {name}", "SELECT"
    if before["kind"] not in {"r", "p"}:
        return
    written = [one for one in known if one.writes and not had[one.name]["generated"] and not _numbered(had[one.name])]
    names = ", ".join(quoted(one.name) for one in written)
    if "a" in rights and written:
        nulls = ", ".join(f"CAST(NULL AS {had[one.name]['type']})" for one in written)
        yield f"EXPLAIN INSERT INTO {name} ({names}) SELECT {nulls}", "INSERT"
    if "w" in rights and written:
        yield f"EXPLAIN UPDATE {name} SET {', '.join(f'{quoted(one.name)} = NULL' for one in written)}", "UPDATE"
    if "d" in rights:
        yield f"EXPLAIN DELETE FROM {name}", "DELETE"


def _numbered(column: Thing) -> bool:
    """Tell whether the database numbers it: a release need not send it."""
    return bool(column["identity"])


def _before_rights(scene: Scene, before: Thing) -> str:
    found = [set(paths.letters(before, role)) for role in scene.roles]
    return "".join(set.intersection(*found)) if found else "rawd"


def _upserts(scene: Scene, _change: None) -> Iterator[Match]:
    for before, after, table in _tables(scene):
        if before["kind"] not in {"r", "p"} or "a" not in _before_rights(scene, before):
            continue
        name = f"{quoted(table.schema)}.{quoted(table.name)}" if table.schema else quoted(table.name)
        statements = dict(_conflicts(scene, before, table, name))
        for role in scene.look.roles or (None,):
            for statement, failed in scene.look.failures(statements, role=role):
                yield Match(after, statements[statement], failed.text, after.oid)


def _conflicts(scene: Scene, before: Thing, table: Table, name: str) -> Iterator[tuple[str, str]]:
    columns = {one.name for one in table.columns}
    some = next((one.name for one in table.columns if one.writes), None)
    if some is None:
        return
    insert = f"EXPLAIN INSERT INTO {name} ({quoted(some)}) SELECT {quoted(some)} FROM {name} ON CONFLICT"
    for one in scene.before.those("constraint", before.oid):
        if one["type"] in {"u", "p", "x"} and not one.is_("deferrable"):
            yield (
                f"{insert} ON CONSTRAINT {quoted(one.name)} DO NOTHING",
                f"ON CONFLICT ON CONSTRAINT {one.name}, if it upserts by it",
            )
    for one in scene.before.those("index", before.oid):
        if one.is_("unique") and one.is_("immediate") and one.is_("valid"):
            where = f" WHERE {one['predicate']}" if one["predicate"] else ""
            yield (
                f"{insert} ({one['keys']}){where} DO NOTHING",
                f"ON CONFLICT ({one['keys']}){where}, if it upserts by it",
            )
    keys = next((one["keys"] for one in scene.before.those("index", before.oid) if one.is_("primary")), None)
    if keys and "r" in _before_rights(scene, before):
        listed = ", ".join(quoted(one) for one in sorted(columns) if scene.before.column(before.oid, one))
        yield f"EXPLAIN SELECT {listed} FROM {name} GROUP BY {keys}", f"GROUP BY {keys}, if it does"


RULES = (
    Rule(
        "statement-refused", BREAKS, "A statement of the release that is an error",
        "Its elementary statements (SELECT, INSERT, UPDATE of every column, DELETE) were planned as the app's role.",
        "leave a way for them while that release lives", (), _refused,
        bad="REVOKE UPDATE ON orders FROM app_role", good="REVOKE TRUNCATE ON orders FROM app_role",
    ),
    Rule(
        "statement-changed", UNKNOWN, "An upsert or a grouping that is an error",
        "Upserts by each unique key, by its columns and by its name, and GROUP BY the primary key were planned as the app's role.",
        "keep the key, with its name, until no live release may upsert by it", (), _upserts,
        bad="ALTER TABLE orders ALTER short SET DEFAULT repeat('x', 30)", good="CREATE INDEX more ON notes (weight)",
    ),
)  # fmt: skip
