"""Unprivileged: make a command such that PostgreSQL accepts it from root.

PostgreSQL refuses to run as uid 0, and root's fresh clone often lies under a directory only root may enter
(/root, `mktemp -d`), which no other user can traverse: neither to the data nor to the binaries. Making users and
opening other people's directories is not ours to do, so the server gets another uid and keeps one right of root:
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockstep import errors
from lockstep.develop.sandbox import child_env

if TYPE_CHECKING:
    from pathlib import Path

ROOT = 0
NOBODY = 65534

# CAP_DAC_OVERRIDE as an ambient capability: kept across exec, and in the default set of plain containers, where
# user namespaces are blocked. Without no_setuid_fixup access(2) leaves it out of account for a uid other than 0,
# and PostgreSQL asks access(2) whether it finds its own binaries.
_ONE_RIGHT = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup")


@dataclass(frozen=True)
class Way:
    """How to run the server's binaries: a prefix for their command line, and the uid that owns the data outside."""

    prefix: tuple[str, ...]
    owner: int


def way(bin_dir: Path, data: Path) -> Way:
    """Return the first way in which `initdb` runs here and can reach `data`; plain for anybody but root."""
    if os.geteuid() != ROOT:
        _require_passwd_entry()
        return Way((), os.geteuid())
    said = "setpriv (util-linux) is not installed"
    for candidate in _ways():
        if shutil.which(candidate.prefix[0]) is None:
            continue
        said = _refusal(candidate, bin_dir, data)
        if not said:
            return candidate
    raise errors.Usage(
        f"PostgreSQL does not run as root, and could not be started as another user: {said}",
        "Run it as an ordinary user",
    )


def hand_over(directory: Path, owner: int) -> None:
    """Give a directory of ours, and what is in it, to the uid the server runs as."""
    if directory.stat().st_uid == owner:
        return
    for top, _, files in os.walk(directory):
        os.chown(top, owner, -1)
        for name in files:
            os.chown(os.path.join(top, name), owner, -1, follow_symlinks=False)  # noqa: PTH118 (a thousand of them)


def _ways() -> tuple[Way, ...]:
    try:
        nobody = pwd.getpwnam("nobody").pw_uid
    except KeyError:
        nobody = NOBODY
    user = ("setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups")
    return (
        Way((*user, *_ONE_RIGHT, "--"), nobody),
        # Where capabilities are dropped: good enough if the directories can be entered by all.
        Way((*user, "--"), nobody),
        # A sandbox that knows uid 0 only: the same user under another number. Its files stay root's outside.
        Way(("unshare", "--user", f"--map-user={nobody}", f"--map-group={nobody}", "--"), ROOT),
    )


def _refusal(candidate: Way, bin_dir: Path, data: Path) -> str:
    """Return why this way does not work here; empty if it does. `initdb --show` looks and changes nothing."""
    look = ["sh", "-c", 'cd "$0" && exec "$@"', str(data), str(bin_dir / "initdb"), "--show", "-D", str(data)]
    owner = data.stat().st_uid
    os.chown(data, candidate.owner, -1)
    done = subprocess.run(
        [*candidate.prefix, *look],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=child_env.without_secrets(),
    )
    if done.returncode == 0:
        return ""
    os.chown(data, owner, -1)
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _require_passwd_entry() -> None:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise errors.Usage(
            f"PostgreSQL's initdb needs a name for uid {os.geteuid()}, and /etc/passwd has none",
            "Run as a user that has a name, or name a server by TEST_DATABASE_URL or MIGRATOR_SHADOW_URL",
        ) from None
