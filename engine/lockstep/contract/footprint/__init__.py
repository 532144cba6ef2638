"""Footprint: what the tables of live releases stand on, read within a step, and what a step has changed in it.

`Watch` keeps it from step to step; each change has a verdict by a rule: harmless, breaking, or unknown.
"""

from __future__ import annotations

from lockstep.contract.footprint.watch import Watch

__all__ = ["Watch"]
