"""Fixtures of the checkpoint's tests: those of the engine's, and a project with one of everything."""

import pytest

from tests.checkpoint.everything import EVERYTHING
from tests.migrator.conftest import client, db, foreign, project, run, spawn, undisturbed  # noqa: F401


@pytest.fixture
def everything(project):  # noqa: F811
    """A project whose revisions make one of everything a checkpoint has to carry."""
    for number, statements in enumerate(EVERYTHING):
        project.sql(f"r{number:02}", *statements)
    return project


@pytest.fixture
def shadowed(server):
    """Where throw-away databases are made: on the tests' server, so that a checkpoint is of its version."""
    return {"MIGRATOR_SHADOW_URL": server.url}
