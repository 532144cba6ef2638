"""Options: what one rehearsal is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What to rehearse, and how thoroughly; times in seconds."""

    start: str | None = None
    end: str = "head"
    against: str | None = None
    rows: int = 10_000
    seed: Path | None = None
    server: str | None = None
    load: bool = False
    long_transaction_s: float = 0.0
    compare: bool = False
    opinion: bool = True
