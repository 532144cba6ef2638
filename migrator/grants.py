"""Grants: the app's role in; the rights it needs out: rows of its tables, its reports in the ledger, no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.errors import Refused
from migrator.statements import quoted

if TYPE_CHECKING:
    from migrator.connect import Control
    from migrator.means import Means

_SCHEMA = "SELECT nspname FROM pg_namespace WHERE nspname = (SELECT current_schema())"

# Tables, views and sequences of a schema the role lacks a right on; what an extension owns is not ours to grant.
_LACKING = """
SELECT format('GRANT %%s ON %%s %%s TO %%s', p.rights, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
              c.oid::regclass, quote_ident(%(role)s))
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = %(schema)s
 CROSS JOIN LATERAL (SELECT CASE c.relkind WHEN 'S' THEN 'USAGE, SELECT' WHEN 'm' THEN 'SELECT'
                     ELSE 'SELECT, INSERT, UPDATE, DELETE' END AS rights) p
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.relname <> 'alembic_version'
   AND pg_has_role(c.relowner, 'USAGE')
   AND NOT EXISTS (SELECT 1 FROM pg_depend d
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
   AND EXISTS (SELECT 1 FROM unnest(string_to_array(p.rights, ', ')) AS r (one)
               WHERE NOT CASE c.relkind WHEN 'S' THEN has_sequence_privilege(%(role)s, c.oid, r.one)
                                        ELSE has_table_privilege(%(role)s, c.oid, r.one) END)
 ORDER BY c.oid"""

_LEDGER_LACKING = """
SELECT format('GRANT %%s ON %%s TO %%s', p.rights, c.oid::regclass, quote_ident(%(role)s))
  FROM pg_class c
 CROSS JOIN LATERAL (SELECT CASE c.relname WHEN 'instance' THEN 'SELECT, INSERT, UPDATE, DELETE'
                     ELSE 'SELECT' END AS rights) p
 WHERE c.relnamespace = 'migrator'::regnamespace AND c.relkind = 'r'
   AND c.relname IN ('instance', 'release', 'run', 'step')
   AND EXISTS (SELECT 1 FROM unnest(string_to_array(p.rights, ', ')) AS r (one)
               WHERE NOT has_table_privilege(%(role)s, c.oid, r.one))"""

_SCHEMA_LACKING = """
SELECT format('GRANT USAGE ON SCHEMA %%I TO %%I', n.nspname, %(role)s) FROM pg_namespace n
 WHERE n.nspname IN ('migrator', %(schema)s) AND NOT has_schema_privilege(%(role)s, n.oid, 'USAGE')"""

# New tables carry the app's rights from their first moment, inside the revision's own transaction.
_DEFAULTS_LACKING = """
SELECT format('ALTER DEFAULT PRIVILEGES IN SCHEMA %%I GRANT %%s ON %%s TO %%I',
              %(schema)s::text, d.rights, d.kind, %(role)s)
  FROM (VALUES ('r', 'TABLES', 'SELECT, INSERT, UPDATE, DELETE', 4), ('S', 'SEQUENCES', 'USAGE, SELECT', 2))
    AS d (type, kind, rights, number)
 WHERE (SELECT count(*) FROM pg_default_acl a CROSS JOIN LATERAL aclexplode(a.defaclacl) e
         WHERE a.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
           AND a.defaclobjtype = d.type::"char"
           AND a.defaclnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
           AND e.grantee = (SELECT oid FROM pg_roles WHERE rolname = %(role)s)) < d.number"""

_PUBLIC_MAY_CREATE = """
SELECT format('REVOKE CREATE ON SCHEMA %%I FROM PUBLIC', n.nspname) FROM pg_namespace n
 WHERE n.nspname = %(schema)s AND pg_has_role(n.nspowner, 'USAGE')
   AND EXISTS (SELECT 1 FROM aclexplode(n.nspacl) e WHERE e.grantee = 0 AND e.privilege_type = 'CREATE')"""

_CHECKS = (_PUBLIC_MAY_CREATE, _SCHEMA_LACKING, _DEFAULTS_LACKING, _LACKING, _LEDGER_LACKING)


def role_of(means: Means) -> str:
    """Return the app's role: `app` for the project's own database, for a foreign one only what the operator names."""
    given = means.settings.app_role
    return given if means.settings.is_own_project or given != "app" else ""


def present_role(means: Means) -> str | None:
    """Return the app's role where the server has it."""
    role = role_of(means)
    return role if role and means.control.rows("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)) else None


def keep(means: Means) -> int:
    """Make the app's role where a password for it is given, and grant what it lacks; return how many statements ran."""
    role = role_of(means)
    if not role or not _exists_or_made(means.control, role, means.settings.app_password, means):
        return 0
    schema = _app_schema(means.control)
    statements = [row[0] for check in _CHECKS for row in means.control.rows(check, {"role": role, "schema": schema})]
    for statement in statements:
        means.control.rows(statement)
    if statements:
        means.tell(f"granted    {role}: {len(statements)} rights it lacked")
    return len(statements)


def _app_schema(control: Control) -> str:
    """Return the first schema of this role's own search path that exists (the control connection has set its own)."""
    rows = control.rows(
        "SELECT n.nspname FROM unnest(string_to_array("
        "(SELECT reset_val FROM pg_settings WHERE name = 'search_path'), ',')) "
        "WITH ORDINALITY AS p (name, place) JOIN pg_namespace n ON n.nspname = "
        "replace(btrim(p.name, ' \"'), '$user', current_user) WHERE n.nspname <> 'migrator' ORDER BY p.place LIMIT 1"
    )
    return rows[0][0] if rows else "public"


def _exists_or_made(control: Control, role: str, password: str, means: Means) -> bool:
    if control.rows("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)):
        return True
    if not password:
        return False
    import psycopg2.errors  # noqa: PLC0415
    import psycopg2.extensions  # noqa: PLC0415

    # Only a verifier is sent: the password itself stays out of the server's log.
    verifier = psycopg2.extensions.encrypt_password(password, role, control.raw, "scram-sha-256")
    try:
        control.rows(f"CREATE ROLE {quoted(role)} LOGIN PASSWORD %s", (verifier,))
    except psycopg2.errors.InsufficientPrivilege:
        raise Refused(
            f"this role may not create the app's role {role}",
            f"create it by hand (CREATE ROLE {quoted(role)} LOGIN PASSWORD …), or give the migrator's role CREATEROLE",
        ) from None
    means.tell(f"created    the database role {role}")
    return True
