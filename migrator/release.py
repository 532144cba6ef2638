"""Release: a models file in, the digest that names the release out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def digest(models: Path) -> str:
    """Return 'sha256:' and the hex digest of the file's bytes; app and migrator compute the same."""
    return "sha256:" + hashlib.sha256(models.read_bytes()).hexdigest()
