"""Pending: by a range or a git ref, which revisions are taken as applied and which are rehearsed, in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.develop.rehearsal import git
from lockstep.errors import Usage
from lockstep.project import plan

if TYPE_CHECKING:
    from alembic.script import Script, ScriptDirectory

_REVISION = re.compile(r"^revision(?:\s*:\s*[\w\[\] |]+)?\s*=\s*[\"']([^\"']+)", re.MULTILINE)
MAIN_BRANCHES = ("origin/HEAD", "origin/main", "origin/master", "main", "master")


@dataclass(frozen=True)
class Pending:
    """What to bring the database to, what to rehearse on it, and how that was found."""

    base: tuple[Script, ...]
    scripts: tuple[Script, ...]
    how: str


def find(script: ScriptDirectory, start: str | None, end: str, against: str | None) -> Pending:
    """Return the revisions to rehearse; raise Usage where the range or the ref is none."""
    ordered = plan.alembic_says(lambda: list(script.walk_revisions()))[::-1]
    wanted = _below(script, end)
    if start:
        known, how = _below(script, start), f"after {start}"
    else:
        known, how = _in_git(Path(script.versions), against)
        if known is None:  # no git, or no other branch to compare with
            heads = set(script.get_revisions(end)) if end != "base" else set()
            known = wanted - {item.revision for item in heads if item}
            how = "the last one"
    base = tuple(item for item in ordered if item.revision in known & wanted)
    return Pending(base, tuple(item for item in ordered if item.revision in wanted - known), how)


def _below(script: ScriptDirectory, target: str) -> set[str]:
    if target == "base":
        return set()
    plan.alembic_says(lambda: script.get_revisions(target))  # says it better where there is none
    return plan.alembic_says(
        lambda: {item.revision for item in script.iterate_revisions(target, "base", inclusive=True, implicit_base=True)}
    )


def _in_git(versions: Path, against: str | None) -> tuple[set[str] | None, str]:
    """Return the revisions of the commit where this branch left the other one."""
    for ref in (against,) if against else MAIN_BRANCHES:
        commit = git.says(versions, "merge-base", "HEAD", ref)
        if commit:
            return _revisions_of(versions, commit), f"not in {ref} ({commit[:12]})"
    if against:
        raise Usage(f"git knows no common commit with {against}", "fetch it, or name a revision with --from")
    return None, ""


def _revisions_of(versions: Path, commit: str) -> set[str]:
    found = set()
    names = (git.says(versions, "ls-tree", "-r", "--name-only", commit, ".") or "").splitlines()
    for name in names:
        if name.endswith(".py"):
            found |= set(_REVISION.findall(git.says(versions, "show", f"{commit}:./{name}") or ""))
    return found
