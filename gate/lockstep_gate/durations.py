"""Durations: how a length of time is written in every setting, flag and variable of the app and of the migrator.

A number and a unit: 500ms, 90s, 25m, 25min, 1.5h, 2d. Without a unit it is seconds. Imports nothing: a run with nothing
to do reads durations too.
"""

from __future__ import annotations

UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MOST_DIGITS = 12


def milliseconds(text: str) -> float:
    """Return how many milliseconds a duration is; raise ValueError where it is none."""
    text = text.strip()
    number = text.rstrip(_LETTERS)
    unit = text[len(number) :] or "s"
    whole, point, fraction = number.rstrip().partition(".")
    if unit not in UNITS_MS or not _is_digits(whole) or (point and not _is_digits(fraction)):
        raise ValueError(f"{text[:40]!r} is not a duration")
    return float(f"{whole}.{fraction or 0}") * UNITS_MS[unit]


def seconds(text: str) -> float:
    """Return how many seconds a duration is; raise ValueError where it is none."""
    return milliseconds(text) / 1000


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
