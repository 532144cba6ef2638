"""Fingerprint: how a run left the database: its heads, a digest of the seals, the ledger's last step, all rights.

A run with nothing to do is the usual one. So each run notes at its end how it left the database; while nothing of that
has moved, the next one need not look again at what led to it: see `look`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockstep.postgres.control import Control
    from lockstep.settings import Settings

# Owners and rights of every relation that is not PostgreSQL's own, of schemas and of defaults, roles and memberships.
# Whoever grants, revokes, makes a table by hand or a role anew moves it. Hashed without printing: a millisecond.
RIGHTS = """
(SELECT hashtextextended(concat_ws('|', current_user, {path}, %(role)s,
   (SELECT concat_ws(' ', oid, rolsuper, rolinherit, rolbypassrls) FROM pg_catalog.pg_roles WHERE rolname = %(role)s),
   (SELECT concat(count(*), ' ', sum(hashint8extended(oid::bigint,
                                     coalesce(hash_array_extended(relacl, 0), 0) # relowner::bigint)))
      FROM pg_catalog.pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')),
   (SELECT sum(hashint8extended(oid::bigint, coalesce(hash_array_extended(nspacl, 0), 0) # nspowner::bigint))
      FROM pg_catalog.pg_namespace),
   (SELECT hash_array_extended(datacl, datdba::bigint) FROM pg_catalog.pg_database WHERE datname = current_database()),
   (SELECT sum(hashint8extended(oid::bigint, hash_array_extended(defaclacl, 0))) FROM pg_catalog.pg_default_acl),
   (SELECT sum(hashint8extended(roleid::bigint, member::bigint)) FROM pg_catalog.pg_auth_members)), 0))"""

_PATH = "(SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path')"

_NOTE = f"""
INSERT INTO migrator.state (heads, seals, step, rights)
SELECT %(heads)s, %(seals)s, (SELECT coalesce(max(id), 0) FROM migrator.step), {RIGHTS.format(path=_PATH)}
 WHERE NOT EXISTS (SELECT FROM migrator.step WHERE state = 'started')
ON CONFLICT (one) DO UPDATE SET heads = excluded.heads, seals = excluded.seals, step = excluded.step,
       rights = excluded.rights, noted = now()
 WHERE (state.heads, state.seals, state.step, state.rights)
       IS DISTINCT FROM (excluded.heads, excluded.seals, excluded.step, excluded.rights)"""  # noqa: S608 - our own text


def note(control: Control, settings: Settings, heads: tuple[str, ...], seals: str) -> None:
    """Note, under the run lock, how a run leaves the database; a revision cut off midway leaves nothing to rely on."""
    control.rows(_NOTE, {"heads": list(heads), "seals": seals, "role": settings.app_role})
