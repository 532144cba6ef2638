"""Revisions: the last ones of this commit, and which of them no run has taken up in this database.

The gate goes by the models, and a revision may change what no model shows: an index, a rule, data. So the image knows
the ids of the last revisions of its commit, and holds none of them. A row of the ledger is looked for, never an order:
a schema that is ahead of this commit has taken its revisions up too.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from lockstep_gate import exits, faults
from lockstep_gate.faults import Fault
from lockstep_gate.predeploy.endings import Unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lockstep_gate.connections import Connections

VARIABLE = "LOCKSTEP_REVISIONS"

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


def at(place: Path | None) -> tuple[str, ...] | None:
    """Return the last revisions of this commit: those of a directory of revisions, or as a build has written them.

    None where nothing tells: there is no such place.
    """
    if place is not None and place.is_dir():
        return heads(place)
    return tuple(place.read_text().split()) if place is not None and place.is_file() else None


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


def missing(through: Connections, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return those revisions that no run has applied or held back here; errors of the database pass through."""
    left = set(wanted) - _found(through, APPLIED, wanted)
    # Asked for only where it matters: a ledger that holds nothing back may not be open to this role yet.
    return tuple(sorted(left - _found(through, HELD_BACK, wanted) if left else left))


def _found(through: Connections, question: Any, wanted: tuple[str, ...]) -> set[str]:
    if not wanted:
        return set()
    try:
        return set(
            through.run(lambda connection: connection.execute(question, {"heads": list(wanted)}).scalars().all())
        )
    except SQLAlchemyError as error:
        if faults.kind(error) is not Fault.MISFIT:
            raise
        return set()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the last revisions of a directory: what the image's build writes down."""
    parser = argparse.ArgumentParser(
        prog="python -m lockstep_gate revisions",
        description="Print the ids of the revisions in a directory that no other comes after. Runs none of them.",
    )
    parser.add_argument("directory", help="the directory of the revision files")
    asked = parser.parse_args(arguments)
    try:
        sys.stdout.write("\n".join(heads(Path(asked.directory))) + "\n")
    except Unreadable as reason:
        sys.stderr.write(f"revisions: {reason}\n")
        return reason.code
    return exits.DONE.code
