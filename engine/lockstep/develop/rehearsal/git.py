"""Git: run git in a directory, and return what it says."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from lockstep.develop.sandbox import child_env

if TYPE_CHECKING:
    from pathlib import Path


def says(directory: Path, *arguments: str) -> str:
    """Return what git says, or '' where it cannot."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env=child_env.without_secrets(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
