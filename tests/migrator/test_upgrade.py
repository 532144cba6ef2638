"""`upgrade`: the line from settings to report, on projects of a few revisions."""

import pytest


@pytest.fixture(params=["project", "foreign"])
def any_project(request):
    return request.getfixturevalue(request.param)


def test_pending_revisions_are_applied_in_order_and_a_second_run_has_nothing_to_do(any_project, run, db):
    any_project.sql("a1", "CREATE TABLE t (id int)")
    any_project.sql("b2", "ALTER TABLE t ADD COLUMN n int")
    first = run("upgrade", project=any_project)
    assert first.code == 0, first.text
    assert first.last == "done: 2 applied, the database is at b2 (safe to run again)"
    assert db.columns("t") == ["id", "n"]
    second = run("upgrade", project=any_project)
    assert (second.code, second.last) == (0, "done: nothing to do, the database is at b2 (safe to run again)")
    assert db.steps() == [("a1", "up", "finished"), ("b2", "up", "finished")]
    assert db.runs() == [("upgrade", "done"), ("upgrade", "done")]
    db.require_free_lock()


def test_a_failing_revision_keeps_what_was_before_it_and_says_so(any_project, run, db):
    any_project.sql("a1", "CREATE TABLE t (id int)")
    path = any_project.sql("b2", "ALTER TABLE t ADD COLUMN n int", "SELECT 1/0")
    any_project.sql("c3", "ALTER TABLE t ADD COLUMN m int")
    done = run("upgrade", project=any_project)
    assert done.code == 4
    assert done.last == (
        "failed: b2: division by zero; 1 applied and kept, 2 not applied. "
        "Cure: correct the revision file, or the data it met; nothing of it was kept. "
        "(exit 4; run it again after that change)"
    )
    assert f"  at {path}:" in done.err
    assert "  applied and kept: a1" in done.err
    assert "  not applied: b2, c3" in done.err
    assert "Traceback" not in done.text
    assert db.columns("t") == ["id"]
    assert db.steps() == [("a1", "up", "finished")]
    assert db.runs() == [("upgrade", "failed")]


def test_what_ran_before_a_block_that_fails_is_said_to_stay(project, run, db):
    db.rows("CREATE TABLE t (n int); INSERT INTO t VALUES (0), (0)")
    project.outside("a1", "CREATE UNIQUE INDEX CONCURRENTLY ix ON t (n)", before=["UPDATE t SET n = 1"])
    done = run("upgrade", project=project)
    assert done.code == 4, done.text
    assert "stays: UPDATE t SET n = ?" in done.text
    assert "1 statement of it stays, and a later run goes on from there" in done.text
    assert "nothing of it was kept" not in done.text


def test_the_hint_of_the_server_is_shown(project, run, db):
    project.sql("a1", "SELECT no_such_function(1)")
    done = run("upgrade", project=project)
    assert (done.code, "hint: " in done.text) == (4, True), done.text


@pytest.mark.parametrize(
    ("sql", "cure"),
    [
        ("CREATE EXTENSION nobody_wrote_it", "have the platform or a superuser make the extension first"),
        ("CREATE TABLE auth.users (id int)", "make the schema in an earlier revision"),
        ("CREATE TABLE t (id int)", "somebody made it outside of these revisions"),
        ("ALTER TABLE t ADD COLUMN id int", "somebody made it outside of these revisions"),
        ("ALTER TABLE t ALTER n SET NOT NULL", "bring the rows that it met into order first"),
        ("CREATE UNIQUE INDEX ON t (id)", "bring the rows that it met into order first"),
        ("ALTER TABLE t ADD CHECK (id > 5)", "bring the rows that it met into order first"),
        ("ALTER TABLE t DROP COLUMN id", "change or drop first what depends on it, in the same revision"),
        ("SELECT 1 / 0", "correct the revision file, or the data it met"),
    ],
)
def test_a_step_that_fails_says_what_to_do_about_that_error(project, run, db, sql, cure):
    db.rows("CREATE TABLE t (id int, n int); INSERT INTO t VALUES (1), (1); CREATE VIEW v AS SELECT id FROM t")
    project.sql("a1", sql)
    done = run("upgrade", project=project)
    assert done.code == 4
    assert f"Cure: {cure}" in done.last
    assert done.last.endswith("nothing of it was kept. (exit 4; run it again after that change)")


def test_a_revision_whose_python_fails_is_to_be_corrected(project, run):
    project.revision("a1", "op.create_tabel('t')")
    assert "Cure: correct the revision file; nothing of it was kept" in run("upgrade", project=project).last
