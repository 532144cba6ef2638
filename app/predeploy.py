"""`python -m app.predeploy`: the pre-deploy command of this app on Render. Lockstep's gate does it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.release import MODELS_FILE
from lockstep_gate.predeploy import command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# In a checkout. The image has no revisions, only the ids of the last ones, and LOCKSTEP_REVISIONS says where.
VERSIONS = Path(__file__).resolve().parents[1] / "migrator" / "versions"


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Decide whether this release may be rolled out; the exit code says it, the last line says why."""
    return command.main(arguments, environ, prog="python -m app.predeploy", source=MODELS_FILE, versions=VERSIONS)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Not sys.exit: it would wait for whatever does not answer.
    os._exit(code)
