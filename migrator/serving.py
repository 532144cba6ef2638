"""Serving: a database that was just loaded and a release's contract in; rights, state and the release's row out.

The last stages of a load, which its server's time is long enough to import: see `migrator.fresh`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from migrator import contract, grants, releases, state, verify

if TYPE_CHECKING:
    from migrator.contract import Contract
    from migrator.manifest import Manifest
    from migrator.means import Means

NOTHING = contract.Contract(()).to_json()


@functools.cache
def needed(text: str) -> Contract:
    """Return what the release needs, of the manifest's JSON."""
    return contract.Contract.from_json(text)


def note(means: Means, known: Manifest) -> None:
    """Grant, and note how the database is left."""
    grants.keep(means)
    state.note(means.control, means.settings, known.heads, known.seals)


def record(connection: Any, means: Means, known: Manifest) -> None:
    """Verify and record, in the connection's transaction: does the schema serve this release? Raise Refused if not."""
    verify.serves(connection, needed(known.contract), grants.present_role(means), None)
    releases.record(connection, known.models, means.settings.commit, needed(known.contract))
