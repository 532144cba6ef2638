"""Release: a models file in, the digest that names the release out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lockstep.project.environment import Project


def digest(models: Path) -> str:
    """Return 'sha256:' and the hex digest of the file's bytes; app and migrator compute the same."""
    return "sha256:" + hashlib.sha256(models.read_bytes()).hexdigest()


def of_project(project: Project) -> str | None:
    """Return the digest of the project's models file; None where alembic.ini names none."""
    return digest(project.models) if project.models and project.models.is_file() else None
