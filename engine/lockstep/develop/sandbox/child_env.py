"""Child env: what a program that we start needs of this process's environment; no URL, no password."""

from __future__ import annotations

import os

OURS = ("MIGRATOR_", "DATABASE_", "PG", "RENDER_")


def without_secrets() -> dict[str, str]:
    """Return the environment for a program that has nothing to do with the database that is migrated."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
