"""Rules: every rule there is, in the order they are documented."""

from __future__ import annotations

from migrator.rehearsal.rules import columns, constraints, data, indexes, outcome, tables, transactions

RULES = (
    *columns.RULES, *constraints.RULES, *indexes.RULES, *tables.RULES, *data.RULES, *transactions.RULES,
    *outcome.RULES,
)  # fmt: skip
