"""Lockstep: ships schema changes on PostgreSQL in a job of their own, before the app that needs them."""

__version__ = "0.1.0"
