"""Statement kind: what kind of statement it is, by PostgreSQL's own grammar."""

from __future__ import annotations

import functools
import sys
from typing import Any

from lockstep.develop.rehearsal.observation import BACKFILL
from lockstep.postgres import statements

DECLARED_BY = "lockstep.backfill.declare"


@functools.lru_cache(maxsize=512)
def of(sql: str) -> str:
    """Return the grammar's name of a statement; of several in one text the first, with a plus."""
    import pgparse  # noqa: PLC0415

    try:
        nodes = [next(iter(node["stmt"])) for node in pgparse.parse(statements._PLACEHOLDER.sub("$1", sql))]  # noqa: SLF001
    except (pgparse.PGQueryError, ValueError):
        return ""
    return (nodes[0] + ("+" if len(nodes) > 1 else "")) if nodes else ""


def running(sql: str) -> str:
    """Return the kind of the statement that runs now; a rehearsal runs at once what `op.backfill` leaves to batches."""
    frame: Any = sys._getframe()  # noqa: SLF001
    while frame is not None:
        if frame.f_globals.get("__name__") == DECLARED_BY:
            return BACKFILL
        frame = frame.f_back
    return of(sql)
