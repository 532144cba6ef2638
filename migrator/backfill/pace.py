"""Pace: how long batches took in, how many rows the next one takes out."""

from __future__ import annotations

from dataclasses import dataclass

LARGEST = 100_000
# Batches aim at less than the target: one that is twice as slow as the average still keeps it.
AIM = 0.5
WEIGHT = 0.3  # of the newest batch in the moving average
GROWTH = 2.0
STEADY_ROWS = 20  # what a batch of fewer rows costs is not the rows
# Taken for what writing a row costs until a batch has shown it: rows that are done already are walked over much
# quicker than others are written, and after them a batch of that size would be far too long.
UNKNOWN_ROW_MS = 0.02


@dataclass
class Pace:
    """The moving average of what writing a row costs, and the size that follows from it."""

    size: int
    target_ms: int
    row_ms: float = UNKNOWN_ROW_MS
    known: bool = False
    fixed_ms: float = 0.0

    def took(self, walked: int, written: int, update_ms: float, held_ms: float) -> None:
        """Take in one batch: rows walked over and written, the time of its UPDATE, and how long its locks were held.

        What a commit costs is no row's: fewer rows would not make it less, so it takes at most half of the time.
        """
        if walked < STEADY_ROWS and walked < self.size:
            return
        now = update_ms / max(walked, 1)
        self.fixed_ms = WEIGHT * (held_ms - update_ms) + (1 - WEIGHT) * self.fixed_ms
        if written * 2 >= walked:
            self.row_ms = WEIGHT * now + (1 - WEIGHT) * self.row_ms if self.known else now
            self.known = True
        # A batch beyond the target counts at once: the average alone would let the next few be as slow.
        cost = max(self.row_ms, now if held_ms > self.target_ms else 0.0, 1e-6)
        aim = self.target_ms * AIM
        wanted = max(aim - self.fixed_ms, aim / 2) / cost
        self.size = max(1, min(LARGEST, int(min(wanted, self.size * GROWTH))))

    def missed(self) -> None:
        """Take in that a batch met somebody's lock."""
        self.size = max(1, self.size // 2)
