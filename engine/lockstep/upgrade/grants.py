"""Grants: give the app's role the rights it needs on the rows of its tables and its reports, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.errors import Refused
from lockstep.postgres import prepared
from lockstep.postgres.statements import quoted
from lockstep.upgrade import app_schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lockstep.ledger.run_context import Run
    from lockstep.postgres.control import Control

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
   AND c.relname IN ('deferred', 'instance', 'release', 'run', 'step')
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

# Every schema a revision made for tables of its own gets the same as the app's first one.
_SCHEMAS = """
SELECT nspname FROM pg_namespace
 WHERE nspname = %(schema)s OR (nspowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
   AND nspname <> 'migrator' AND nspname !~ '^pg_') ORDER BY nspname <> %(schema)s, nspname"""

# By default everybody may make temporary tables, which is DDL too.
_PUBLIC_MAY_MAKE_TEMPORARY = """
SELECT format('REVOKE TEMPORARY ON DATABASE %%I FROM PUBLIC', d.datname) FROM pg_database d
 WHERE d.datname = current_database() AND pg_has_role(d.datdba, 'USAGE')
   AND EXISTS (SELECT 1 FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) e
                WHERE e.grantee = 0 AND e.privilege_type = 'TEMPORARY')"""

_IN_EACH_SCHEMA = (_PUBLIC_MAY_CREATE, _SCHEMA_LACKING, _DEFAULTS_LACKING, _LACKING)

# What a role may beyond rows, as 'what it may | what takes it away'. A superuser may everything: that alone is said.
_ROLE_EXCESS = """
SELECT a.may, 'ALTER ROLE ' || quote_ident(r.rolname) || ' ' || a.cure
  FROM pg_roles r
 CROSS JOIN LATERAL (VALUES
       (r.rolsuper, 'is a superuser', 'NOSUPERUSER'),
       (r.rolcreatedb, 'may create databases', 'NOCREATEDB'),
       (r.rolcreaterole, 'may create roles', 'NOCREATEROLE'),
       (r.rolreplication, 'may replicate', 'NOREPLICATION'),
       (r.rolbypassrls, 'bypasses row level security', 'NOBYPASSRLS')) AS a (has, may, cure)
 WHERE r.rolname = %(role)s AND a.has
UNION ALL
SELECT format('is a member of %%I', m.rolname), format('REVOKE %%I FROM %%I', m.rolname, r.rolname)
  FROM pg_roles r JOIN pg_roles m ON m.oid <> r.oid AND pg_has_role(r.oid, m.oid, 'MEMBER')
 WHERE r.rolname = %(role)s AND NOT r.rolsuper AND m.rolname <> 'pg_database_owner'
UNION ALL
SELECT 'owns ' || pg_describe_object(d.classid, d.objid, d.objsubid), 'give it to the role that migrates (… OWNER TO …)'
  FROM pg_shdepend d JOIN pg_roles r ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid
 WHERE r.rolname = %(role)s AND d.deptype = 'o'
   AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))"""

_PLACE_EXCESS = """
SELECT format('may %%s in the database', p.verb),
       format('REVOKE %%s ON DATABASE %%I FROM %%I, PUBLIC', p.verb, current_database(), %(role)s)
  FROM (VALUES ('CREATE'), ('TEMPORARY')) AS p (verb)
 WHERE has_database_privilege(%(role)s, current_database(), p.verb)
UNION ALL
SELECT format('may CREATE in schema %%I', n.nspname),
       format('REVOKE CREATE ON SCHEMA %%I FROM %%I, PUBLIC', n.nspname, %(role)s)
  FROM pg_namespace n
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND has_schema_privilege(%(role)s, n.oid, 'CREATE')"""

# On tables any column counts: an UPDATE of one column of the ledger is one too many.
_RELATION_EXCESS = """
SELECT format('may %%s %%s', p.verb, c.oid::regclass),
       format('REVOKE %%s ON %%s FROM %%I, PUBLIC', p.verb, c.oid::regclass, %(role)s)
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
 CROSS JOIN unnest(%(verbs)s::text[]) AS p (verb)
 CROSS JOIN LATERAL (SELECT CASE
       WHEN c.relkind = 'S' THEN CASE WHEN n.nspname <> 'migrator' THEN 'USAGE SELECT' ELSE '' END
       WHEN c.relname = 'alembic_version' THEN ''
       WHEN n.nspname <> 'migrator' OR c.relname = 'instance' THEN 'SELECT INSERT UPDATE DELETE'
       WHEN c.relname IN ('deferred', 'release', 'run', 'step') THEN 'SELECT' ELSE '' END AS rights) AS allowed
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND strpos(allowed.rights, p.verb) = 0
   AND NOT EXISTS (SELECT 1 FROM pg_depend d
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
   AND CASE WHEN c.relkind = 'S' THEN p.verb IN ('USAGE', 'SELECT', 'UPDATE')
                                  AND has_sequence_privilege(%(role)s, c.oid, p.verb)
            WHEN p.verb IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
              THEN has_any_column_privilege(%(role)s, c.oid, p.verb)
            WHEN p.verb <> 'USAGE' THEN has_table_privilege(%(role)s, c.oid, p.verb) END
UNION ALL
SELECT format('may pass on %%s on %%s', e.privilege_type, c.oid::regclass),
       format('REVOKE GRANT OPTION FOR %%s ON %%s FROM %%I', e.privilege_type, c.oid::regclass, %(role)s)
  FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) e
 WHERE e.is_grantable AND e.grantee = (SELECT oid FROM pg_roles WHERE rolname = %(role)s) AND e.grantee <> c.relowner
UNION ALL
SELECT format('like everybody, may %%s %%s', e.privilege_type, c.oid::regclass),
       format('REVOKE %%s ON %%s FROM PUBLIC', e.privilege_type, c.oid::regclass)
  FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) e
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
 WHERE e.grantee = 0
   AND NOT EXISTS (SELECT 1 FROM pg_depend d
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 1"""

_VERBS = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "USAGE"]
HAS_MAINTAIN = 170000


def role_of(run: Run) -> str:
    """Return the app's role that the project or the operator names; '' where neither does."""
    return run.settings.app_role


def present_role(run: Run) -> str | None:
    """Return the app's role where the server has it."""
    role = role_of(run)
    return role if role and run.control.rows("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)) else None


def keep(run: Run) -> int:
    """Make the app's role where a password for it is given, and grant what it lacks; return how many statements ran."""
    role = role_of(run)
    if not role or not _exists_or_made(run.control, role, run.settings.app_password, run):
        return 0
    control = run.control
    schemas = [row[0] for row in control.rows(_SCHEMAS, {"schema": _app_schema(control)})]
    checks = [(check, schema) for schema in schemas for check in _IN_EACH_SCHEMA]
    checks += [(_LEDGER_LACKING, None)]
    if run.settings.no_temporary_tables:  # an app may well use some
        checks += [(_PUBLIC_MAY_MAKE_TEMPORARY, None)]
    statements = [row[0] for check, schema in checks for row in control.rows(check, {"role": role, "schema": schema})]
    for statement in dict.fromkeys(statements):
        run.control.rows(statement)
    if statements:
        run.tell(f"granted    {role}: {len(statements)} rights it lacked")
    return len(statements) + (app_schema.give(control, role) if run.settings.app_schema else 0)


def put_back(run: Run, connection: Connection) -> int:
    """Grant, in a step's own transaction, what the step took from the app's role and this run would grant again."""
    role = present_role(run)
    if not role:
        return 0
    given = 0
    for (schema,) in prepared.rows(connection, _SCHEMAS, {"schema": _app_schema(run.control)}):
        for check in (_SCHEMA_LACKING, _LACKING):
            for (statement,) in prepared.rows(connection, check, {"role": role, "schema": schema}):
                prepared.rows(connection, statement.replace("%", "%%"))
                given += 1
    return given


def excess(control: Control, role: str) -> list[tuple[str, str]]:
    """Return every right beyond the rows of its tables that a role has here, each with what takes it away."""
    of_role = control.rows(_ROLE_EXCESS, {"role": role})
    if any(may == "is a superuser" for may, _ in of_role):
        return [(may, cure) for may, cure in of_role if may == "is a superuser"]
    verbs = [*_VERBS, *(["MAINTAIN"] if control.server_version >= HAS_MAINTAIN else [])]
    found = of_role + control.rows(_PLACE_EXCESS, {"role": role})
    found += control.rows(_RELATION_EXCESS, {"role": role, "verbs": verbs})
    return [(may, cure) for may, cure in found]


def _app_schema(control: Control) -> str:
    """Return the first schema of this role's own search path that exists (the control connection has set its own)."""
    rows = control.rows(
        "SELECT n.nspname FROM unnest(string_to_array("
        "(SELECT reset_val FROM pg_settings WHERE name = 'search_path'), ',')) "
        "WITH ORDINALITY AS p (name, place) JOIN pg_namespace n ON n.nspname = "
        "replace(btrim(p.name, ' \"'), '$user', current_user) WHERE n.nspname <> 'migrator' ORDER BY p.place LIMIT 1"
    )
    return rows[0][0] if rows else "public"


def _exists_or_made(control: Control, role: str, password: str, run: Run) -> bool:
    if control.rows("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)):
        return True
    if not password:
        return False
    import psycopg2.errors  # noqa: PLC0415
    import psycopg2.extensions  # noqa: PLC0415

    # Only a verifier is sent: the password itself stays out of the server's log.
    verifier = psycopg2.extensions.encrypt_password(password, role, control.raw, "scram-sha-256")
    try:
        control.rows(f"CREATE ROLE {quoted(role).replace('%', '%%')} LOGIN PASSWORD %s", (verifier,))
    except psycopg2.errors.InsufficientPrivilege:
        raise Refused(
            f"this role may not create the app's role {role}",
            f"create it by hand (CREATE ROLE {quoted(role)} LOGIN PASSWORD …), or give the migrator's role CREATEROLE",
        ) from None
    run.tell(f"created    the database role {role}")
    return True
