"""Bugs: a command that fails as nobody foresaw says so, in one line and by exit code 70."""

from __future__ import annotations

import functools
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from lockstep_gate import exits

if TYPE_CHECKING:
    from collections.abc import Callable

TOP = Path(__file__).resolve().parent
P = ParamSpec("P")


def told(name: str) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """Have a command answer 70 for a bug of ours. Python's own answer is 1, which means that a check did not hold."""

    def wrap(command: Callable[P, int]) -> Callable[P, int]:
        @functools.wraps(command)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> int:
            try:
                return command(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the last resort
                sys.stderr.write(f"{name}: {_line(error)}\n")
                return exits.BUG.code

        return guarded

    return wrap


def _line(error: Exception) -> str:
    """Say what and where, and not the error's own words: they may quote a password."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(TOP)]
    places = [f"{Path(frame.filename).relative_to(TOP.parent)}:{frame.lineno}" for frame in ours[-3:]]
    return (
        f"a bug of ours: {type(error).__name__} at {' > '.join(places)}; nothing more was done, report it "
        f"(exit {exits.BUG.code})"
    )
