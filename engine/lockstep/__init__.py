"""Migrator: ships schema changes on PostgreSQL, one job, before the app that needs them."""

__version__ = "0.1.0"
