"""Rules about the roles that releases sign in with, and the settings and rights that their sessions begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.contract.footprint import paths
from lockstep.contract.footprint.scene import BREAKS, UNKNOWN, Match, Rule, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Change

_TRUE = {"on", "true", "yes", "1", "t"}
# What only says how much is logged, or how a plan is made, gives nobody another result.
_QUIET = ("log_", "auto_explain.", "pg_stat_statements.", "track_", "enable_", "jit", "plan_cache", "random_page", "seq_page",
          "effective_", "work_mem", "maintenance_", "application_name", "cpu_", "parallel_", "max_parallel", "min_parallel")  # fmt: skip


def _shut_out(scene: Scene, change: Change) -> Iterator[Match]:  # noqa: C901 - one line for each way
    before, after = change.before, change.after
    if before is None:
        return
    if change.kind == "role":
        if after is None:
            yield Match(before, "to sign in", "no such role")
        elif before.is_("can_login") and not after.is_("can_login"):
            yield Match(after, "to sign in", "NOLOGIN")
        elif after.is_("expired") and not before.is_("expired"):
            yield Match(after, "to sign in", f"VALID UNTIL {after['until']}")
        elif after["limit"] != before["limit"] and int(after["limit"] or -1) == 0:
            yield Match(after, "to sign in", "CONNECTION LIMIT 0")
    elif change.kind == "database" and after is not None:
        if before.is_("allows") and not after.is_("allows"):
            yield Match(after, "to connect", "a database that allows no connections")
        elif after["limit"] != before["limit"] and int(after["limit"] or -1) == 0:
            yield Match(after, "to connect", "CONNECTION LIMIT 0")
        for role, letters in scene.lost(before, after).items():
            if "c" in letters:
                yield Match(after, "to connect", f"no CONNECT for {scene.roles[role]}")


def _role(scene: Scene, change: Change) -> Iterator[Match]:
    del scene
    if (
        change.before
        and change.after
        and change.differs("super", "inherits", "bypasses", "limit", "memberships", "until")
    ):
        words = ", ".join(f"{name} {change.after[name]}" for name in ("super", "inherits", "bypasses", "limit", "memberships", "until")
                          if change.differs(name))  # fmt: skip
        yield Match(change.after, "its role as it was", words)


def _temporary(scene: Scene, change: Change) -> Iterator[Match]:
    for role, letters in scene.lost(change.before, change.after).items():
        if "T" in letters:
            yield Match(change.after, "temporary tables, if it makes some", f"no TEMPORARY for {scene.roles[role]}")
    if change.after and change.before and change.differs("limit"):
        yield Match(change.after, "as many connections", f"CONNECTION LIMIT {change.after['limit']}")


def _schema(scene: Scene, change: Change) -> Iterator[Match]:
    for role, letters in scene.lost(change.before, change.after).items():
        maps = any(
            one.schema == change.thing.name for oid in scene.mapped_before if (one := scene.before.relations.get(oid))
        )
        if "U" in letters:
            run = any(one.schema == change.thing.name and scene.is_run(one) for one in scene.before.every("function"))
            verdict = BREAKS if maps or run else ""
            yield Match(change.after, "USAGE on the schema", f"no such right for {scene.roles[role]}", verdict=verdict)
        elif "C" in letters:
            yield Match(change.after, "to create in the schema, if it does", f"no such right for {scene.roles[role]}")


def _read_only(scene: Scene, _change: None) -> Iterator[Match]:
    for role, name in scene.roles.items():
        was, now = (
            paths.settings(one, role).get("default_transaction_read_only", "off") for one in (scene.before, scene.after)
        )
        if now.lower() in _TRUE and was.lower() not in _TRUE:
            yield Match(None, f"{name} to write", "default_transaction_read_only = on")


def _other_role(scene: Scene, _change: None) -> Iterator[Match]:
    for role, name in scene.roles.items():
        was, now = (paths.settings(one, role).get("role", "none") for one in (scene.before, scene.after))
        if now != was and now not in {name, "none"}:
            yield Match(None, f"to work as {name}", f"SET role = {now}")


def _setting(scene: Scene, change: Change) -> Iterator[Match]:
    name = (change.thing["name"] or "").lower()
    if name in {"search_path", "role", "default_transaction_read_only"} or name.startswith(_QUIET):
        return
    if change.before is None or change.after is None or change.differs("value"):
        now = change.after["value"] if change.after else "not set"
        yield Match(change.thing, "its sessions to begin as they did", f"{name} = {now}")
    del scene


def _unread(scene: Scene, _change: None) -> Iterator[Match]:
    """Find that a role was altered, and nothing that can be read of it is another: its password cannot."""
    if "pg_authid" in scene.altered and scene.roles and not any(one.kind == "role" for one in scene.changes):
        yield Match(
            None,
            f"{', '.join(scene.roles.values())} to sign in with its password",
            "a role with another password, or the like",
        )


RULES = (
    Rule(
        "shut-out", BREAKS, "The app's role may not sign in any more", "Connections that are there go on; new ones are refused.",
        "let nobody sign in with it before you take it away", ("role", "database"), _shut_out,
        bad="ALTER ROLE app_role NOLOGIN", good="ALTER ROLE app_role CONNECTION LIMIT 500",
    ),
    Rule(
        "role-changed", UNKNOWN, "The app's role is another", "",
        "leave it as it is, or try the release with it", ("role",), _role,
        bad="ALTER ROLE app_role CONNECTION LIMIT 1", good="CREATE ROLE lockstep_example_other",
    ),
    Rule(
        "role-unread", UNKNOWN, "A role was altered in what nobody may read", "A password is taken when a connection is made.",
        "give the new release a role of its own, or both passwords in turn", (), _unread,
        bad="ALTER ROLE app_role PASSWORD 'made-up'", good="GRANT SELECT ON log TO app_role",
    ),
    Rule(
        "database-rights", UNKNOWN, "Fewer rights on the database", "",
        "make sure that no live release makes temporary tables", ("database",), _temporary,
        bad="REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC", good="GRANT TEMPORARY ON DATABASE {database} TO PUBLIC",
    ),
    Rule(
        "schema-closed", UNKNOWN, "A schema that the app's role may not use any more", "",
        "grant USAGE on it in the same revision", ("schema",), _schema,
        bad="REVOKE USAGE ON SCHEMA public FROM PUBLIC, app_role", good="GRANT USAGE ON SCHEMA public TO app_role",
    ),
    Rule(
        "read-only", BREAKS, "Sessions that may not write", "New connections begin with it.",
        "leave it out while a release writes", (), _read_only,
        bad="ALTER ROLE app_role SET default_transaction_read_only = on", good="ALTER ROLE app_role SET default_transaction_read_only = off",
    ),
    Rule(
        "role-switched", BREAKS, "Sessions that begin as another role", "",
        "leave it out", (), _other_role,
        bad="ALTER ROLE app_role SET role = 'lockstep_example_worker'", good="ALTER ROLE app_role SET role = 'none'",
    ),
    Rule(
        "setting-changed", UNKNOWN, "Sessions that begin with another setting", "Dates, numbers, time zones, limits: new connections have it, those from before do not.",
        "set it on the connection of the new release", ("setting",), _setting,
        bad="ALTER ROLE app_role SET datestyle = 'ISO, DMY'", good="ALTER ROLE app_role SET log_min_duration_statement = 100",
    ),
)  # fmt: skip
