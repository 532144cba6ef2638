"""Verify: the schema after the run and this release's needs in, a yes or a Refused out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator import ledger
from migrator.errors import Refused

if TYPE_CHECKING:
    from migrator.connect import Control


def ahead(control: Control, unknown: tuple[str, ...], digest: str | None) -> None:
    """Pass a database that is ahead of this image if the ledger shows it serves this release; else raise Refused."""
    names = ", ".join(unknown)
    if digest is None or not ledger.is_recorded(control, digest):
        raise Refused(
            f"the database is at {names}, which this image does not have, and its ledger does not show this release",
            "deploy an image that holds this revision, or one of a release the ledger knows (`migrator status`)",
        )
