"""`wait`: the same as `ask`, again and again until the schema serves this release or the time is up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lockstep_gate.commands import ask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT = "10m"


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Wait from the command line."""
    return ask.main(arguments, environ, prog="python -m lockstep_gate wait", wait=DEFAULT)
