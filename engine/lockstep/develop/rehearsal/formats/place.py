"""Place: a finding's file as a reader in the repository knows it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lockstep.develop.rehearsal import git


@cache
def _top(directory: Path) -> Path:
    top = git.says(directory, "rev-parse", "--show-toplevel")
    return Path(top) if top else Path.cwd()


def relative(path: str) -> str:
    """Return the path from the top of the repository, else from here, else as it is."""
    whole = Path(path).resolve()
    top = _top(whole.parent).resolve()
    return str(whole.relative_to(top)) if whole.is_relative_to(top) else str(whole)
