"""Run context: what every stage of one run works with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.postgres.control import Control
    from lockstep.settings import Settings
    from lockstep.stop.deadline import Deadline
    from lockstep.stop.interrupt import Interrupt


class Run(NamedTuple):
    """The control connection, the bounds of the run, whom to tell, and the run's row in the ledger."""

    control: Control
    settings: Settings
    deadline: Deadline
    interrupt: Interrupt
    tell: Callable[[str], None]
    id: int = 0
