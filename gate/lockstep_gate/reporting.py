"""Reporting: this instance's row in the ledger.

While the row is fresh the release counts as live, and the migrator holds back what would break it. Times are the
database's: a wrong clock on this host does not matter.
"""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lockstep_gate.release import Release

REPORT = text(
    "INSERT INTO migrator.instance (id, release, commit, host) VALUES (:id, :release, :commit, :host)"
    " ON CONFLICT (id) DO UPDATE SET seen = now(), ended = NULL"
)
# Ended, not deleted: that somebody ever reported tells the migrator that no app here keeps silent.
SIGN_OFF = text("UPDATE migrator.instance SET ended = now() WHERE id = :id")


@dataclass(frozen=True)
class Instance:
    """One running process of a release."""

    release: Release
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    host: str = field(default_factory=socket.gethostname)


def report(connection: Connection, instance: Instance, name: str = "") -> None:
    """Say that the instance lives; `name` is what the ledger knows its release by, where that is not its first name."""
    row = {"id": instance.id, "release": name or instance.release.digest}
    connection.execute(REPORT, row | {"commit": instance.release.commit, "host": instance.host})


def sign_off(connection: Connection, instance: Instance) -> None:
    """Say that the instance ended: it counts as live no more, at once. No harm where it never reported."""
    connection.execute(SIGN_OFF, {"id": instance.id})
