"""Revisions that a manifest knows: Alembic has the history of the files, and loads a file only to run it."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from lockstep.errors import Refused
from lockstep.project import lazy_revisions
from tests.migrator.test_look import DONE, HEAD, copy, execute, prepared  # noqa: F401 - its fixtures

FILES = {
    "1_one.py": "'''Make one thing\n\nand say more of it.'''\nrevision = 'one'\ndown_revision = None\n",
    "2_two.py": "revision = 'two'\ndown_revision = 'one'\nbranch_labels = ('left',)\n",
    "3_three.py": "'''Three'''\nrevision = 'three'\ndown_revision = 'one'\ndepends_on = ['two']\n",
    "4_joined.py": "revision = 'joined'\ndown_revision = ('two', 'three')\ndepends_on = None\n",
    "notes.txt": "no revision",
}
LOADS = """
import sys
def hear(event, arguments):
    if event == "exec" and "/migrator/versions/" in arguments[0].co_filename:
        print("loaded:", arguments[0].co_filename)
sys.addaudithook(hear)
from lockstep import cli
sys.exit(cli.main(["upgrade"]))
"""
# Says that it is being loaded, and is not done with it before whoever started the process is.
HALTS = """
import os, sys
if "HALT" in os.environ:
    print("being loaded", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def script(tmp_path):
    """A history with branches, a label, a dependency and a merge."""
    (tmp_path / "versions").mkdir()
    for name, text in FILES.items():
        body = "" if name.endswith("txt") else "def upgrade(): pass\ndef downgrade(): pass\n"
        (tmp_path / "versions" / name).write_text(text + body)
    return ScriptDirectory(str(tmp_path))


def facts(script):
    return {
        item.revision: (
            item.down_revision, item.dependencies, item.branch_labels, item.nextrev, item.doc, item.longdoc, item.path,
            item.log_entry, item.is_head, item.is_merge_point, item.module.__file__,
        )
        for item in script.walk_revisions()
    }  # fmt: skip


def put_in(other, script, load):
    """Tell one script directory the history of another of the same files."""
    top = Path(script.dir)
    lazy_revisions.put_in(other, lazy_revisions.described(script._load_revisions(), top), top, load)


def test_the_history_is_that_of_the_files_and_no_file_is_loaded_for_it(script, tmp_path):
    def load(path):
        raise AssertionError(f"{path} was loaded")

    other = ScriptDirectory(str(tmp_path))
    put_in(other, script, load)
    assert facts(other) == facts(script)
    assert [item.revision for item in other.walk_revisions()] == [item.revision for item in script.walk_revisions()]
    assert other.get_revision("left@head").revision == script.get_revision("left@head").revision


def test_a_file_is_loaded_once_and_is_what_it_is(script, tmp_path):
    loaded = []
    other = ScriptDirectory(str(tmp_path))
    put_in(other, script, lambda path: loaded.append(path.name) or lazy_revisions.of_file(path))
    module = other.get_revision("three").module
    assert module.upgrade.__code__.co_filename == str(tmp_path / "versions" / "3_three.py")
    assert module.depends_on == ["two"]
    assert not hasattr(module, "what_it_has_not")
    assert loaded == ["3_three.py"]


def test_a_file_that_cannot_be_loaded_is_run_once_and_says_why_each_time(script, tmp_path):
    runs = []

    def load(path):
        runs.append(path.name)
        raise Refused("it is not to be had", "correct it")

    other = ScriptDirectory(str(tmp_path))
    put_in(other, script, load)
    module = other.get_revision("three").module
    for name in ("upgrade", "upgrade", "downgrade"):
        with pytest.raises(Refused, match="it is not to be had"):
            getattr(module, name)
    assert runs == ["3_three.py"]
    assert module.depends_on == ("two",)  # what the manifest tells is still told


def test_no_name_in_a_file_is_one_of_ours(script, tmp_path):
    text = "revision = 'three'\ndown_revision = None\ndef _load(path): assert False\n_error = 1\n"
    (tmp_path / "versions" / "3_three.py").write_text(text)
    other = ScriptDirectory(str(tmp_path))
    put_in(other, script, lazy_revisions.of_file)
    module = other.get_revision("three").module
    assert [hasattr(module, name) for name in ("upgrade", "downgrade", "_load")] == [False, False, True]


@pytest.mark.parametrize("known", [True, False], ids=["manifest", "no manifest"])
def test_an_upgrade_loads_what_is_pending_and_with_a_manifest_nothing_that_was_applied(copy, known):  # noqa: F811
    copy.add("next", HEAD, "CREATE TABLE next_one ()")
    copy.age()
    copy.make_manifest()
    if not known:
        copy.manifest.unlink()
    done = copy.python("-c", LOADS)
    assert "next_x" in done.stdout, done.stderr
    loaded = [line for line in done.stdout.splitlines() if line.startswith("loaded: ")]
    assert len(loaded) == (1 if known else 1 + len(list(copy.versions.glob("20*.py"))))
    assert copy.upgrade()[2] == DONE.format("next")


def test_a_pending_file_that_cannot_be_loaded_is_told_as_without_a_manifest(copy, execute):  # noqa: F811
    copy.add("next", HEAD, "CREATE TABLE next_one ()")
    [path] = copy.versions.glob("next*")
    path.write_text("import os\nassert 'NOT_HERE' not in os.environ, 'it is here'\n" + path.read_text())
    copy.age()
    copy.make_manifest()
    with_it = copy.run("upgrade", NOT_HERE="1")
    copy.manifest.unlink()
    without = copy.run("upgrade", NOT_HERE="1")
    assert with_it == without
    assert with_it[0] == 1
    assert "next_x.py:2 cannot be loaded: AssertionError: it is here. Cure: correct the file" in with_it[1] + with_it[2]
    assert execute("SELECT to_regclass('next_one') IS NULL") == [(True,)]


def test_killed_while_a_file_is_loaded_nothing_was_applied_and_the_next_run_ends_it(copy, execute):  # noqa: F811
    copy.add("next", HEAD, "CREATE TABLE next_one ()")
    copy.add("last", "next", "CREATE TABLE last_one ()")
    [path] = copy.versions.glob("last*")
    path.write_text(HALTS + path.read_text())
    copy.age()
    copy.make_manifest()
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(copy.top), "MIGRATOR_DATABASE_URL": copy.url, "HALT": "yes"}
    with subprocess.Popen(
        [sys.executable, "-c", LOADS], env=env, cwd=copy.top, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        loaded = list(itertools.takewhile(lambda line: line != "being loaded\n", process.stdout))
        assert [line.rpartition("/")[2] for line in loaded] == ["next_x.py\n", "last_x.py\n"]
        assert execute("SELECT outcome FROM migrator.run ORDER BY id DESC LIMIT 1") == [(None,)]
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert execute("SELECT to_regclass('next_one') IS NULL") == [(True,)]

    code, said, _ = copy.run("upgrade")
    assert (code, said.splitlines()[-1]) == (0, "done: 2 applied, the database is at last (safe to run again)")
    assert execute("SELECT outcome, to_heads FROM migrator.run ORDER BY id DESC LIMIT 2") == [
        ("done", ["last"]),
        ("interrupted", None),
    ]
    of_the_two = "FROM migrator.step WHERE revision IN ('next', 'last')"
    assert execute(f"SELECT revision, state {of_the_two} ORDER BY id") == [("next", "finished"), ("last", "finished")]
    assert copy.upgrade() == (True, 0, DONE.format("last"))
