"""Alembic's way in: whatever command comes through here keeps the migrator's limits, lock and ledger."""

from alembic import context

from migrator import road

road.enter(context)
