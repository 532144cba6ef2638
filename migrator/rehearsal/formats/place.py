"""Place: a finding's file as a reader in the repository knows it."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from migrator import surroundings


@cache
def _top(directory: Path) -> Path:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--show-toplevel"],
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
            env=surroundings.without_secrets(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return Path.cwd()
    return Path(done.stdout.strip()) if done.returncode == 0 else Path.cwd()


def relative(path: str) -> str:
    """Return the path from the top of the repository, else from here, else as it is."""
    whole = Path(path).resolve()
    top = _top(whole.parent).resolve()
    return str(whole.relative_to(top)) if whole.is_relative_to(top) else str(whole)
