"""App schema: make the schema that the settings name, and put it first on the search path of both roles.

The search path is set for the roles themselves, in this database. So every connection of theirs works there, also a
pooler's, psql's and that of the stock `alembic`, and neither the app nor a revision needs to know of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.errors import Refused
from lockstep.postgres import lock
from lockstep.postgres.statements import quoted

if TYPE_CHECKING:
    from lockstep.ledger.run_context import Run
    from lockstep.postgres.control import Control

# The control connection has set its own path, so what it began with is asked for.
_PATH = "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path'"

# What else was on the path stays (a project at Supabase has its extensions there), but for where tables were made.
_NEW_PATH = f"""
SELECT string_agg(part, ', ' ORDER BY place)
  FROM (SELECT %(schema)s AS part, 0 AS place
        UNION ALL SELECT btrim(p.part), p.place
          FROM unnest(string_to_array(({_PATH}), ',')) WITH ORDINALITY AS p (part, place)
         WHERE btrim(p.part, ' "') NOT IN ('$user', 'public', '', %(schema)s)) AS parts"""  # noqa: S608 - our own text

_ELSEWHERE = """
SELECT c.oid::regclass::text FROM pg_catalog.pg_class c
 WHERE c.relname = 'alembic_version' AND c.relkind = 'r'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class t
                    WHERE t.relnamespace = to_regnamespace(%(schema)s) AND t.relkind IN ('r', 'p'))"""

_ROLE_LACKS = """
SELECT format('ALTER ROLE %%I IN DATABASE %%I SET search_path = ', %(role)s, current_database()) || %(path)s
 WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_db_role_setting s
                    WHERE s.setrole = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %(role)s)
                      AND s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
                      AND 'search_path=' || %(path)s = ANY (s.setconfig))"""


def is_settled(control: Control, schema: str) -> bool:
    """Tell whether this role's tables are made there already."""
    return str(control.row(_PATH)[0]).split(",")[0].strip() == schema


def ensure(run: Run) -> None:
    """Make the app's schema as the settings say, before any connection is made that works in it."""
    if run.settings.app_schema and not is_settled(run.control, run.settings.app_schema):
        settle(run)


def settle(run: Run) -> None:
    """Make the schema, and put it first on this role's path; connections made from now on are there."""
    control, schema = run.control, run.settings.app_schema
    with lock.held(control, run.deadline.sooner(run.settings.lock_wait_ms), run.interrupt, run.tell):
        _refuse_a_move(control, schema)
        path = control.row(_NEW_PATH, {"schema": schema})[0]
        control.rows(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
        role = control.row("SELECT current_user")[0]
        for (statement,) in control.rows(_ROLE_LACKS, {"role": role, "path": path}):
            control.rows(statement)
    control.renew()  # for what a session begins with
    control.bound(run.settings)
    if not is_settled(control, schema):
        raise Refused(
            f"MIGRATOR_APP_SCHEMA names {schema}, and {control.where.shown} has another search path",
            "take search_path out of the URL's options",
        )
    run.tell(f"settled    the app's tables in schema {schema}")


def give(control: Control, role: str) -> int:
    """Give the app's role the path of this one; return how many statements that took."""
    import psycopg2.errors  # noqa: PLC0415

    statements = control.rows(_ROLE_LACKS, {"role": role, "path": control.row(_PATH)[0]})
    for (statement,) in statements:
        try:
            control.rows(statement)
        except psycopg2.errors.InsufficientPrivilege:
            raise Refused(
                f"this role may not set the search path of {role}, which the app finds its tables by",
                f"run by hand: {statement}",
            ) from None
    return len(statements)


def _refuse_a_move(control: Control, schema: str) -> None:
    """Refuse a database whose tables are somewhere else: pending revisions would not find them."""
    for (table,) in control.rows(_ELSEWHERE, {"schema": schema}):
        if control.rows(f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608 - as the catalog wrote it
            raise Refused(
                f"MIGRATOR_APP_SCHEMA names {schema}, and this database was migrated to another schema",
                f"move the app's tables to {schema} first (ALTER TABLE … SET SCHEMA), or take the setting away",
            )
