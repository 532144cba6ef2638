"""Deadline: the one deadline of a pre-deploy, and the only sleep in it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lockstep_gate.predeploy.endings import OutOfTime


@dataclass(frozen=True)
class Deadline:
    """A point on the monotonic clock."""

    at: float
    seconds: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline so many seconds from now."""
        return cls(time.monotonic() + seconds, seconds)

    def left(self) -> float:
        """Return the seconds left, never below 0."""
        return max(0.0, self.at - time.monotonic())

    def sleep(self, seconds: float, waiting_for: str) -> None:
        """Sleep; raise OutOfTime where the deadline would pass meanwhile."""
        if self.left() <= seconds:
            raise self.passed(waiting_for)
        time.sleep(seconds)

    def passed(self, waiting_for: str) -> OutOfTime:
        """Return the ending of a deadline that passed."""
        return OutOfTime(
            f"not done within {self.seconds:g} s (PREDEPLOY_DEADLINE), waiting for {waiting_for}",
            "the release that serves keeps serving; deploy again once that is over",
        )
