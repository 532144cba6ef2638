"""Means: what every stage of one run works with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.clock import Deadline
    from migrator.connect import Control
    from migrator.interrupt import Interrupt
    from migrator.settings import Settings


class Means(NamedTuple):
    """The control connection, the bounds of the run, whom to tell, and the run's row in the ledger."""

    control: Control
    settings: Settings
    deadline: Deadline
    interrupt: Interrupt
    tell: Callable[[str], None]
    run: int = 0
