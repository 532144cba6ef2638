"""Past the runner: revisions that end their transaction, or take the ledger away, where SQLAlchemy does not see it."""

import pytest

ADD = "op.execute('ALTER TABLE t ADD COLUMN n int')"
RAW = "op.get_bind().connection"
COMMITS = [
    f"{RAW}.commit()",
    f"{RAW}.driver_connection.commit()",
    f"{RAW}.cursor().execute('COMMIT')",
    f"{RAW}.cursor().execute('COMMIT; BEGIN')",
    f"{RAW}.commit(); {RAW}.driver_connection.autocommit = True",
]
AFTERWARDS = [
    "pass",
    "op.execute('INSERT INTO t VALUES (7)')",
    "op.execute('SELECT 1 / 0')",
    "raise ValueError",
    "op.execute('LOCK TABLE busy')",
]
LINE = "ends its transaction on the driver's own connection; what it did before that stays"


TAKEN = [
    "DROP TABLE migrator.run CASCADE",
    "DROP TABLE migrator.step CASCADE",
    "DROP TABLE migrator.release",
    "DROP TABLE migrator.instance",
    "DROP TABLE migrator.deferred",
    "DROP TABLE migrator.alembic_version",
    "DROP SCHEMA migrator CASCADE",
    "ALTER TABLE migrator.run RENAME TO runs",
    "ALTER TABLE migrator.run DROP COLUMN message",
    "ALTER TABLE migrator.run SET SCHEMA public",
    "ALTER SCHEMA migrator RENAME TO other",
    "TRUNCATE migrator.run CASCADE",
    "DELETE FROM migrator.step; DELETE FROM migrator.run",
    "DO $$ BEGIN EXECUTE 'DROP TABLE migrator.' || 'run CASCADE'; END $$",
]


@pytest.fixture
def there(db, project, run):
    project.sql("a1", "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE busy (id int)")
    assert run("upgrade", project=project).code == 0
    return db


@pytest.mark.parametrize("commit", COMMITS)
@pytest.mark.parametrize("then", AFTERWARDS)
def test_a_revision_that_commits_on_the_drivers_connection_is_told_so(commit, then, there, project, run, client):
    client().run("LOCK TABLE busy")
    project.revision("b2", f"{ADD}\n{commit}\n{then}")
    done = run("upgrade", project=project, MIGRATOR_DEADLINE="20s")
    assert (done.code, LINE in done.last) == (4, True), done.text
    assert there.steps() == [("a1", "up", "finished")]
    assert there.runs()[-1] == ("upgrade", "failed")
    kept = "COMMIT')" in commit and "INSERT" in then  # what comes after that is in a transaction of nobody's
    assert there.rows("SELECT count(*) FROM t") == [(int(kept),)]


@pytest.mark.parametrize("then", ["pass", "op.execute('INSERT INTO t VALUES (7)')"])
def test_one_that_rolls_back_there_and_goes_on_is_told_so(then, there, project, run):
    project.revision("b2", f"{ADD}\n{RAW}.rollback()\n{then}")
    done = run("upgrade", project=project)
    assert (done.code, LINE in done.last) == (4, True), done.text
    assert there.columns("t") == ["id"]


def test_one_that_does_so_before_an_autocommit_block_is_told_so_too(there, project, run):
    body = f"{ADD}\n{RAW}.commit()\nwith op.get_context().autocommit_block():\n    op.execute('VACUUM t')"
    project.revision("b2", body)
    done = run("upgrade", project=project)
    assert (done.code, LINE in done.last) == (4, True), done.text


@pytest.mark.parametrize("error", ["op.execute('SELECT 1 / 0')", "raise ValueError('no')"])
@pytest.mark.parametrize("where", ["before", "in", "after"])
def test_one_that_fails_around_an_autocommit_block_is_not_taken_for_one(where, error, there, project, run):
    block = "with op.get_context().autocommit_block():\n    op.execute('VACUUM t')"
    body = {
        "before": f"{ADD}\n{error}\n{block}",
        "in": f"{ADD}\n{block}\n    {error}",
        "after": f"{block}\n{ADD}\n{error}",
    }[where]
    project.revision("b2", body)
    done = run("upgrade", project=project)
    assert (done.code, "driver's own" in done.text) == (4, False), done.text


@pytest.mark.parametrize("statement", TAKEN)
def test_a_revision_that_takes_the_ledger_away_is_rolled_back(statement, there, project, run):
    project.sql("b2", "ALTER TABLE t ADD COLUMN n int", statement)
    done = run("upgrade", project=project)
    assert (done.code, "nothing of it was kept" in done.last) == (4, True), done.text
    assert there.columns("t") == ["id"]
    assert there.steps() == [("a1", "up", "finished")]
    assert there.runs()[-1] == ("upgrade", "failed")
