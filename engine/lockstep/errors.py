"""Errors: every way in which the migrator says no. They are shared with the gate: see lockstep_gate.errors."""

from __future__ import annotations

from lockstep_gate import exits
from lockstep_gate.errors import (
    Busy,
    Exhausted,
    Interrupted,
    Refused,
    StepFailed,
    Unreachable,
    Usage,
)
from lockstep_gate.errors import LockstepError as MigratorError
from lockstep_gate.masking import masked

__all__ = [
    "AGAIN_AFTER_A_CHANGE", "AGAIN_AS_IT_IS", "EXIT_BUG", "EXIT_DONE", "Busy", "Exhausted", "Interrupted",
    "MigratorError", "Refused", "StepFailed", "Unreachable", "Usage", "masked",
]  # fmt: skip

EXIT_DONE = exits.DONE.code
EXIT_BUG = exits.BUG.code
AGAIN_AS_IT_IS = exits.AS_IT_IS
AGAIN_AFTER_A_CHANGE = exits.AFTER_A_CHANGE
