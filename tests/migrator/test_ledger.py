"""Ledger: what it shows of every run, that it is never half true, and that it meets databases of any past."""
# ruff: noqa: E501 - SQL and messages as they are

import signal
import socket

import pytest

from lockstep import __version__
from lockstep.ledger import tables
from tests.migrator.rig import until


def test_a_run_and_its_steps_are_shown(project, run, db):
    project.sql("a1", "CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)", down=["DROP TABLE t"])
    project.sql("b2", "ALTER TABLE t ADD COLUMN n int")
    assert run("upgrade", project=project, IMAGE_COMMIT="c0ffee").code == 0
    assert db.rows(
        "SELECT verb, road, outcome, commit, version, host, error, from_heads, to_heads FROM migrator.run"
    ) == [("upgrade", "migrator", "done", "c0ffee", __version__, socket.gethostname(), None, [], ["b2"])]
    assert db.rows("SELECT finished >= started FROM migrator.run") == [(True,)]
    assert db.rows("SELECT revision, message, statements, attempts, seal LIKE 'ast%%' FROM migrator.step ORDER BY id") == [
        ("a1", "a1", 2, 1, True), ("b2", "b2", 1, 1, True)
    ]  # fmt: skip
    assert db.one("SELECT bool_and(duration_ms >= 0 AND waited_ms = 0 AND finished >= started) FROM migrator.step")
    shown = run("history", project=project).out
    assert "applied" in shown
    assert "c0ffee" in shown
    assert run("downgrade", "base", project=project).code == 0
    assert [item["direction"] for item in run("history", "--json", project=project).json["steps"]] == [
        "down",
        "down",
        "up",
        "up",
    ]


def test_a_failed_run_shows_its_error_and_where(project, run, db):
    project.sql("a1", "SELECT 1")
    project.sql("b2", "SELECT nonsense")
    assert run("upgrade", project=project).code == 4
    [(outcome, error, message, revision, before, after)] = db.rows(
        "SELECT outcome, error, message, revision, from_heads, to_heads FROM migrator.run"
    )
    assert (outcome, error, revision, before, after) == ("failed", "StepFailed", "b2", [], ["a1"])
    assert message.startswith('b2: column "nonsense" does not exist')
    assert "b2: column" in run("status", project=project).out


def test_a_run_that_was_killed_is_found_by_the_next(project, spawn, run, db):
    project.sql("a1", "CREATE TABLE t (id int)", "SELECT pg_sleep(60)")
    running = spawn("upgrade", project=project)
    until(lambda: [row for row in db.migrators() if "pg_sleep" in row[2]], "the statement to run")
    running.signal(signal.SIGKILL)
    running.result()
    until(lambda: not db.migrators(), "its backends to leave")
    assert (db.steps(), db.columns("t")) == ([], [])
    assert db.runs() == [("upgrade", None)]
    project._last = None
    project.sql("a1", "CREATE TABLE t (id int)")
    assert run("upgrade", project=project).code == 0
    assert db.runs() == [("upgrade", "interrupted"), ("upgrade", "done")]
    assert "the process or its connection died; found by the next run" in run("status", project=project).out


def test_change_version_and_step_are_committed_together(project, run, db):
    # Whatever of the three fails, none of them stays.
    project.sql("a1", "CREATE TABLE t (id int)")
    assert run("upgrade", "base", project=project).code in {0, 2}
    db.rows("CREATE SCHEMA IF NOT EXISTS migrator")
    run("status", project=project)
    run("upgrade", "a1", project=project)
    run("downgrade", "base", project=project)
    db.rows(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$; "
        "DROP TABLE IF EXISTS t; "
        "CREATE TRIGGER no BEFORE INSERT ON migrator.step FOR EACH ROW EXECUTE FUNCTION no()"
    )
    steps = db.steps()
    done = run("upgrade", project=project)
    assert done.code == 4, done.text
    assert "not now" in done.last
    assert db.columns("t") == []
    assert db.steps() == steps
    assert db.rows("SELECT * FROM migrator.alembic_version") == []


def test_a_database_that_alembic_managed_in_public_is_adopted_where_it_is(project, run, db):
    project.sql("a1", "CREATE TABLE t (id int)")
    project.sql("b2", "ALTER TABLE t ADD COLUMN n int")
    db.rows("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES ('a1'); "
            "CREATE TABLE t (id int)")  # fmt: skip
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert "adopted    1 revision that was applied before there was a ledger" in done.out
    assert db.rows("SELECT version_num FROM alembic_version") == [("b2",)]
    assert db.columns("migrator.alembic_version") == []
    assert db.steps() == [("a1", "adopt", "finished"), ("b2", "up", "finished")]
    assert run("upgrade", project=project).last.startswith("done: nothing to do")


def test_a_database_ahead_of_a_release_it_never_served_is_refused(project, run, db):
    project.sql("a1", "SELECT 1")
    path = project.sql("b2", "SELECT 1")
    assert run("upgrade", project=project).code == 0
    path.unlink()
    done = run("upgrade", project=project)
    assert done.code == 1
    assert done.last.startswith("refused: the database is at b2, which this image does not have")
    assert run("status", project=project).code == 0
    assert run("downgrade", "base", project=project).code == 1


def test_a_database_ahead_of_a_release_it_served_is_done(project, run, db):
    models = project.directory / "models.py"
    models.write_text(
        "from sqlalchemy import Text\nfrom sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column\n"
        "class Base(DeclarativeBase):\n    pass\n"
        "class T(Base):\n    __tablename__ = 't'\n    id: Mapped[str] = mapped_column(Text, primary_key=True)\n"
    )
    project.ini.write_text(project.ini.read_text() + "models = %(here)s/models.py\n")
    project.sql("a1", "CREATE TABLE t (id text PRIMARY KEY)")
    assert run("upgrade", project=project).code == 0
    path = project.sql("b2", "CREATE TABLE u (id int)")
    models.write_text(models.read_text() + "# the next release\n")
    assert run("upgrade", project=project).code == 0
    path.unlink()
    models.write_text(models.read_text().replace("# the next release\n", ""))
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert "the database is ahead of this image and serves this release, at b2" in done.last
    assert db.runs()[-1] == ("upgrade", "ahead")
    models.write_text(models.read_text() + "# never recorded\n")
    assert run("upgrade", project=project).code == 1


@pytest.mark.parametrize("had", range(len(tables.UPGRADES)))
def test_a_ledger_of_any_earlier_version_is_brought_up_and_keeps_its_rows(had, project, run, db):
    project.sql("a1", "SELECT 1")
    db.rows(
        "CREATE SCHEMA migrator; CREATE TABLE migrator.ledger (version int PRIMARY KEY, made timestamptz NOT NULL DEFAULT now())"
    )
    for number in range(had):
        db.rows(tables.UPGRADES[number])
        db.rows("INSERT INTO migrator.ledger (version) VALUES (%s)", number + 1)
    if had:
        db.rows(
            "INSERT INTO migrator.run (verb, road, outcome, finished) VALUES ('upgrade', 'migrator', 'done', now())"
        )
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert db.one("SELECT max(version) FROM migrator.ledger") == len(tables.UPGRADES)
    assert db.runs() == [("upgrade", "done")] * (2 if had else 1)


def test_a_newer_ledger_does_not_stop_an_older_migrator(project, run, db):
    project.sql("a1", "SELECT 1")
    assert run("upgrade", project=project).code == 0
    db.rows("INSERT INTO migrator.ledger (version) VALUES (1000); ALTER TABLE migrator.step ADD COLUMN novelty int")
    project.sql("b2", "SELECT 1")
    assert run("upgrade", project=project).code == 0


def test_an_edited_revision_is_refused_until_it_is_accepted(project, run, db):
    path = project.sql("a1", "CREATE TABLE t (id int)")
    project.sql("b2", "SELECT 1")
    assert run("upgrade", project=project).code == 0
    path.write_text("# a comment\n" + path.read_text())
    assert run("upgrade", project=project).code == 0
    path.write_text(path.read_text().replace("id int", "id bigint"))
    for verb in ("upgrade", "plan", "check"):
        done = run(verb, project=project)
        assert done.code == 1, done.text
        assert done.last.startswith("refused: applied revisions were edited since: a1 (a1). Cure: put the files back")
    assert run("upgrade", "--accept-edited", "nonsense", project=project).code == 2
    done = run("upgrade", "--accept-edited", "a1", project=project)
    assert done.code == 0, done.text
    assert run("upgrade", project=project).code == 0
    assert run("upgrade", "--accept-edited", "a1", project=project).code == 0, "again changes nothing"


def test_a_role_that_may_not_make_the_ledger_is_told_so(project, run, db):
    import contextlib  # noqa: PLC0415

    from sqlalchemy import make_url  # noqa: PLC0415

    db.rows("CREATE ROLE weak LOGIN PASSWORD 'weak'")
    with contextlib.ExitStack() as stack:
        stack.callback(db.rows, "DROP OWNED BY weak; DROP ROLE weak")
        weak = make_url(db.url).set(username="weak", password="weak").render_as_string(hide_password=False)
        project.sql("a1", "SELECT 1")
        done = run("upgrade", project=project, url=weak)
        assert done.code == 1, done.text
        assert "this role may not make the ledger: permission denied for database" in done.last
        assert run("upgrade", project=project).code == 0
        for verb in ("upgrade", "status", "history"):
            done = run(verb, project=project, url=weak)
            assert done.code == 1, done.text
            assert "permission denied for schema migrator" in done.last


def test_a_ledger_that_somebody_locks_is_busy(project, run, db, client):
    project.sql("a1", "SELECT 1")
    assert run("upgrade", project=project).code == 0
    client().run("LOCK TABLE migrator.run IN ACCESS EXCLUSIVE MODE")
    done = run("upgrade", project=project, MIGRATOR_DEADLINE="2s")
    assert done.code == 3, done.text
