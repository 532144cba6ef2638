"""Fixtures of the checkpoint's tests: those of the engine's, and a project with one of everything."""

import shutil

import pytest

from tests.checkpoint.everything import EVERYTHING
from tests.migrator.conftest import client, db, foreign, project, run, spawn, undisturbed  # noqa: F401
from tests.migrator.test_look import Copy


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


@pytest.fixture(scope="session")
def image(tmp_path_factory, checkpoint):
    """A copy of the migrator with its checkpoint and manifest, compiled, as an image may hold them."""
    made = Copy(tmp_path_factory.mktemp("image"), "")
    shutil.copy(checkpoint, made.here / "checkpoint.sql")
    made.age()
    made.make_manifest()
    made.python("-m", "compileall", "-q", "migrator")
    return made
