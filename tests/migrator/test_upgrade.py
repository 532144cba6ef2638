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
    assert db.lock_is_free()


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
