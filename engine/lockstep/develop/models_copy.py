"""Models copy: refresh the migrator's byte-for-byte copy of the app's models, or tell whether the two differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.errors import Usage

if TYPE_CHECKING:
    from lockstep.project.environment import Project


def source(project: Project) -> Path | None:
    """Return the app's models file that the project names (`models_source = …`), where it is present."""
    value = project.settings.models_source
    return Path(value).resolve() if value and Path(value).is_file() else None


def differs(project: Project) -> bool:
    """Tell whether the app's models are here and are not what the copy holds."""
    original, copy = source(project), project.models
    if original is None or copy is None:
        return False
    return not copy.is_file() or original.read_bytes() != copy.read_bytes()


def refresh(project: Project) -> Path | None:
    """Copy the app's models over; return the copy's path when it changed. Raise Usage when they cannot be loaded."""
    if not differs(project):
        return None
    from lockstep import contract  # noqa: PLC0415

    original, copy = source(project), project.models
    if original is None or copy is None:
        raise Usage("alembic.ini names no models", "set `models` and `models_source` in it")
    contract.load_models(original)  # a broken file is refused before the copy changes
    partial = copy.with_suffix(".partial")
    partial.write_bytes(original.read_bytes())
    partial.replace(copy)
    return copy
