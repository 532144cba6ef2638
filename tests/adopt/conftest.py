"""The database that a project is adopted on."""

from tests.migrator.conftest import db

__all__ = ["db"]
