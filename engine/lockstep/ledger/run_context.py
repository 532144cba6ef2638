"""Means: what every stage of one run works with."""

from __future__ import annotations

from collections import namedtuple


class Means(namedtuple("Means", ("control", "settings", "deadline", "interrupt", "tell", "run"), defaults=(0,))):
    """The control connection, the bounds of the run, whom to tell, and the run's row in the ledger (0: none yet)."""

    __slots__ = ()
