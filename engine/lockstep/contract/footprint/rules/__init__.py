"""Rules: every rule there is, in the order they are documented; a change that none of them claims is unforeseen."""

from __future__ import annotations

from lockstep.contract.footprint.rules import (
    bodies,
    columns,
    constraints,
    data,
    functions,
    harmless,
    limits,
    names,
    owners,
    prepared,
    relations,
    roles,
    sequences,
    statements,
    triggers,
    types,
)  # fmt: skip

RULES = (
    *names.RULES, *relations.RULES, *owners.RULES, *columns.RULES, *bodies.RULES, *sequences.RULES, *constraints.RULES,
    *triggers.RULES, *functions.RULES, *types.RULES, *roles.RULES, *data.RULES, *limits.RULES, *statements.RULES,
    *prepared.RULES, *harmless.RULES,
)  # fmt: skip
