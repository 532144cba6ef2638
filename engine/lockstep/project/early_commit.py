"""Early commit: revisions that commit by themselves right before an autocommit block, or as the last thing they do.

Alembic allows both, and nothing is lost when such a COMMIT is left out: the block commits what came before it, and the
runner commits what comes last, each with what the ledger says of it. A COMMIT that more statements follow is refused.
"""

from __future__ import annotations

import ast
import contextlib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_COMMIT = re.compile(r"\s*COMMIT(?:\s+(?:WORK|TRANSACTION))?\s*;?\s*", re.IGNORECASE)
_RUNS = ("execute", "exec_driver_sql", "text")


def is_one(sql: str) -> bool:
    """Tell whether a text is a COMMIT and nothing else."""
    return bool(_COMMIT.fullmatch(sql))


class EarlyCommit:
    """Whether the revision that runs has asked for a commit that was left out."""

    def __init__(self) -> None:
        """Start with none."""
        self.asked = ""

    @contextlib.contextmanager
    def left_out(self, connection: Any, is_inside: Callable[[], bool]) -> Iterator[None]:
        """Leave out what the block asks of SQLAlchemy's `connection.commit()`, wherever it is in its transaction."""

        def commit() -> None:
            if is_inside():
                self.asked = "commit()"
            else:
                type(connection).commit(connection)

        connection.commit = commit
        try:
            yield
        finally:
            connection.__dict__.pop("commit", None)


def of_file(path: Path, function: str = "upgrade") -> str | None:
    """Return what `plan` says of a revision file that commits by itself; None for one that does not."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    bodies = [one.body for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == function]
    for body in bodies:
        for place, line in enumerate(body):
            if any(_commits(node) for node in ast.walk(line)):
                rest = body[place + 1 :]
                if not rest or _is_block(rest[0]):
                    return "commits by itself, which is left to the block or to the end of the revision"
                return "commits by itself and goes on, which is refused: what goes on belongs into autocommit_block()"
    return None


def _commits(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
    if name == "commit" and not node.args:
        return True
    first = node.args[0] if node.args else None
    return name in _RUNS and isinstance(first, ast.Constant) and isinstance(first.value, str) and is_one(first.value)


def _is_block(line: ast.stmt) -> bool:
    return isinstance(line, ast.With) and any(
        getattr(node, "attr", "") == "autocommit_block" for item in line.items for node in ast.walk(item)
    )
