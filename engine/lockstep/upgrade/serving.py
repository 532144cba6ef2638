"""Serving: a database that was just loaded and a release's contract in; rights, state and the release's row out.

The last stages of a load, which its server's time is long enough to import: see `lockstep.upgrade.fresh`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from lockstep import contract
from lockstep.ledger import fingerprint, releases
from lockstep.upgrade import grants, verify

if TYPE_CHECKING:
    from lockstep.contract import Contract
    from lockstep.ledger.run_context import Means
    from lockstep.project.manifest import Manifest

NOTHING = contract.Contract(()).to_json()


@functools.cache
def needed(text: str) -> Contract:
    """Return what the release needs, of the manifest's JSON."""
    return contract.Contract.from_json(text)


def note(means: Means, known: Manifest) -> None:
    """Grant, and note how the database is left."""
    grants.keep(means)
    fingerprint.note(means.control, means.settings, known.heads, known.seals)


def record(connection: Any, means: Means, known: Manifest) -> None:
    """Verify and record, in the connection's transaction: does the schema serve this release? Raise Refused if not."""
    verify.serves(connection, needed(known.contract), grants.present_role(means), None)
    releases.record(connection, known.models, means.settings.commit, needed(known.contract))
