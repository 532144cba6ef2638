"""Progress: tell how far a backfill is: a bar for a person, a line every ten seconds for a log."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.backfill.store import Backfill

EVERY_S = 10.0
WINDOW_S = 10.0  # rows/s is that of the last few seconds
CLEAR_LINE = "\r\x1b[K"


def _is_person() -> bool:
    return sys.stderr.isatty()


@dataclass
class Progress:
    """What one worker tells of one backfill."""

    tell: Callable[[str], None]
    backfill: Backfill
    person: bool = field(default_factory=_is_person)
    _told: float = field(default_factory=time.monotonic)
    _paused: str = ""
    _marks: list[tuple[float, int]] = field(default_factory=lambda: [(time.monotonic(), 0)])
    _walked: int = 0

    def add(self, walked: int) -> None:
        """Count one batch."""
        self._walked += walked

    def pause(self, reason: str) -> None:
        """Tell why nothing is done now: at once where the reason is new, then every ten seconds."""
        now = time.monotonic()
        kind = reason.partition(" ")[0]
        if kind != self._paused or now - self._told >= EVERY_S:
            self._clear()
            self.tell(f"paused     {self.backfill.name}   {reason}")
            self._paused, self._told = kind, now

    def tell_of(self, now: Backfill) -> tuple[float, float]:
        """Tell how far the backfill is, if it is time to; return this worker's rows/s and the seconds left."""
        time_now = time.monotonic()
        self._marks.append((time_now, self._walked))
        while len(self._marks) > 2 and time_now - self._marks[0][0] > WINDOW_S:  # noqa: PLR2004
            del self._marks[0]
        then, walked = self._marks[0]
        seconds = time_now - then
        rate = (self._walked - walked) / seconds if seconds > 0 else 0.0
        self._paused = "" if rate else self._paused
        everybody = max(rate, now.rate)
        left_s = max(0, (now.estimate or 0) - now.seen) / everybody if everybody else 1e9
        if self.person:
            self._bar(now, everybody, left_s)
        elif time_now - self._told >= EVERY_S:
            self.tell(line(now, everybody, left_s))
            self._told = time_now
        return rate, left_s

    def _bar(self, now: Backfill, rate: float, left_s: float) -> None:
        from lockstep import terminal  # noqa: PLC0415 - only for a terminal

        shown = terminal.bar(sys.stderr, now.share or 0.0, line(now, rate, left_s)[11:])
        sys.stderr.write(f"{CLEAR_LINE}{shown}")
        sys.stderr.flush()

    def _clear(self) -> None:
        if self.person:
            sys.stderr.write(CLEAR_LINE)

    def end(self) -> None:
        """Take the bar away."""
        self._clear()


def line(now: Backfill, rate: float = 0.0, left_s: float | None = None) -> str:
    """Return how far a backfill is: `backfill   users_handle   running   24 %   1,200,000 rows   …`."""
    parts = [f"backfill   {now.name}", now.state]
    if now.share is not None:
        parts.append(f"{int(now.share * 100)} % of about {now.estimate:,} rows")
    parts.append(f"{now.rows:,} changed")
    if now.aside:
        parts.append(f"{now.aside:,} set aside")
    if now.state == "running":
        parts.append(f"{now.workers} worker{'s' if now.workers != 1 else ''}")
        if rate:
            parts.append(f"{rate:,.0f} rows/s")
            if left_s is not None and left_s < 1e8:  # noqa: PLR2004 - nobody knows
                parts.append(f"ends about {datetime.now(UTC) + timedelta(seconds=left_s):%H:%M:%S} UTC")
    if why := now.pause or now.note:
        parts.append(why)
    return "   ".join(parts)
