"""Given release: which release a command is about: what `--contract` or LOCKSTEP_CONTRACT names, else contract.json."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep_gate import release
from lockstep_gate.errors import Usage

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Mapping

    from lockstep_gate.release import Release

VARIABLE = "LOCKSTEP_CONTRACT"
BESIDE = Path("contract.json")


def add_argument(parser: ArgumentParser) -> None:
    """Let a command take the contract."""
    parser.add_argument(
        "--contract",
        metavar="CONTRACT",
        help=f"a contract.json, a models file, or package.module:Base (env: {VARIABLE}; else {BESIDE} where it is run)",
    )


def find(source: Any, environ: Mapping[str, str]) -> Release:
    """Return the release; raise an error with its cure where nothing says which, or it cannot be read."""
    source = source or environ.get(VARIABLE, "").strip() or (BESIDE if BESIDE.is_file() else None)
    if source is None:
        raise Usage(
            "nothing says which release this is",
            f"give --contract or set {VARIABLE}: a contract.json, a models file, or package.module:Base",
        )
    return release.of(source, release.commit_of(environ))
