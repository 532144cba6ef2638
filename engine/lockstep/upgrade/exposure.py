"""Exposure: find the tables of ours that anyone with the public key of a Data API could reach.

A Data API (PostgREST, as at Supabase) signs in as the roles anon and authenticated. What these may touch in a schema
that it serves is public, unless row level security stands before it; tables made by SQL have that off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lockstep.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from lockstep.postgres.control import Control
    from lockstep.project.plan import Step
    from lockstep.settings import Settings

NONE = "none"

_ROLES_HERE = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated')"

# A view reads with its owner's rights unless it says security_invoker: the tables' row level security is passed by.
_REACHED = """
SELECT format('%%I.%%I', n.nspname, c.relname), r.rolname, string_agg(p.word, ', ' ORDER BY p.place),
       c.relkind IN ('r', 'p')
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = ANY (string_to_array(%(schemas)s, ','))
 CROSS JOIN pg_catalog.pg_roles r
 CROSS JOIN (VALUES ('SELECT', 1), ('INSERT', 2), ('UPDATE', 3), ('DELETE', 4)) AS p (word, place)
 WHERE r.rolname IN ('anon', 'authenticated') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND NOT c.relrowsecurity
   AND NOT coalesce(c.reloptions && ARRAY['security_invoker=true', 'security_invoker=on'], false)
   AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
   AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE')
   AND CASE p.word WHEN 'DELETE' THEN pg_catalog.has_table_privilege(r.oid, c.oid, p.word)
                   ELSE pg_catalog.has_any_column_privilege(r.oid, c.oid, p.word) END
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                   WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 GROUP BY n.nspname, c.relname, r.rolname, c.relkind ORDER BY 1, 2"""


class Exposed(NamedTuple):
    """One table that one public role may reach."""

    table: str
    role: str
    rights: str
    can_have_rls: bool

    def __str__(self) -> str:
        return f"{self.role} may {self.rights} on {self.table}, which the Data API serves without row level security"


def schemas(settings: Settings) -> str:
    """Return the schemas the Data API serves, joined by commas; '' where it is said to be off."""
    given = settings.exposed_schemas.replace(" ", "")
    return "" if given == NONE else given


def find(rows: Callable[..., list[Any]], settings: Settings) -> tuple[Exposed, ...]:
    """Return what is exposed; nothing on a database that has no such roles, which one short question tells."""
    served = schemas(settings)
    if not served or not rows(_ROLES_HERE):
        return ()
    return tuple(Exposed(*row) for row in rows(_REACHED, {"schemas": served}))


def refusal(found: tuple[Exposed, ...], where: str) -> Refused:
    """Return the error that names the tables, the rights and the ways out."""
    first = found[0]
    roles = ", ".join(sorted({item.role for item in found if item.table == first.table}))
    rls = (
        f", or ALTER TABLE {first.table} ENABLE ROW LEVEL SECURITY with a policy for the app's role"
        if first.can_have_rls
        else ""
    )
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return Refused(
        f"{where}{first}{more}",
        f"REVOKE ALL ON {first.table} FROM {roles}{rls} (MIGRATOR_EXPOSED_SCHEMAS=none says that the Data API is off)",
        details=tuple(str(item) for item in found),
    )


def watch(control: Control, settings: Settings) -> tuple[Callable[[Connection, Step], None], ...]:
    """Return the check of a run's steps: one that exposes more than before is refused in its own transaction."""
    if not schemas(settings) or not control.rows(_ROLES_HERE):
        return ()
    before = set(find(control.rows, settings))

    def check(connection: Connection, step: Step) -> None:
        def rows(sql: str, parameters: dict[str, Any] | None = None) -> list[Any]:
            return list(connection.exec_driver_sql(sql, parameters or {}))

        new = tuple(item for item in find(rows, settings) if item not in before)
        if new:
            raise refusal(new, f"{step.label} would open a table to everybody: ")

    return (check,)


def require_none(control: Control, settings: Settings) -> None:
    """Raise Refused if a table of ours is open, whoever opened it."""
    found = find(control.rows, settings)
    if found:
        raise refusal(found, "a table is open to everybody: ")
