"""The two wheels alone, in an environment that was empty, on a project of `alembic init`: what an adopter does."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

REVISION = """
revision, down_revision = "a1", None


def upgrade():
    from alembic import op

    op.execute("CREATE TABLE things (id bigint PRIMARY KEY)")


def downgrade():
    from alembic import op

    op.execute("DROP TABLE things")
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def ran(*command, **how):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The programs of an environment in which the wheels and what they ask for were installed."""
    top = tmp_path_factory.mktemp("adopter")
    for part in ("gate", "engine"):
        ran(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", top / "dist", ROOT / part)
    ran(sys.executable, "-m", "uv", "--no-cache", "venv", "--quiet", "--python", sys.executable, top / "venv")
    python = top / "venv" / "bin" / "python"
    ran(
        sys.executable,
        "-m",
        "uv",
        "--no-cache",
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        *(top / "dist").glob("*.whl"),
    )
    return top / "venv" / "bin"


def test_a_project_of_alembic_init_is_migrated_by_the_wheels_alone(installed, tmp_path, db):
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MIGRATOR_DATABASE_URL": db.url}
    assert ran(installed / "migrator", "--help", cwd=tmp_path, env=env) == ran(
        installed / "lockstep", "--help", cwd=tmp_path, env=env
    )
    ran(installed / "alembic", "init", "alembic", cwd=tmp_path, env=env)
    (tmp_path / "alembic" / "versions" / "a1_make_things.py").write_text(REVISION)
    said = ran(installed / "migrator", "upgrade", "--config", "alembic.ini", cwd=tmp_path, env=env)
    assert said.splitlines()[-1] == "done: 1 applied, the database is at a1 (safe to run again)"
    assert db.rows("SELECT to_regclass('things') IS NOT NULL") == [(True,)]
    again = ran(installed / "migrator", "upgrade", cwd=tmp_path, env=env)  # found from where it is started
    assert again.splitlines()[-1] == "done: nothing to do, the database is at a1 (safe to run again)"
