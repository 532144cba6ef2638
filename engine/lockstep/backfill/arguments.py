"""Arguments: the flags of `migrator backfill`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

ACTIONS = ("run", "status", "pause", "resume", "cancel")
MAX_LAG = "10s"


def add(sub: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    sub.add_argument(
        "action", nargs="?", default="run", choices=ACTIONS, help="run (the default): work until all is done; "
        "as many processes as you like share one backfill",
    )  # fmt: skip
    sub.add_argument("name", nargs="?", metavar="NAME", help="of one backfill; default: all")
    sub.add_argument(
        "--batch-time",
        metavar="TIME",
        default=os.environ.get("MIGRATOR_BATCH_TIME"),
        help="how long a client may meet the locks of one batch (env: MIGRATOR_BATCH_TIME; default 50ms)",
    )
    sub.add_argument(
        "--max-lag",
        metavar="TIME",
        default=os.environ.get("MIGRATOR_MAX_LAG", MAX_LAG),
        help=f"pause while a replica is behind by more (env: MIGRATOR_MAX_LAG; default {MAX_LAG})",
    )
