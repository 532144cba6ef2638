"""Pace: how many rows the next batch takes, by how long the batches before it took."""

from __future__ import annotations

from dataclasses import dataclass

LARGEST = 100_000
# Batches aim at less than the target: one that is twice as slow as the average still keeps it.
AIM = 0.5
WEIGHT = 0.3  # of the newest batch in the moving average
GROWTH = 2.0
NO_QUICKER, STAY = 0.75, 20
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
    least: int = 1  # rows; fewer did not make a batch quicker
    stayed: int = 0
    last: tuple[int, float] = (0, 0.0)

    def took(self, walked: int, written: int, held_ms: float) -> None:
        """Take in one batch: rows walked over and written, and how long its locks were held."""
        if walked < STEADY_ROWS and walked < self.size:
            return
        now = held_ms / max(walked, 1)
        if written * 2 >= walked:
            self.row_ms = WEIGHT * now + (1 - WEIGHT) * self.row_ms if self.known else now
            self.known = True
        self._learn_least(walked, held_ms)
        # A batch beyond the target counts at once: the average alone would let the next few be as slow.
        cost = max(self.row_ms, now if held_ms > self.target_ms else 0.0, 1e-6)
        wanted = max(min(self.target_ms * AIM / cost, self.size * GROWTH), self.least)
        self.size = max(1, min(LARGEST, int(wanted)))

    def _learn_least(self, walked: int, held_ms: float) -> None:
        """Take in whether fewer rows made a batch quicker: a trigger of the statement's, or a busy machine, does not.

        Then batches would become ever smaller and the work never end. Tried anew from time to time.
        """
        before, self.last = self.last, (walked, held_ms)
        self.stayed += 1
        if held_ms > self.target_ms and walked * 2 <= before[0] and held_ms > NO_QUICKER * before[1]:
            self.least, self.stayed = before[0], 0
        elif held_ms <= self.target_ms or self.stayed >= STAY:
            self.least = 1

    def missed(self) -> None:
        """Take in that a batch met somebody's lock."""
        self.size = max(1, self.size // 2)

    def cut_off(self) -> None:
        """Take in that a batch took far too long: whatever rows cost before, half as many are judged anew."""
        self.size = max(1, self.size // 2)
        self.least, self.last = 1, (0, 0.0)
