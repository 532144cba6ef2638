"""Revisions that leave the transaction: marked, resumed where they were cut off, each statement done exactly once."""
# ruff: noqa: E501 - SQL and messages as they are

import signal

import pytest

from tests.migrator.rig import until

CIC = "CREATE INDEX CONCURRENTLY ix ON t (n)"


@pytest.fixture(params=["project", "foreign"])
def any_project(request):
    return request.getfixturevalue(request.param)


def validity(db, index="ix"):
    return [row[0] for row in db.rows("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", index)]


def a_table(db, rows=100):
    db.rows(f"CREATE TABLE t (id int, n int); INSERT INTO t SELECT i, i FROM generate_series(1, {rows}) i")


def test_statements_in_and_out_of_blocks_are_done_and_the_step_is_finished(any_project, run, db):
    a_table(db)
    any_project.outside(
        "a1", CIC, "INSERT INTO t VALUES (101, 101)", "VACUUM t",
        before=["ALTER TABLE t ADD COLUMN b int"], after_block=["ALTER TABLE t ADD COLUMN c int"],
    )  # fmt: skip
    done = run("upgrade", project=any_project)
    assert done.code == 0, done.text
    assert db.columns("t") == ["id", "n", "b", "c"]
    assert validity(db) == [True]
    assert db.steps() == [("a1", "up", "finished")]
    assert db.rows("SELECT statements, attempts, uncertain FROM migrator.step") == [(5, 1, False)]


def test_a_revision_is_marked_started_while_its_block_runs(project, spawn, db, client):
    a_table(db)
    project.outside("a1", CIC)
    old = client()
    old.raw.set_session(isolation_level="REPEATABLE READ")
    old.run("SELECT 1 FROM pg_class")
    running = spawn("upgrade", project=project)
    until(db.waiting, "the wait for the old snapshot")
    assert db.steps() == [("a1", "up", "started")]
    assert db.rows("SELECT uncertain, cardinality(digests) FROM migrator.step") == [(True, 1)]
    old.close()
    assert running.result().code == 0
    assert db.steps() == [("a1", "up", "finished")]


# Each cut is made at a statement that waits for the client's lock, so that it is certain where the kill falls.
PIECES = {
    "in the transaction before the block": ("ALTER TABLE t ADD COLUMN b int", "t"),
    "in the first statement of the block": ("UPDATE u SET n = n + 1", "u"),
    "in the index": (CIC, "t"),
    "in the second update": ("UPDATE v SET n = n + 1", "v"),
    "in the transaction after the block": ("ALTER TABLE w ADD COLUMN b int", "w"),
}


@pytest.mark.parametrize(
    ("where", "number"),
    [
        *((where, signal.SIGKILL) for where in PIECES),
        ("in the index", signal.SIGTERM),
        ("in the second update", signal.SIGTERM),
    ],
)
def test_a_revision_that_was_killed_at_any_statement_is_finished_by_the_next_run(
    where, number, project, run, spawn, db, client
):
    a_table(db)
    db.rows(
        "CREATE TABLE u (n int); INSERT INTO u VALUES (0); CREATE TABLE v (n int); INSERT INTO v VALUES (0); CREATE TABLE w (n int)"
    )
    project.outside(
        "a1", PIECES["in the first statement of the block"][0], CIC, PIECES["in the second update"][0],
        before=["INSERT INTO w VALUES (1)", PIECES["in the transaction before the block"][0]],
        after_block=["INSERT INTO w VALUES (2)", PIECES["in the transaction after the block"][0]],
    )  # fmt: skip
    statement, table = PIECES[where]
    other = client()
    if statement == CIC:  # an old snapshot is what it waits for
        other.raw.set_session(isolation_level="REPEATABLE READ")
        other.run("SELECT 1 FROM pg_class")
    else:
        other.run(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    running = spawn("upgrade", project=project)
    until(db.waiting, f"the wait at {statement}")
    running.signal(number)
    assert running.result().code == (-number if number == signal.SIGKILL else 128 + number)
    until(lambda: not db.migrators(), "the killed migrator's backends to leave")
    other.close()
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert db.rows("SELECT n FROM u") == [(1,)]
    assert db.rows("SELECT n FROM v") == [(1,)]
    assert db.rows("SELECT n FROM w ORDER BY n") == [(1,), (2,)]
    assert db.columns("t") == ["id", "n", "b"]
    assert db.columns("w") == ["n", "b"]
    assert validity(db) == [True]
    assert db.rows("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass") == [(1,)]
    assert db.steps() == [("a1", "up", "finished")]
    assert db.runs() == [("upgrade", "interrupted"), ("upgrade", "done")]


def test_an_update_in_a_block_that_committed_before_the_kill_is_not_done_twice(project, run, db):
    db.rows("CREATE TABLE u (n int); INSERT INTO u VALUES (0)")
    project.outside("a1", "UPDATE u SET n = n + 1", "SELECT 1/(SELECT count(*) FROM gate)::int")
    db.rows("CREATE TABLE gate (n int)")
    assert run("upgrade", project=project).code == 4
    assert db.rows("SELECT n FROM u") == [(1,)]
    assert db.steps() == [("a1", "up", "started")]
    db.rows("INSERT INTO gate VALUES (1)")
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert "resumed" in done.out
    assert db.rows("SELECT n FROM u") == [(1,)]


@pytest.mark.parametrize("done", ["it was", "it was not", "it was cut off"])
def test_an_index_of_which_nobody_knows_whether_it_was_built_is_there_once(done, project, run, db):
    a_table(db)
    db.rows("CREATE TABLE gate (n int)")
    project.outside("a1", CIC, "SELECT 1/(SELECT count(*) FROM gate)::int")
    assert run("upgrade", project=project).code == 4
    # As a kill leaves it between the statement and the ledger's word on it.
    db.rows("UPDATE migrator.step SET uncertain = true")
    if done == "it was not":
        db.rows("DROP INDEX ix")
    if done == "it was cut off":
        db.rows("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix'::regclass")
    db.rows("INSERT INTO gate VALUES (1)")
    again = run("upgrade", project=project)
    assert again.code == 0, again.text
    assert validity(db) == [True]
    assert db.rows("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass") == [(1,)]


def test_rows_of_a_statement_in_a_block_reach_the_revision(project, run, db):
    db.rows("CREATE TABLE u (n int); INSERT INTO u VALUES (0)")
    project.revision(
        "a1",
        """
        with op.get_context().autocommit_block():
            bind = op.get_bind()
            assert bind.execute(sa.text("UPDATE u SET n = n + 1 RETURNING n")).scalar() == 1
            assert bind.execute(sa.text("UPDATE u SET n = n + 1")).rowcount == 1
            assert bind.execute(sa.text("INSERT INTO u VALUES (:n)"), [{"n": 5}, {"n": 6}]).rowcount == 2
        """,
    )
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert db.rows("SELECT n FROM u ORDER BY n") == [(2,), (5,), (6,)]


def test_an_invalid_index_of_its_own_making_is_built_again(project, run, db):
    a_table(db)
    db.rows("INSERT INTO t VALUES (1, 1)")
    project.outside("a1", "CREATE UNIQUE INDEX CONCURRENTLY ix ON t (n)")
    first = run("upgrade", project=project)
    assert first.code == 4
    assert "could not create unique index" in first.last
    assert "(n)=(1) is duplicated" in first.err
    assert validity(db) == [], "a failed build leaves no index behind"
    db.rows("DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t WHERE n = 1)")
    assert run("upgrade", project=project).code == 0
    assert validity(db) == [True]


@pytest.mark.parametrize("exists", ["IF NOT EXISTS ", ""])
def test_an_invalid_index_of_somebody_elses_making_is_refused_with_the_cure(exists, project, run, db):
    a_table(db)
    db.rows("INSERT INTO t VALUES (1, 1)")
    with pytest.raises(Exception, match="duplicated"):
        db.rows("CREATE UNIQUE INDEX CONCURRENTLY ix ON t (n)")
    assert validity(db) == [False]
    project.outside("a1", f"CREATE INDEX CONCURRENTLY {exists}ix ON t (n)")
    for _ in range(2):
        done = run("upgrade", project=project)
        assert done.code == 4
        assert 'index "ix" exists but is INVALID' in done.last
        assert 'Cure: DROP INDEX CONCURRENTLY "ix"; then run again' in done.last
        assert validity(db) == [False]
    db.rows('DROP INDEX CONCURRENTLY "ix"')
    assert run("upgrade", project=project).code == 0
    assert validity(db) == [True]


def test_if_not_exists_over_a_valid_index_is_done(project, run, db):
    a_table(db)
    db.rows("CREATE INDEX ix ON t (n)")
    project.outside("a1", "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON t (n)")
    assert run("upgrade", project=project).code == 0


@pytest.mark.parametrize("holds", ["another table", "the table"])
def test_an_index_that_waits_for_an_old_snapshot_is_cancelled_cleanly_at_the_deadline(
    holds, project, run, run_late, db, client
):
    a_table(db)
    db.rows("CREATE TABLE other (n int)")
    project.outside("a1", CIC)
    old = client("a long report")
    old.raw.set_session(isolation_level="REPEATABLE READ")
    old.run("SELECT count(*) FROM " + ("t" if holds == "the table" else "other"))
    done = run_late("upgrade", project=project, came_so_far=lambda done: "when it waited for" in done.text)
    assert done.code == 3, done.text
    assert done.last.startswith("busy: a1: cancelled at the deadline, when it waited for ")
    db.require_free_lock()
    old.close()
    assert run("upgrade", project=project).code == 0
    assert validity(db) == [True]
    assert db.rows("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass") == [(1,)]


def test_what_a_reindex_leaves_behind_is_cleared_away(project, run, run_late, db, client):
    a_table(db)
    db.rows("CREATE INDEX ix ON t (n)")
    project.outside("a1", "REINDEX INDEX CONCURRENTLY ix")
    old = client()
    old.raw.set_session(isolation_level="REPEATABLE READ")
    old.run("SELECT count(*) FROM pg_class")
    done = run_late("upgrade", project=project, came_so_far=lambda done: "when it waited for" in done.text)
    assert done.code == 3, done.text
    old.close()
    assert run("upgrade", project=project).code == 0
    assert db.rows("SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 't'::regclass") == [("ix",)]


def test_a_blocking_statement_in_a_block_has_the_lock_timeout_of_a_try(project, run, run_late, db, client):
    a_table(db)
    project.outside("a1", CIC, "ALTER TABLE t ADD COLUMN b int")
    reader = client("a reader")
    reader.run("SELECT count(*) FROM t")
    done = run_late("upgrade", project=project, came_so_far=lambda done: "no lock on" in done.text)
    assert done.code == 3, done.text
    assert f"t (AccessExclusiveLock), held by pid {reader.pid} (a reader, idle in transaction" in done.last
    assert validity(db) == [True]
    assert run("status", project=project).code == 0
    reader.close()
    assert run("upgrade", project=project).code == 0
    assert db.columns("t") == ["id", "n", "b"]


def test_a_revision_that_was_cut_off_and_edited_is_refused(project, run, db):
    db.rows("CREATE TABLE u (n int)")
    project.outside("a1", "INSERT INTO u VALUES (1)", "SELECT 1/0")
    assert run("upgrade", project=project).code == 4
    project._last = None
    project.outside("a1", "INSERT INTO u VALUES (2)", "SELECT 1")
    done = run("upgrade", project=project)
    assert done.code == 4
    assert "a1 was cut off after 1 statements and edited since" in done.last
    assert db.rows("SELECT n FROM u") == [(1,)]


def test_a_revision_that_was_cut_off_may_be_corrected_where_it_failed(project, run, db):
    db.rows("CREATE TABLE u (n int)")
    project.outside("a1", "INSERT INTO u VALUES (1)", "INSERT INTO nowhere VALUES (1)")
    assert run("upgrade", project=project).code == 4
    project._last = None
    project.outside("a1", "INSERT INTO u VALUES (1)", "INSERT INTO u VALUES (2)")
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert db.rows("SELECT n FROM u") == [(1,), (2,)]


def test_a_downgrade_leaves_the_transaction_too(project, run, db):
    a_table(db)
    project.revision(
        "a1",
        "op.create_index('ix', 't', ['n'])",
        "with op.get_context().autocommit_block():\n    op.drop_index('ix', table_name='t', postgresql_concurrently=True)",
    )
    assert run("upgrade", project=project).code == 0
    done = run("downgrade", "base", project=project)
    assert done.code == 0, done.text
    assert validity(db) == []
    assert db.steps() == [("a1", "up", "finished"), ("a1", "down", "finished")]


@pytest.mark.parametrize(
    "up",
    [
        "op.execute('COMMIT')\nop.execute('INSERT INTO u VALUES (8)')",
        "op.execute('INSERT INTO u VALUES (1); COMMIT; SELECT 1')",
        "op.get_bind().commit()\nop.execute('INSERT INTO u VALUES (8)')",
        "op.get_bind().rollback()",
        "op.execute('ROLLBACK')",
    ],
)
def test_a_revision_that_ends_its_transaction_is_refused_and_nothing_of_it_stays(up, any_project, run, db):
    db.rows("CREATE TABLE u (n int)")
    any_project.revision("a1", f"op.execute('INSERT INTO u VALUES (7)')\n{up}")
    done = run("upgrade", project=any_project)
    assert done.code == 4, done.text
    assert done.last.startswith("failed: a1 ")
    assert "leave COMMIT and ROLLBACK to the runner" in done.last
    assert db.rows("SELECT * FROM u") == []
    assert db.steps() == []


def test_an_orm_session_that_commits_inside_a_revision_stays_inside_its_transaction(any_project, run, db):
    db.rows("CREATE TABLE u (n int)")
    any_project.revision(
        "a1",
        """
        from sqlalchemy.orm import Session
        with Session(bind=op.get_bind()) as session:
            session.execute(sa.text("INSERT INTO u VALUES (1)"))
            session.commit()
        if op.get_bind().execute(sa.text("SELECT count(*) FROM u")).scalar() == 1:
            op.execute("SELECT 1/0")
        """,
    )
    assert run("upgrade", project=any_project).code == 4
    assert db.rows("SELECT * FROM u") == []
