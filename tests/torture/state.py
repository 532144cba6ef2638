"""State: a database in; its catalog, its rows and its ledger's word out, as one text that two databases can share."""

from __future__ import annotations

import hashlib
import re

from lockstep.ledger import fingerprint as notes
from tests.torture.server import rows

_OURS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_CATALOG = {
    "schemas": f"SELECT nspname, nspowner::regrole, nspacl FROM pg_namespace n WHERE {_OURS} ORDER BY 1",
    "relations": f"""SELECT n.nspname, c.relname, c.relkind, c.relowner::regrole, c.relacl, c.reloptions,
        c.relrowsecurity, obj_description(c.oid, 'pg_class')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS} ORDER BY 1, 2""",
    "columns": f"""SELECT n.nspname, c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
        a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid), a.attisdropped, a.attacl
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE {_OURS} AND a.attnum > 0 ORDER BY 1, 2, 3""",
    "constraints": f"""SELECT n.nspname, conrelid::regclass, conname, pg_get_constraintdef(k.oid), convalidated
        FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE {_OURS} ORDER BY 1, 2, 3""",
    "indexes": f"""SELECT pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready, i.indislive
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {_OURS} ORDER BY 1""",
    "enums": "SELECT enumtypid::regtype, enumlabel FROM pg_enum ORDER BY 1, enumsortorder",
    "functions": f"""SELECT p.oid::regprocedure, md5(prosrc) FROM pg_proc p
        JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_OURS} ORDER BY 1""",
    "defaults": "SELECT defaclrole::regrole, defaclobjtype, defaclacl FROM pg_default_acl ORDER BY 1, 2",
    "database": "SELECT datacl FROM pg_database WHERE datname = current_database()",
}
_LEDGER = {
    "versions": "SELECT version FROM migrator.ledger ORDER BY 1",
    # One row for each step: a run that was cut off and another that finished it share theirs.
    "steps": "SELECT revision, direction, state, seal, statements, uncertain FROM migrator.step ORDER BY 1, 2, 3",
    "releases": "SELECT digest, md5(contract::text), broken_by, served_since IS NULL FROM migrator.release ORDER BY 1",
    "deferred": "SELECT revision, waits_for FROM migrator.deferred ORDER BY 1",
    "instances": "SELECT id, release FROM migrator.instance ORDER BY 1",
    "backfills": "SELECT name, state FROM migrator.backfill ORDER BY 1",
    "state": "SELECT heads, seals FROM migrator.state",
}
_TABLES = f"""SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND {_OURS} AND (n.nspname <> 'migrator' OR c.relname = 'alembic_version') ORDER BY 1"""

_KEPT = f"""SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND {_OURS} ORDER BY 1"""
_BESIDE = {
    "sequences": "SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2",
    "prepared": "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()",
    "roles": "SELECT rolname, rolsuper, rolcanlogin, rolconfig FROM pg_roles WHERE rolname LIKE 'app%' ORDER BY 1",
    "settings": "SELECT setrole::regrole, setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase "
    "WHERE datname = current_database() ORDER BY 1",
}
_PATH = "(SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path')"
_RIGHTS = f"SELECT rights = {notes.RIGHTS.format(path=_PATH)} FROM migrator.state"
_ROWS = "SELECT (to_jsonb(one_row) - '{duration_ms,waited_ms,rights,pid}'::text[])::text FROM "
_SUM = "SELECT count(*), md5(string_agg(one::text, ' ' ORDER BY one::text)), min(one::text) FROM {} one"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r'"([0-9]{4}-[0-9]{2}-[0-9]{2}T[^"]*)"')


def whole(connection, database, since, *ports):
    """Return a digest of all that a run can meet in a database: each row of each table, the ledger's too.

    Times after `since` are all alike, and so are the database's own name and ports, the names that its sessions, all
    of them gone, gave themselves, and how long a step took.
    """
    lines = _texts(connection, _CATALOG | _BESIDE)
    tables = [table for (table,) in rows(connection, _KEPT)]
    found = sorted(_texts(connection, {table: f"{_ROWS}{table} one_row" for table in tables}))
    lines += [_UUID.sub("its own", line) if line.startswith("migrator.backfill_worker") else line for line in found]
    if "migrator.state" in tables:  # a sum over numbers that each database has of its own
        role = f"(SELECT coalesce(max(rolname), 'app') FROM pg_roles WHERE rolname = 'app_{database}')"
        found = rows(connection, f"SET ROLE migrator; {_RIGHTS.replace('%(role)s', role)}")
        rows(connection, "RESET ROLE")
        lines.append(f"rights: {found}")
    text = _TIME.sub(lambda time: "since" if time[1] >= since else time[1], "\n".join(lines))
    for one in (f"app_{database}", database, *map(str, ports)):
        text = re.sub(rf"\b{one}\b", "its own", text)
    return hashlib.sha256(text.encode()).hexdigest()


def dump(connection, role):
    """Return everything that two runs have to agree on; `role` is the app's role of this database alone."""
    lines = [text.replace(role, "app") for text in _texts(connection, _CATALOG | _LEDGER)]
    tables = {f"rows of {table}": _SUM.format(table) for (table,) in rows(connection, _TABLES)}
    return "\n".join(lines + _texts(connection, tables))


def _texts(connection, questions):
    """Return every row of each question as a text; asked at once, since asking is most of what it takes."""
    asked = (f"SELECT '{name}: ' || one_row::text FROM ({sql}) one_row" for name, sql in questions.items())
    return [row[0] for row in rows(connection, " UNION ALL ".join(asked))] if questions else []


def applied(connection):
    """Return (heads by Alembic's table, what the ledger calls finished, what it calls taken back)."""
    table = rows(connection, "SELECT oid::regclass::text FROM pg_class WHERE relname = 'alembic_version'")
    heads = {row[0] for (name,) in table for row in rows(connection, f"SELECT version_num FROM {name}")}
    if rows(connection, "SELECT to_regclass('migrator.step')")[0][0] is None:
        return heads, set(), set()
    steps = rows(
        connection,
        "SELECT DISTINCT ON (revision) revision, direction = 'down' FROM migrator.step WHERE state = 'finished' "
        "ORDER BY revision, id DESC",
    )
    return heads, {name for name, down in steps if not down}, {name for name, down in steps if down}


def runs(connection):
    """Return how each run in the ledger ended, the oldest first."""
    if rows(connection, "SELECT to_regclass('migrator.run')")[0][0] is None:
        return []
    return [row[0] for row in rows(connection, "SELECT outcome FROM migrator.run ORDER BY id")]


def left_behind(connection):
    """Return what no run may leave: a lock, an INVALID index, a session in a transaction."""
    found = rows(
        connection,
        "SELECT 'advisory lock of ' || pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    found += rows(connection, "SELECT 'INVALID index ' || indexrelid::regclass FROM pg_index WHERE NOT indisvalid")
    found += rows(
        connection,
        "SELECT 'session ' || state FROM pg_stat_activity WHERE datname = current_database() AND usename = 'migrator'",
    )
    return [row[0] for row in found]
