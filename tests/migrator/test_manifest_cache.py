"""The manifest of any project: left in the user's cache by the run that had to look, and never believed in doubt."""

from __future__ import annotations

import os
import sys

import pytest

from lockstep.project import manifest
from tests import forks
from tests.conftest import ROOT

# A forked process has Alembic already; `environment` is what would load it. The engine itself is not loaded before.
LOOKED = (
    "import sys; from lockstep import cli; code = cli.main(sys.argv[1:]); "
    "print('lockstep.project.environment' not in sys.modules, file=sys.stderr); sys.exit(code)"
)


@pytest.fixture
def upgrade(tmp_path, foreign, db, monkeypatch):
    """Upgrade a project of `alembic init`; return whether a look was enough, the code and the last line."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    foreign.sql("a1", "CREATE TABLE t (id int)")

    def one(*words, **variables):
        env = {
            "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "MIGRATOR_DATABASE_URL": db.url, "MIGRATOR_CONFIG": str(foreign.ini), **variables,
        }  # fmt: skip
        done = forks.run(
            [sys.executable, "-c", LOOKED, "upgrade", *words],
            env=env, cwd=foreign.ini.parent, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        *said, looked = done.stderr.splitlines()
        return looked == "True", done.returncode, (done.stdout.splitlines() if done.returncode == 0 else said)[-1]

    return one


DONE = "done: nothing to do, the database is at a1 (safe to run again)"


def test_the_second_run_of_any_project_is_a_look(upgrade, foreign):
    assert upgrade() == (False, 0, "done: 1 applied, the database is at a1 (safe to run again)")
    assert upgrade() == (True, 0, DONE)
    assert manifest.read(os.path.realpath(foreign.ini)).heads == ("a1",)
    assert not (foreign.ini.parent / manifest.NAME).exists()


def test_a_change_of_any_file_it_came_from_is_seen(upgrade, foreign):
    upgrade()
    foreign.sql("b2", "CREATE TABLE u (id int)")
    assert upgrade() == (False, 0, "done: 1 applied, the database is at b2 (safe to run again)")
    for path in (foreign.ini, foreign.env_py):
        assert upgrade()[0]
        path.write_text(path.read_text() + "\n# another\n")
        assert not upgrade()[0]
    assert upgrade()[0]
    (foreign.ini.parent / "pyproject.toml").write_text("[tool.alembic]\n")  # where none was
    assert not upgrade()[0]


def test_an_env_py_that_may_decide_by_a_variable_is_asked_where_one_changed(upgrade, foreign):
    text = foreign.env_py.read_text()
    foreign.env_py.write_text(f"import os, chosen\nos.environ.get('TENANT')\n{text}")
    (foreign.ini.parent / "chosen.py").write_text("TABLE = 1\n")
    given = {"PYTHONPATH": f"{ROOT}{os.pathsep}{foreign.ini.parent}"}
    assert not upgrade(**given)[0]
    assert upgrade(**given) == (True, 0, DONE)
    assert upgrade(**given, TENANT="other") == (False, 0, DONE)
    upgrade(**given)
    (foreign.ini.parent / "chosen.py").write_text("TABLE = 22\n")  # what it imports counts as it does
    assert not upgrade(**given)[0]


def test_another_version_table_is_not_taken_for_it(upgrade, db):
    upgrade()
    db.rows("CREATE SCHEMA other")
    db.rows("CREATE TABLE other.alembic_version (version_num text)")
    assert upgrade() == (False, 0, DONE)


def test_without_a_place_for_a_cache_each_run_looks_itself(upgrade):
    for _ in range(2):
        assert not upgrade(XDG_CACHE_HOME=os.devnull)[0]
    for _ in range(2):
        assert not upgrade(XDG_CACHE_HOME="not absolute")[0]
