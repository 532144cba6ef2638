"""Revisions: the files a commit was built with in, which of its last ones no run has taken up here out.

The gate goes by the models, and a revision may change what no model shows: an index, a rule, data. So the image knows
the ids of the last revisions of its commit, and holds none of them. A row of the ledger is looked for, never an order:
a schema that is ahead of this commit has taken its revisions up too.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.rollout.endings import Unusable
from app.storage import faults
from app.storage.faults import Fault

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

HERE = Path(__file__).resolve().parent
BUILT_WITH = HERE / "heads.txt"  # written when the image is built; the image has no revisions to look at
BESIDE = HERE.parents[1] / "migrator" / "versions"  # in a checkout, where nothing is built

APPLIED = text("""
SELECT revision FROM (SELECT DISTINCT ON (revision) revision, direction, state FROM migrator.step
                       WHERE revision = ANY (:heads) ORDER BY revision, id DESC) AS last
 WHERE direction <> 'down' AND state = 'finished'""")
HELD_BACK = text("SELECT revision FROM migrator.deferred WHERE revision = ANY (:heads)")


class Unreadable(Unusable):
    """A revision file that does not say in plain text what it is."""

    def __init__(self, file: Path, why: str) -> None:
        """Name the file, and what is not in it."""
        super().__init__(f"{why} in {file.name}", "write it as a string, as Alembic's template does")


def of_this_build() -> tuple[str, ...] | None:
    """Return the last revisions of this commit; None where neither the build nor a checkout tells."""
    if BESIDE.is_dir():
        return heads(BESIDE)
    return tuple(BUILT_WITH.read_text().split()) if BUILT_WITH.is_file() else None


def heads(versions: Path) -> tuple[str, ...]:
    """Return the ids of the revisions in a directory that none of the others comes after."""
    # The files that Alembic reads.
    files = [file for file in versions.glob("*.py") if not file.name.startswith(("__init__", ".#"))]
    known = {_named(file, "revision"): _named(file, "down_revision") for file in files}
    before = {one for down in known.values() for one in ([down] if isinstance(down, str) else down or ())}
    return tuple(sorted(set(known) - before))


def _named(file: Path, name: str) -> Any:
    """Return the value a file gives to a name at its top, without running the file."""
    try:
        for node in ast.parse(file.read_bytes()).body:
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value and any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return ast.literal_eval(node.value)
    except (SyntaxError, ValueError):
        raise Unreadable(file, f"{name} is not plain text") from None
    raise Unreadable(file, f"there is no {name}")


def missing(engine: Engine, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return those revisions that no run has applied or held back here; errors of the database pass through."""
    with engine.connect() as connection:
        left = set(wanted) - _found(connection, APPLIED, wanted)
        # Asked for only where it matters: a ledger that holds nothing back may not be open to this role yet.
        return tuple(sorted(left - _found(connection, HELD_BACK, wanted) if left else left))


def _found(connection: Connection, question: Any, wanted: tuple[str, ...]) -> set[str]:
    try:
        return set(connection.execute(question, {"heads": list(wanted)}).scalars())
    except SQLAlchemyError as error:
        if faults.kind(error) is not Fault.MISFIT:
            raise
        connection.rollback()
        return set()


def main(versions: str) -> int:
    """Print the last revisions of a directory: what the image's build writes down."""
    try:
        sys.stdout.write("\n".join(heads(Path(versions))) + "\n")
    except Unreadable as reason:
        sys.stderr.write(f"revisions: {reason}\n")
        return reason.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
