"""Release: which release this build of the app is, by its models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lockstep_gate import release

if TYPE_CHECKING:
    from lockstep_gate.release import Release

MODELS_FILE = Path(__file__).parent / "storage" / "models.py"


def of_this_build(commit: str) -> Release:
    """Return the release this code is; the migrator computes the same names from its copy of the models."""
    return release.of(MODELS_FILE, commit)
