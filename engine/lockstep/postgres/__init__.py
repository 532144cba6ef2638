"""Postgres: connections, limits, locks, blockers, SQL text."""
