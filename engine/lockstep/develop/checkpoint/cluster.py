"""Cluster: what revisions made that pg_dump leaves out, as SQL: roles, memberships, settings of the database.

Some things have no place in a file that is loaded elsewhere; revisions that make them are refused a checkpoint.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from lockstep.errors import Refused
from lockstep.postgres.statements import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROLES = """
SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
       rolconnlimit, rolvaliduntil::text, rolpassword IS NOT NULL,
       pg_catalog.shobj_description(oid, 'pg_authid') FROM pg_catalog.pg_authid WHERE rolname !~ '^pg_' ORDER BY 1"""
_MEMBERS = """
SELECT r.rolname, m.rolname, a.admin_option FROM pg_catalog.pg_auth_members a
  JOIN pg_catalog.pg_roles r ON r.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member ORDER BY 1, 2"""
_SETTINGS = """
SELECT coalesce(r.rolname, ''), s.setdatabase <> 0, unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
 WHERE s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
 ORDER BY 1, 3"""
_LISTS = {"search_path", "session_preload_libraries", "temp_tablespaces"}
_FLAGS = ("SUPERUSER", "", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS")
# What a migration made and a checkpoint could not make again, or should not hold.
_NO_PLACE = {
    "large objects": "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata",
    "a subscription": "SELECT count(*) FROM pg_catalog.pg_stat_subscription",
    "a user mapping with a password": "SELECT count(*) FROM pg_catalog.pg_user_mappings "
    "WHERE array_to_string(umoptions, ',') LIKE '%password%'",
    "rights on the database itself": "SELECT count(*) FROM pg_catalog.pg_database "
    "WHERE datname = current_database() AND datacl IS NOT NULL",
    "a comment on the database itself": "SELECT count(*) FROM pg_catalog.pg_shdescription WHERE (classoid, objoid) = "
    "('pg_catalog.pg_database'::regclass, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))",
    "a backfill that is not finished": "SELECT count(*) FROM migrator.backfill WHERE state <> 'done'",
    "an INVALID index": "SELECT count(*) FROM pg_catalog.pg_index WHERE NOT indisvalid",
}


def require_place(cursor: Any) -> None:
    """Raise Refused where the replayed revisions made what a checkpoint cannot hold."""
    for what, query in _NO_PLACE.items():
        cursor.execute(query)
        if cursor.fetchone()[0]:
            raise Refused(
                f"the revisions leave {what} behind, which a checkpoint cannot hold",
                "do without a checkpoint: fresh databases get every revision in turn",
            )


def roles(cursor: Any) -> set[str]:
    """Return the names of all roles but PostgreSQL's own."""
    cursor.execute(_ROLES)
    return {row[0] for row in cursor.fetchall()}


def statements(cursor: Any, before: set[str]) -> tuple[str, ...]:
    """Return what makes the roles that are new since `before`, and what is set for them and for the database."""
    cursor.execute(_ROLES)
    new = [row for row in cursor.fetchall() if row[0] not in before]
    names = {row[0] for row in new}
    made = [statement for row in new for statement in _role(*row)]
    cursor.execute("SELECT current_user")
    me = cursor.fetchone()[0]
    cursor.execute(_MEMBERS)
    for role, member, admin in cursor.fetchall():
        if role in names or member in names:
            to = "CURRENT_USER" if member == me else quoted(member)
            made.append(f"GRANT {quoted(role)} TO {to}{' WITH ADMIN OPTION' if admin else ''};")
    cursor.execute(_SETTINGS)
    made += [_setting(role, here, config) for role, here, config in cursor.fetchall() if not role or role in names]
    return tuple(made)


def _role(name: str, *given: Any) -> Iterator[str]:
    *flags, limit, until, has_password, comment = given
    if has_password:
        raise Refused(
            f"a revision gives role {name} a password, which has no place in a file",
            "set passwords outside of revisions",
        )
    words = [word for word, is_on in zip(_FLAGS, flags, strict=True) if word and is_on]
    words += [] if flags[1] else ["NOINHERIT"]
    words += [f"CONNECTION LIMIT {limit}"] if limit != -1 else []
    words += [f"VALID UNTIL '{until}'"] if until else []
    text = " ".join(["CREATE ROLE", quoted(name), *words])
    # A role belongs to the whole server, where another database's revisions may have made it.
    there = f"SELECT FROM pg_catalog.pg_roles WHERE rolname = {_quoted_text(name)}"
    yield _do(f"IF NOT EXISTS ({there}) THEN {text}; END IF")
    if comment:
        yield f"COMMENT ON ROLE {quoted(name)} IS {_quoted_text(comment)};"


def _setting(role: str, here: bool, config: str) -> str:
    name, _, value = config.partition("=")
    # Lists are kept as they are written, quotes and all: they are no one text.
    change = f"SET {name} TO {value if name in _LISTS else _quoted_text(value)}"
    if not here:
        return f"ALTER ROLE {quoted(role)} {change};"
    whose = f"ALTER ROLE {quoted(role)} IN DATABASE " if role else "ALTER DATABASE "
    pattern = whose.replace("%", "%%") + "%I " + change.replace("%", "%%")
    return _do(f"EXECUTE format({_quoted_text(pattern)}, current_database())")


def _do(body: str) -> str:
    """Return a block of one statement; a name in it may hold what ends one."""
    tag = next(tag for number in itertools.count() if (tag := f"$own{number or ''}$") not in body)
    return f"DO {tag} BEGIN {body}; END {tag};"


def _quoted_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
