"""The limits of the runner: in force in every revision, whatever an earlier one or a rollback did to them."""
# ruff: noqa: E501 - SQL and messages as they are

import pytest


@pytest.fixture(params=["project", "foreign"])
def any_project(request):
    return request.getfixturevalue(request.param)


LOOK = """
INSERT INTO seen SELECT '{0}', name, setting FROM pg_settings WHERE name IN ('application_name', 'statement_timeout',
  'idle_in_transaction_session_timeout', 'client_connection_check_interval', 'search_path', 'session_replication_role')
UNION ALL SELECT '{0}', 'role', current_setting('role') UNION ALL SELECT '{0}', 'user', current_user
UNION ALL SELECT '{0}', 'lock_timeout', (setting::int BETWEEN 1 AND 50)::text FROM pg_settings WHERE name = 'lock_timeout'
"""

MESS = """
SET search_path = 'nowhere'; SET lock_timeout = 0; SET statement_timeout = 0; SET application_name = 'x';
SET idle_in_transaction_session_timeout = 0; SET client_connection_check_interval = 0;
SET session_replication_role = replica; SET ROLE pg_monitor
"""


def test_limits_are_in_force_and_what_a_revision_sets_does_not_reach_the_next(any_project, run, db):
    db.rows("CREATE TABLE seen (revision text, name text, value text)")
    any_project.sql("a1", LOOK.format("first"))
    any_project.sql("b2", MESS)
    any_project.sql("c3", LOOK.format("after SET"))
    any_project.sql("d4", "RESET ALL")
    any_project.sql("e5", LOOK.format("after RESET"))
    any_project.outside("f6", "SET statement_timeout = 0", "SET search_path = 'nowhere'", "SET lock_timeout = '7s'")
    any_project.sql("g7", LOOK.format("after a block"))
    done = run(
        "upgrade",
        project=any_project,
        IMAGE_COMMIT="abc123",
        MIGRATOR_STATEMENT_TIMEOUT="77s",
        MIGRATOR_IDLE_TIMEOUT="33s",
    )
    assert done.code == 0, done.text
    owner = db.one("SELECT current_user")
    expected = {
        "application_name": "migrator/abc123",
        "statement_timeout": "77000",
        "idle_in_transaction_session_timeout": "33000",
        "client_connection_check_interval": "1000",
        "search_path": db.one("SELECT value FROM seen WHERE revision = 'first' AND name = 'search_path'"),
        "session_replication_role": "origin",
        "role": "none",
        "user": owner,
        "lock_timeout": "true",
    }
    for revision in ("first", "after SET", "after RESET", "after a block"):
        assert dict(db.rows("SELECT name, value FROM seen WHERE revision = %s", revision)) == expected, revision


def test_limits_hold_after_a_try_that_was_rolled_back(any_project, run, db, client):
    db.rows("CREATE TABLE seen (revision text, name text, value text); CREATE TABLE t (id int)")
    any_project.sql("a1", "ALTER TABLE t ADD COLUMN n int", LOOK.format("first"))
    reader = client()
    reader.run("SELECT * FROM t")
    assert run("upgrade", project=any_project, MIGRATOR_DEADLINE="500ms").code == 3
    reader.close()
    assert run("upgrade", project=any_project, MIGRATOR_STATEMENT_TIMEOUT="77s").code == 0
    assert ("statement_timeout", "77000") in db.rows("SELECT name, value FROM seen")


@pytest.mark.parametrize("commit", ["a'b", "a; DROP TABLE t", "50%", "x" * 200, "é", "a\\"])
def test_a_commit_of_odd_characters_is_only_a_name(commit, project, run, db):
    project.sql("a1", "CREATE TABLE name (n text)", "INSERT INTO name SELECT current_setting('application_name')")
    done = run("upgrade", project=project, IMAGE_COMMIT=commit)
    assert done.code == 0, done.text
    assert db.one("SELECT n FROM name").startswith("migrator/")
    assert db.one("SELECT commit FROM migrator.run") == commit


def test_under_an_env_py_that_connects_with_autocommit_no_revision_is_half_applied(foreign, run, db):
    foreign.sql("a1", "CREATE TABLE t (id int)", "SELECT 1 / 0")
    text = foreign.env_py.read_text()
    assert "poolclass=pool.NullPool," in text
    foreign.env_py.write_text(
        text.replace("poolclass=pool.NullPool,", "poolclass=pool.NullPool, isolation_level='AUTOCOMMIT',")
    )
    done = run("upgrade", project=foreign)
    assert (done.code, "division by zero" in done.last) == (4, True), done.text
    assert db.columns("t") == []


def test_a_step_does_not_wait_for_the_disk_and_the_end_of_the_run_does(project, run, db):
    # The tests' own servers have it off.
    db.rows(f"ALTER DATABASE {db.one('SELECT current_database()')} SET synchronous_commit = on")
    db.rows("CREATE TABLE seen (at text, setting text)")
    look = "INSERT INTO public.seen VALUES ('{}', current_setting('synchronous_commit'))"
    project.sql("a1", look.format("step"))
    assert run("upgrade", "a1", project=project).code == 0
    db.rows(
        "CREATE FUNCTION ended() RETURNS trigger LANGUAGE plpgsql AS "
        f"$f$ BEGIN {look.format('end')}; RETURN NULL; END $f$"
    )
    db.rows(
        "CREATE TRIGGER ended AFTER UPDATE OF finished ON migrator.run FOR EACH ROW "
        "WHEN (new.outcome = 'done') EXECUTE FUNCTION ended()"
    )
    project.sql("b2", look.format("step"))
    assert run("upgrade", project=project).code == 0
    assert db.rows("SELECT DISTINCT at, setting FROM seen ORDER BY at") == [("end", "on"), ("step", "off")]


def test_a_transaction_timeout_of_the_database_does_not_end_a_revision(project, run, db):
    if db.one("SELECT current_setting('server_version_num')::int") < 170000:  # 17 brought it
        pytest.skip("the server has no transaction_timeout")
    name = db.one("SELECT current_database()")
    db.rows(
        f"ALTER DATABASE \"{name}\" SET transaction_timeout = '1s'; ALTER DATABASE \"{name}\" SET idle_session_timeout = '1s'"
    )
    project.sql("a1", "SELECT pg_sleep(2)")
    project.outside("b2", "SELECT pg_sleep(2)", "CREATE TABLE t (id int)")
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
