"""Runs: one row for each run, written on the control connection: who began it, when, and how it ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lockstep import __version__

if TYPE_CHECKING:
    from lockstep.errors import MigratorError
    from lockstep.postgres.control import Control


def start(control: Control, verb: str, road: str, commit: str, run_id: str = "") -> int:
    """Write a run's first row and return its id; runs that never ended are marked interrupted.

    Safe because the lock is held: an open row of another run can only belong to one that died.
    Both in one message, and so in one transaction.
    """
    return int(
        control.row(
            "UPDATE migrator.run SET outcome = 'interrupted', finished = clock_timestamp(), "
            "message = 'the process or its connection died; found by the next run' WHERE finished IS NULL; "
            "INSERT INTO migrator.run (verb, road, commit, version, host, run_id) "
            "VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
            (verb, road, commit, __version__, os.uname().nodename, run_id or None),
        )[0]
    )


def finish(
    control: Control,
    run: int,
    outcome: str,
    *,
    heads: tuple[tuple[str, ...], tuple[str, ...]],
    error: MigratorError | None = None,
    revision: str | None = None,
) -> None:
    """Write how a run ended, and between which heads."""
    control.rows(
        "UPDATE migrator.run SET finished = clock_timestamp(), outcome = %s, error = %s, message = %s, revision = %s, "
        "from_heads = %s, to_heads = %s, found = CASE WHEN %s <> 'done' THEN found END WHERE id = %s",
        (
            outcome,
            type(error).__name__ if error else None,
            error.message if error else None,
            revision,
            list(heads[0]),
            list(heads[1]),
            outcome,
            run,
        ),
    )


def ignore_releases(control: Control, run: int, reason: str) -> None:
    """Write the reason an operator gave for breaking live releases."""
    control.rows("UPDATE migrator.run SET ignored_releases = %s WHERE id = %s", (reason, run))
