"""The Makefile in a clone: what a new user types, and what they see."""

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys

import pytest

from tests.local.rig import ROOT, until
from tests.ports import free_port

NOT_CLONED = (".git", ".venv", ".local", "__pycache__", ".*_cache", ".hypothesis")


@pytest.fixture
def clone(tmp_path):
    """A copy of the project, in a directory only its owner may enter; it borrows the set-up that is there."""
    directory = tmp_path / "private" / "clone"
    directory.parent.mkdir(mode=0o700)
    shutil.copytree(ROOT, directory, ignore=shutil.ignore_patterns(*NOT_CLONED))
    (directory / ".venv").symlink_to(sys.prefix)
    for path in ("requirements/dev.txt", "local/venv.py"):
        os.utime(directory / path, (0, 0))
    return directory


def make(clone, *args, **env):
    """Run make to its end."""
    return subprocess.run(
        ["make", *args],
        cwd=clone,
        env={**os.environ, "HOME": str(clone.parent), "PORT": str(free_port()), **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_lists_every_target(clone):
    listed = re.findall(r"^  make (\S+) ", make(clone, "help").stdout, re.MULTILINE)
    assert {"up", "reset", "test", "check", "migration", "lock", "help"} <= set(listed)
    assert set(re.findall(r"^([a-z-]+):.*", (ROOT / "Makefile").read_text(), re.MULTILINE)) == set(listed)


def test_a_migration_without_a_message_is_refused(clone):
    done = make(clone, "migration")
    assert 'error: say what changes: make migration m="add phone number"\n' in done.stdout
    assert done.returncode != 0


@pytest.mark.slow
def test_up_starts_all_three_and_a_broken_revision_keeps_the_app_from_starting(clone):
    log = clone / "up.txt"
    with (
        log.open("w") as file,
        subprocess.Popen(
            ["make", "up"],
            cwd=clone,
            env={**os.environ, "HOME": str(clone.parent), "PORT": str(free_port())},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as up,
    ):
        until(lambda: "ready on" in log.read_text() or up.poll() is not None)
        os.killpg(up.pid, signal.SIGINT)
    assert "ready on" in log.read_text(), log.read_text()
    assert "all       stopped; the data is kept" in log.read_text()

    break_a_revision(clone / "migrator" / "versions")
    done = make(clone, "up")
    assert "migrator  failed with exit code 4; the app is not started" in done.stdout, done.stdout
    assert "app       starting" not in done.stdout
    assert re.search(r"up\] Error 4$", done.stdout, re.MULTILINE)  # make itself says 2 for whatever went wrong

    assert make(clone, "reset").returncode == 0
    assert not (clone / ".local").exists()


def break_a_revision(versions):
    """Add a revision after the last one that fails."""
    text = "".join(path.read_text() for path in versions.glob("*.py"))
    revisions = set(re.findall(r'^revision\b.*= "(\w+)"', text, re.MULTILINE))
    (head,) = revisions - set(re.findall(r'^down_revision\b.*= "(\w+)"', text, re.MULTILINE))
    (versions / "2099_01_01_0000-ffffffffffff_broken.py").write_text(
        f'"""broken"""\nfrom alembic import op\nrevision = "ffffffffffff"\ndown_revision = "{head}"\n'
        'def upgrade():\n    op.execute("SELECT 1 / 0")\ndef downgrade():\n    pass\n'
    )


def test_an_old_python_is_told_so_before_anything_else():
    setup = runpy.run_path(str(ROOT / "local" / "venv.py"))
    setup["main"].__globals__["OLDEST"] = (99, 0)
    with pytest.raises(SystemExit, match=r"^error: Python 3\.11 or newer is needed, .* is 3\.\d+; try: make PYTHON="):
        setup["main"]()
