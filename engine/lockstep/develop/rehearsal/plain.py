"""Plain: one revision applied as Alembic alone does it: no lock timeout, no tries. What --compare compares with.

A process of its own (`python -m lockstep.develop.rehearsal.plain CONFIG REVISION`), so that the load does not share
its clock.
"""

from __future__ import annotations

import os
import sys

from lockstep import settings
from lockstep.develop.rehearsal.ground import Ground
from lockstep.errors import MigratorError
from lockstep.project import environment


def main(arguments: list[str]) -> int:
    """Apply the revision to the database of MIGRATOR_DATABASE_URL."""
    config, revision = arguments
    own = settings.Settings(
        config=config, database_url=os.environ["MIGRATOR_DATABASE_URL"], lock_timeout_ms=0,
        statement_timeout_ms=0, idle_timeout_ms=0,
    )  # fmt: skip
    project = environment.load(own)
    script = project.script.get_revision(revision)
    try:
        Ground(own.database_url, own, project).bring_to([script] if script else [])
    except MigratorError as error:
        sys.stderr.write(f"{error}\n")
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
