"""Release: the name of the project's release in the ledger; lockstep_gate.release decides what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep_gate.release import name_of_file

if TYPE_CHECKING:
    from lockstep.project.environment import Project


def of_project(project: Project) -> str | None:
    """Return the name of the project's release; None where alembic.ini names none."""
    if not project.models or not project.models.is_file():
        return None
    return name_of_file(project.models.read_bytes())
