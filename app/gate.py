"""`python -m app.gate`: asks the ledger whether the schema serves this app. Lockstep's gate does it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from app.release import MODELS_FILE
from lockstep_gate.commands import ask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Ask from the command line, for the models of this app."""
    return ask.main(arguments, environ, prog="python -m app.gate", source=MODELS_FILE)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Not sys.exit: it would wait for whatever does not answer.
    os._exit(code)
