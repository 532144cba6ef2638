"""Reporting: this instance's row in the ledger.

While the row is fresh the release counts as live, and the migrator holds back what would break it. Times are the
database's: a wrong clock on this host does not matter.
"""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import ARRAY, Text, bindparam, text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sqlalchemy import Connection

    from lockstep_gate.release import Release

# Who signs in is told by the server: a role that SET ROLE took on is not what a connection begins with.
REPORT = text(
    "INSERT INTO migrator.instance (id, release, commit, host, role, driver, schemas)"
    " VALUES (:id, :release, :commit, :host, session_user, :driver, :schemas)"
    " ON CONFLICT (id) DO UPDATE SET seen = now(), ended = NULL,"
    " role = excluded.role, driver = excluded.driver, schemas = excluded.schemas"
).bindparams(bindparam("schemas", type_=ARRAY(Text)))
# To a ledger of an older engine, which has no place for who an instance is.
REPORT_BARE = text(
    "INSERT INTO migrator.instance (id, release, commit, host) VALUES (:id, :release, :commit, :host)"
    " ON CONFLICT (id) DO UPDATE SET seen = now(), ended = NULL"
)
_HAS_A_PLACE = text(
    "SELECT count(*) = 3 FROM pg_catalog.pg_attribute WHERE attrelid = CAST('migrator.instance' AS regclass)"
    " AND attname IN ('role', 'driver', 'schemas') AND NOT attisdropped"
)
# Ended, not deleted: that somebody ever reported tells the migrator that no app here keeps silent.
SIGN_OFF = text("UPDATE migrator.instance SET ended = now() WHERE id = :id")


@dataclass(frozen=True)
class Instance:
    """One running process of a release; `schemas` are those of its tenants, or a function that says which they are."""

    release: Release
    schemas: Collection[str] | Callable[[], Collection[str]] = ()
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    host: str = field(default_factory=socket.gethostname)


def report(connection: Connection, instance: Instance, name: str = "") -> None:
    """Say that the instance lives, and who it is; `name` is what the ledger calls its release, where not its first."""
    row = {"id": instance.id, "release": name or instance.release.digest}
    row |= {"commit": instance.release.commit, "host": instance.host}
    if not connection.execute(_HAS_A_PLACE).scalar():
        connection.execute(REPORT_BARE, row)
        return
    schemas = instance.schemas() if callable(instance.schemas) else instance.schemas
    connection.execute(REPORT, row | {"driver": connection.dialect.driver, "schemas": sorted(schemas) or None})


def sign_off(connection: Connection, instance: Instance) -> None:
    """Say that the instance ended: it counts as live no more, at once. No harm where it never reported."""
    connection.execute(SIGN_OFF, {"id": instance.id})
