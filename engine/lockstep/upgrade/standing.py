"""Standing: the control connection and a manifest in; whether the database is where the files end, by the ledger too.

What `status` and `plan` ask first. Where it is so, neither Alembic nor a revision file has to be loaded to say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep import ledger
from lockstep.project import manifest
from lockstep.project.plan import Plan

if TYPE_CHECKING:
    from lockstep.postgres.control import Control
    from lockstep.project.manifest import Manifest
    from lockstep.settings import Settings

# Where there is another version table as well, env.py has to say which one counts.
_ONE_TABLE = (
    "SELECT to_regclass('migrator.alembic_version') IS NOT NULL "
    "AND (SELECT count(*) FROM pg_class WHERE relname = 'alembic_version') = 1"
)


def known(settings: Settings) -> Manifest | None:
    """Return the manifest, where the run is on the project that it is of, and it is of the files as they are."""
    return manifest.read() if settings.is_own_project else None


def at_head(control: Control, manifested: Manifest | None) -> Plan | None:
    """Return the plan with no step if the database is at the files' head with their seals; else None."""
    if manifested is None or not ledger.version(control) or not control.row(_ONE_TABLE)[0]:
        return None
    heads = tuple(sorted(row[0] for row in control.rows("SELECT version_num FROM migrator.alembic_version")))
    entries = ledger.entries(control).values()
    seals = {item.revision: item.seal or "" for item in entries if item.direction != "down"}
    if heads != manifested.heads or manifest.digest_of(seals) != manifested.seals:
        return None
    return None if any(item.state != "finished" for item in entries) else Plan(heads, ())
