"""`migrator upgrade` and a checkpoint: an empty database is loaded from it, if it is of these files."""

from __future__ import annotations

import copy
import shutil
import signal

import pytest

from lockstep.project import checkpoint_file
from lockstep.upgrade import checkpoint_sql
from tests.conftest import run_migrator
from tests.migrator.rig import Project, until

TWO = ("CREATE TABLE t (id int PRIMARY KEY, name text, old text)", "INSERT INTO t VALUES (1, 'one', 'x')")
MODELS = """
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase
class Base(DeclarativeBase): pass
class T(Base):
    __tablename__ = "t"
    id = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
    name = sa.Column(sa.Text)
"""
LOADED = "loaded     checkpoint of 2 revisions"


@pytest.fixture(scope="module")
def made(tmp_path_factory, server):
    """A project of two revisions with its checkpoint: to write one takes seconds."""
    project = Project(tmp_path_factory.mktemp("made") / "own", own=True)
    project.sql("a1", *TWO, down=["DROP TABLE t"])
    project.sql("b2", "CREATE INDEX ix ON t (name)", down=["DROP INDEX ix"])
    done = run_migrator("checkpoint", env={"MIGRATOR_SHADOW_URL": server.url, "MIGRATOR_CONFIG": str(project.ini)})
    assert done.code == 0, done.err
    return project


@pytest.fixture
def written(made, tmp_path):
    """A copy of it."""
    shutil.copytree(made.directory, tmp_path / "own", ignore=shutil.ignore_patterns("__pycache__"))
    project = copy.copy(made)
    project.directory = tmp_path / "own"
    project.ini, project.env_py = project.directory / "alembic.ini", project.directory / "alembic" / "env.py"
    project.versions = project.directory / "alembic" / "versions"
    project.checkpoint = project.env_py.with_name("checkpoint.sql")
    return project


def test_an_empty_database_is_loaded(written, run, db):
    done = run("upgrade", project=written)
    assert done.code == 0
    assert done.out.startswith(LOADED)
    assert done.last == "done: 2 loaded from the checkpoint, 0 applied, the database is at b2 (safe to run again)"
    assert db.rows("SELECT id, name FROM t") == [(1, "one")]
    assert db.rows("SELECT version_num FROM migrator.alembic_version") == [("b2",)]
    assert db.steps() == [("a1", "adopt", "finished"), ("b2", "adopt", "finished")]
    assert db.runs() == [("upgrade", "done")]
    assert run("upgrade", project=written).last.startswith("done: nothing to do, the database is at b2")


def test_what_comes_after_it_is_applied(written, run, db):
    written.sql("c3", "ALTER TABLE t ADD COLUMN more int")
    done = run("upgrade", "--json", project=written)
    assert (done.json["loaded"], [item["revision"] for item in done.json["applied"]]) == (["a1", "b2"], ["c3"])
    assert done.json["heads_after"] == ["c3"]
    assert db.columns("t") == ["id", "name", "old", "more"]


def test_history_and_status_say_what_was_loaded(written, run):
    assert run("upgrade", project=written).code == 0
    lines = run("history", project=written).out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["loaded", "loaded"]
    assert "loaded from the checkpoint sha256:" in lines[0]
    assert "done: 0 pending, the database is at b2" in run("status", project=written).last
    assert "done: 0 pending" in run("plan", project=written).last


def test_what_was_loaded_can_be_taken_back_and_applied_again(written, run, db):
    assert run("upgrade", project=written).code == 0
    assert run("downgrade", "base", project=written).code == 0
    assert not db.columns("t")
    done = run("upgrade", project=written)
    assert (done.code, "applied    a1" in done.out, LOADED in done.out) == (0, True, False)


def test_a_loaded_revision_that_is_edited_later_is_refused(written, run):
    assert run("upgrade", project=written).code == 0
    [path] = written.versions.glob("*b2*")
    path.write_text(path.read_text().replace("(name)", "(id)"))
    done = run("upgrade", project=written)
    assert (done.code, "applied revisions were edited since: b2" in done.last) == (1, True)


def _edit_a_revision(project):
    [path] = project.versions.glob("*a1*")
    path.write_text(path.read_text().replace("'one'", "'two'"))


def _edit_the_file(project):
    project.checkpoint.write_text(project.checkpoint.read_text().replace("'one'", "'two'"))


def _cut_it(project):
    project.checkpoint.write_text(project.checkpoint.read_text()[:-40])


def _swap_it(project):
    found = checkpoint_file.read(project.checkpoint)
    seals = dict.fromkeys(found.seals, "ast1:other")
    project.checkpoint.write_text(
        checkpoint_file.text(checkpoint_file.Checkpoint(found.server, found.heads, seals, found.sql))
    )


def _take_a_revision_away(project):
    [path] = project.versions.glob("*b2*")
    path.unlink()


def _put_one_in_between(project):
    project.sql("a0", "SELECT 1", after="a1")
    [path] = project.versions.glob("*b2*")
    path.write_text(path.read_text().replace("down_revision = 'a1'", "down_revision = 'a0'"))


WRONG = {
    _edit_a_revision: "the checkpoint is of other revisions: a1 was edited",
    _edit_the_file: "the checkpoint checkpoint.sql was edited or cut off since it was written",
    _cut_it: "the checkpoint checkpoint.sql was edited or cut off since it was written",
    _swap_it: "the checkpoint is of other revisions: a1 and 1 more was edited",
    _take_a_revision_away: "the checkpoint is of other revisions: b2 is not here",
    _put_one_in_between: "the checkpoint is of other revisions: b2 was edited",
}


@pytest.mark.parametrize("spoil", WRONG)
def test_one_that_is_not_of_these_files_is_refused(written, run, db, shadowed, spoil):
    spoil(written)
    done = run("upgrade", project=written)
    assert done.code == 1
    assert done.last.startswith(f"refused: {WRONG[spoil]}; 0 applied and kept, ")
    assert done.last.endswith("Cure: `migrator checkpoint` writes it anew. (exit 1; run it again after that change)")
    assert db.one("SELECT to_regclass('t') IS NULL")
    checked = run("check", project=written, url="", **shadowed)
    assert (checked.code, WRONG[spoil] in checked.text) == (1, True)
    assert run("upgrade", project=written, MIGRATOR_CHECKPOINT="none").code == 0


NOT_EMPTY = (
    "CREATE TABLE mine ()", "CREATE TYPE mine AS ENUM ()", "CREATE SCHEMA mine", "CREATE SEQUENCE mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE EXTENSION citext",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", "CREATE PUBLICATION mine",
)  # fmt: skip


@pytest.mark.parametrize("statement", NOT_EMPTY)
def test_on_any_other_database_it_is_not_looked_at(written, run, db, statement):
    _edit_the_file(written)
    db.rows(statement)
    done = run("upgrade", project=written)
    assert (done.code, done.last) == (0, "done: 2 applied, the database is at b2 (safe to run again)")


@pytest.mark.parametrize("moved", ["server", "search path"])
def test_where_revisions_might_lead_elsewhere_it_is_left_alone(written, run, db, moved):
    found = checkpoint_file.read(written.checkpoint)
    if moved == "server":
        other = checkpoint_file.Checkpoint(found.server - 1, found.heads, found.seals, found.sql)
        written.checkpoint.write_text(checkpoint_file.text(other))
    else:
        db.rows("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public', current_database()); END $$")
    done = run("upgrade", project=written)
    assert (done.code, "unused     the checkpoint: " in done.out, "2 applied" in done.last) == (0, True, True)


def test_an_earlier_target_is_reached_by_revisions(written, run):
    assert run("upgrade", "a1", project=written).last.startswith("done: 1 applied, the database is at a1")


def test_a_named_file_is_used_and_one_that_is_not_there_is_wrong_usage(written, run, tmp_path):
    place = tmp_path / "elsewhere.sql"
    written.checkpoint.rename(place)
    assert run("upgrade", "--checkpoint", tmp_path / "none", project=written).code == 2
    assert LOADED in run("upgrade", "--checkpoint", place, project=written).out


def test_another_checkout_may_end_lines_otherwise(written, run):
    written.checkpoint.write_bytes(written.checkpoint.read_bytes().replace(b"\n", b"\r\n"))
    assert LOADED in run("upgrade", project=written).out


def test_a_version_table_in_another_place_is_kept(foreign, run, db, shadowed):
    foreign.sql("a1", *TWO)
    assert run("checkpoint", project=foreign, **shadowed).code == 0
    done = run("upgrade", project=foreign)
    assert (done.code, "1 loaded from the checkpoint" in done.last) == (0, True)
    assert db.rows("SELECT version_num FROM public.alembic_version") == [("a1",)]


def test_what_an_unknown_release_may_need_is_what_was_there_before(written, run, db):
    (written.directory / "models.py").write_text(MODELS)
    written.ini.write_text(written.ini.read_text() + "models = %(here)s/models.py\n")
    written.sql("c3", "ALTER TABLE t DROP COLUMN old")
    done = run("upgrade", project=written)
    assert (done.code, "1 applied" in done.last) == (0, True)
    assert db.columns("t") == ["id", "name"]
    assert db.one("SELECT count(*) FROM migrator.release WHERE broken_by IS NULL") == 1


@pytest.fixture
def held(written, db, client):
    """The checkpoint with a wait in the middle, and the session it waits for."""
    found = checkpoint_file.read(written.checkpoint)
    sql = found.sql.replace("INSERT INTO", "SELECT pg_advisory_xact_lock(77);\n\nINSERT INTO", 1)
    written.checkpoint.write_text(
        checkpoint_file.text(checkpoint_file.Checkpoint(found.server, found.heads, found.seals, sql))
    )
    blocker = client()
    blocker.run("SELECT pg_advisory_lock(77)")
    return blocker


def loading(db):
    return db.rows("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%pg_advisory_xact_lock(77)%%' AND pid <> "
                   "pg_backend_pid() AND wait_event_type = 'Lock' AND datname = current_database()")  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_the_middle_nothing_happened(written, held, run, spawn, db, number):
    running = spawn("upgrade", project=written, patient=True, MIGRATOR_LOCK_TIMEOUT="20s")
    until(lambda: loading(db), "the load to wait")
    running.signal(number)
    assert running.result().code == {signal.SIGKILL: -9, signal.SIGTERM: 143}[number]
    until(lambda: not db.migrators(), "the server to notice")
    assert checkpoint_sql.is_empty(db.rows)[0]
    assert db.steps() == []
    held.close()
    assert LOADED in run("upgrade", project=written).out
    assert [word for _, word in db.runs()] == ["interrupted", "done"]


def test_a_second_migrator_waits_and_has_nothing_to_do(written, held, spawn, db):
    one = spawn("upgrade", project=written, MIGRATOR_LOCK_TIMEOUT="20s")
    until(lambda: loading(db), "the load to wait")
    other = spawn("upgrade", project=written)
    other.said("waiting    another migrator is at work")
    held.close()
    assert (one.result().code, other.result().code) == (0, 0)
    assert "nothing to do" in other.text
    assert len(db.steps()) == 2


def test_what_the_server_refuses_is_one_line_and_nothing_stays(written, run, db):
    found = checkpoint_file.read(written.checkpoint)
    broken = checkpoint_file.Checkpoint(found.server, found.heads, found.seals, found.sql + "\nSELECT nonsense();\n")
    written.checkpoint.write_text(checkpoint_file.text(broken))
    done = run("upgrade", project=written)
    assert done.code == 4
    assert "the checkpoint cannot be loaded: function nonsense() does not exist; nothing was kept" in done.last
    assert "at: SELECT nonsense();" in done.text
    assert checkpoint_sql.is_empty(db.rows)[0]
