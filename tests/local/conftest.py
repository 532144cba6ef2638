"""Fixtures: `python -m local` on a directory of its own that already holds an empty database."""

import contextlib
import subprocess

import pytest

from tests.local.rig import Local


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A directory with the database and its roles, made once and copied for each test."""
    directory = tmp_path_factory.mktemp("prepared") / "local"
    done = Local(directory, contextlib.ExitStack()).run("run", "--", "true")
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture
def local(prepared, tmp_path):
    """`python -m local` on a copy of it; what a test leaves running is killed."""
    subprocess.run(["cp", "-a", prepared, tmp_path / "local"], check=True)
    with contextlib.ExitStack() as stack:
        yield Local(tmp_path / "local", stack)
