import pytest

from tests.rehearsal.rig import Project


@pytest.fixture
def project(tmp_path):
    """An Alembic project with two tables that refer to each other."""
    return Project.make(tmp_path / "project")
