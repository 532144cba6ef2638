"""Fixtures: the engine's rig, and a clone as a new user has it."""

import os
import shutil
import sys

import pytest

from tests.docs.pages import ROOT
from tests.migrator.conftest import db, foreign, run, undisturbed  # noqa: F401 - fixtures of the engine's tests

NOT_CLONED = (".git", ".venv", ".local", "__pycache__", ".*_cache", ".hypothesis")


@pytest.fixture
def clone(tmp_path):
    """A copy of the project, an empty home beside it; it borrows the set-up that is there."""
    directory = tmp_path / "clone"
    shutil.copytree(ROOT, directory, ignore=shutil.ignore_patterns(*NOT_CLONED))
    (tmp_path / "home").mkdir()
    (directory / ".venv").symlink_to(sys.prefix)
    for path in ("requirements/dev.txt", "local/venv.py"):
        os.utime(directory / path, (0, 0))
    return directory
