"""Release: the models file and the build's commit in, the name this build goes by in the ledger out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

MODELS_FILE = Path(__file__).parent / "storage" / "models.py"


@dataclass(frozen=True)
class Release:
    """One build of the app: the digest of its models file, and the commit it was built from."""

    digest: str
    commit: str

    def __str__(self) -> str:
        return f"release {self.digest[:19]} (commit {self.commit[:12]})"


def of_this_build(commit: str) -> Release:
    """Return the release this code is; the migrator computes the same digest from its copy of the models."""
    return Release(digest=f"sha256:{hashlib.sha256(MODELS_FILE.read_bytes()).hexdigest()}", commit=commit)
