"""State: a directory in, what is kept in it between runs out. Passwords are in a file only its owner can read."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lockstep import errors

ROOT = Path(__file__).resolve().parent.parent
DIRECTORY = ROOT / ".local"
DATA = "data"
PASSWORDS = "passwords.json"
PORT = "port"


@dataclass(frozen=True)
class Passwords:
    """One for each role of the local server; made at random, for this machine only."""

    postgres: str = field(repr=False)
    migrator: str = field(repr=False)
    app: str = field(repr=False)


def passwords(directory: Path) -> Passwords:
    """Return the passwords kept in `directory`, made up at the first call."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / PASSWORDS
    if not path.exists():
        if (directory / DATA).exists():
            raise errors.Usage(f"{path} is gone, and with it the way in", "`make reset` starts afresh")
        made = Passwords(*(secrets.token_urlsafe(18) for _ in range(3)))
        _write(path, json.dumps(asdict(made)))
        return made
    try:
        return Passwords(**json.loads(path.read_text()))
    except (ValueError, TypeError):
        raise errors.Usage(f"{path} is damaged", "`make reset` starts afresh") from None
    except PermissionError:
        raise errors.Usage(f"{path} belongs to another user", "Run as the user who ran `make up`") from None


def port(directory: Path) -> int | None:
    """Return the port the server had last time."""
    try:
        return int((directory / PORT).read_text())
    except (FileNotFoundError, ValueError):
        return None


def keep_port(directory: Path, number: int) -> None:
    """Remember the port, so that it is the same next time."""
    _write(directory / PORT, f"{number}\n")


def remove(directory: Path) -> None:
    """Throw everything kept away."""
    try:
        shutil.rmtree(directory)
    except PermissionError as error:
        raise errors.Usage(
            f"{error.filename} belongs to another user", "Run it as the user who ran `make up`"
        ) from None


def _write(path: Path, text: str) -> None:
    """Write a whole file or none, readable for its owner only."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)
