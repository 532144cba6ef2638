"""Alembic's way in: whatever command comes through here keeps the migrator's limits, lock and ledger."""

from alembic import context

from lockstep.verbs import stock_alembic

stock_alembic.enter(context)
