"""Deadline: the one deadline of a run, and how much of it is left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Deadline(NamedTuple):
    """A point in time on the monotonic clock; `now` is an argument so that tests take no time."""

    at: float
    now: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, milliseconds: int, now: Callable[[], float] = time.monotonic) -> Deadline:
        """Return the deadline that many milliseconds from now."""
        return cls(now() + milliseconds / 1000, now)

    def left(self) -> float:
        """Return the seconds left, never below 0."""
        return max(0.0, self.at - self.now())

    @property
    def passed(self) -> bool:
        """Tell whether the time is up."""
        return self.left() <= 0

    def sooner(self, milliseconds: int) -> Deadline:
        """Return the earlier of this deadline and one that many milliseconds from now."""
        return Deadline(min(self.at, self.now() + milliseconds / 1000), self.now)
