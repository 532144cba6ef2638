"""Backfill: a change of many rows, declared in a revision, done in batches that nobody notices."""
