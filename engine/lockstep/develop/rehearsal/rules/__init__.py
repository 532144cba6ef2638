"""Rules: every rule there is, in the order they are documented."""

from __future__ import annotations

from lockstep.develop.rehearsal.rules import columns, constraints, data, indexes, outcome, tables, transactions

RULES = (
    *columns.RULES, *constraints.RULES, *indexes.RULES, *tables.RULES, *data.RULES, *transactions.RULES,
    *outcome.RULES,
)  # fmt: skip
# What a way down is judged by, too: how it ended has rules of its own, and what is a warning on the way up is not said.
OF_DOWNGRADES = tuple(
    rule for rule in RULES if rule in data.RULES or (rule.level == "error" and rule not in outcome.RULES)
)
