"""Fixtures of the engine's tests, for crowds and nonsense."""

from tests.migrator.conftest import client, db, project, run, spawn, undisturbed

__all__ = ["client", "db", "project", "run", "spawn", "undisturbed"]
