"""What runs outside of a transaction while a release is live: judged before it is kept, deferred, and resumed."""
# ruff: noqa: E501 - SQL and messages as they are

import contextlib
import uuid

import psycopg2
import pytest
import sqlalchemy as sa

from lockstep import contract
from lockstep.contract import catalog
from lockstep.postgres import outside_transaction, statements

DROP = "ALTER TABLE t DROP COLUMN old"
TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, old text, n int)"


@pytest.fixture
def live(db, project, run):
    """A database with a table that a live release uses all columns of; its revision is a1."""
    project.sql(
        "a1",
        TABLE,
        "INSERT INTO t SELECT i, 'x', i FROM generate_series(1, 9) i",
        "CREATE TABLE u (n int)",
        "INSERT INTO u VALUES (0)",
    )
    assert run("upgrade", project=project).code == 0
    report(db)
    return db


def report(db, digest="sha256:" + "7" * 64):
    """Report as an instance of a release does."""
    db.rows("INSERT INTO migrator.instance (id, release, host) VALUES (%s, %s, 'h')", str(uuid.uuid4()), digest)


def record(db, digest="sha256:" + "7" * 64):
    """Record the release of the schema as it stands, as the run that served it did."""
    with sa.create_engine(sa.make_url(db.url).set(drivername="postgresql+psycopg2")).connect() as connection:
        needed = contract.of_catalog(catalog.read(connection, None)).to_json()
    db.rows(
        "INSERT INTO migrator.release (digest, contract, recorded) VALUES (%s, %s::jsonb, now() - interval '1 day')",
        digest,
        needed,
    )


def gone(db):
    """The release is shut down."""
    db.rows("UPDATE migrator.instance SET ended = now()")


def lines(done):
    """What was said, without the times."""
    return [line for line in done.out.splitlines() if "instance since" not in line]


def test_history_is_never_run_on_a_server_that_is_not_ours(server, db, project, run):
    role = f"ro_{uuid.uuid4().hex[:8]}"
    project.sql("a1", TABLE, f"CREATE ROLE {role}", f"ALTER ROLE {role} SET work_mem = '1MB'")
    assert run("upgrade", project=project).code == 0
    try:
        db.rows(f"ALTER ROLE {role} SET work_mem = '2MB'")
        report(db)
        last = db.one("SELECT max(oid) FROM pg_database")
        project.outside("b2", DROP)
        for _ in range(2):
            done = run("upgrade", project=project)
            assert (done.code, lines(done)[0]) == (0, "deferred   b2"), done.text
            assert "t.old: the release needs the column" in done.out
        assert db.columns("t") == ["id", "old", "n"]
        assert db.one("SELECT rolconfig FROM pg_roles WHERE rolname = %s", role) == ["work_mem=2MB"]
        assert db.one("SELECT max(oid) FROM pg_database") == last
    finally:
        server.execute("DROP ROLE {}", role)


def test_a_statement_outside_a_transaction_that_would_break_a_release_is_deferred_and_resumed(live, project, run):
    project.outside("b2", "UPDATE u SET n = n + 1", DROP, "UPDATE u SET n = n + 1", before=["CREATE TABLE w ()"])
    first = run("upgrade", project=project)
    assert first.code == 0, first.text
    assert lines(first)[:4] == [
        "deferred   b2",
        "           stays: CREATE TABLE w ()",
        "           stays: UPDATE u SET n = n + ?",
        "           t.old: the release needs the column; the schema would offer no such column",
    ]
    assert live.steps() == [("a1", "up", "finished"), ("b2", "up", "started")]
    assert (live.columns("t"), live.rows("SELECT n FROM u")) == (["id", "old", "n"], [(1,)])
    again = run("upgrade", project=project)
    assert (again.code, lines(again)[:4]) == (0, lines(first)[:4]), again.text
    gone(live)
    done = run("upgrade", project=project)
    assert (done.code, "resumed" in done.out) == (0, True), done.text
    assert (live.columns("t"), live.rows("SELECT n FROM u")) == (["id", "n"], [(2,)])
    assert live.steps() == [("a1", "up", "finished"), ("b2", "up", "finished")]


@pytest.mark.parametrize("where", ["before the block", "first in it", "after it"])
def test_a_revision_of_which_nothing_was_kept_is_not_under_way(where, live, project, run):
    parts = {"before the block": ((), (DROP,), ()), "first in it": ((DROP,), (), ()), "after it": ((), (), (DROP,))}
    inside, before, after = parts[where]
    project.outside("b2", *inside, "SELECT 1", before=before, after_block=after)
    done = run("upgrade", project=project)
    assert (done.code, "deferred   b2" in done.out, "stays" in done.out) == (0, True, False), done.text
    assert live.columns("t") == ["id", "old", "n"]
    assert live.steps() == [("a1", "up", "finished")]


# Set up by b2, run in a block of c3: whatever a statement is called, it counts what it does.
WAYS = {
    "a function": ("CREATE FUNCTION go() RETURNS void LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE t DROP COLUMN old; END $$", "SELECT go()"),
    "an explained function": ("CREATE FUNCTION go() RETURNS void LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE t DROP COLUMN old; END $$", "EXPLAIN ANALYZE SELECT go()"),
    "DO": ("SELECT 1", "DO $$ BEGIN EXECUTE 'ALTER TABLE t DROP ' || 'COLUMN old'; END $$"),
    "a procedure": ("CREATE PROCEDURE go() LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE t DROP COLUMN old; END $$", "CALL go()"),
    "several statements": ("SELECT 1", f"SELECT 1; {DROP}"),
    "a label": ("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE m (mood mood)", "ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'"),
    "a trigger that is deferred": (
        (
            "CREATE FUNCTION go() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE t DROP COLUMN old; RETURN NULL; END $$;"
            "CREATE CONSTRAINT TRIGGER go AFTER UPDATE ON u DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION go()"
        ),
        "UPDATE u SET n = 7",
    ),
    "another search path": ("CREATE SCHEMA other", "SET search_path = other", "ALTER TABLE public.t DROP COLUMN old"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_whatever_a_statement_outside_a_transaction_is_called_it_is_judged_by_what_it_does(way, live, project, run):
    before, *then = WAYS[way]
    project.sql("b2", before)
    project.outside("c3", *then)
    first = run("upgrade", project=project)
    assert (first.code, "deferred   c3" in first.out) == (0, True), first.text
    assert (live.columns("t"), live.rows("SELECT n FROM u")) == (["id", "old", "n"], [(0,)])
    assert "deferred   c3" in run("upgrade", project=project).out
    gone(live)
    assert "applied    c3" in run("upgrade", project=project).out


def test_a_block_by_another_name_is_a_block(live, project, run):
    project.revision("b2", f"with getattr(op.get_context(), 'autocommit' + '_block')():\n    op.execute({DROP!r})")
    done = run("upgrade", project=project)
    assert (done.code, "deferred   b2" in done.out) == (0, True), done.text
    assert live.columns("t") == ["id", "old", "n"]


def test_a_right_that_is_taken_outside_a_transaction_is_given_back_before_it_commits(server, live, project, run):
    role = f"app_{uuid.uuid4().hex[:8]}"
    server.execute("CREATE ROLE {}", role)
    try:
        live.rows(f"GRANT SELECT, INSERT, UPDATE, DELETE ON t TO {role}")
        project.outside("b2", f"REVOKE DELETE ON t FROM {role}")
        done = run("upgrade", project=project, MIGRATOR_APP_ROLE=role)
        assert (done.code, "applied    b2" in done.out) == (0, True), done.text
        assert live.one("SELECT has_table_privilege(%s, 't', 'DELETE')", role)
    finally:
        live.rows(f"DROP OWNED BY {role}")
        server.execute("DROP ROLE {}", role)


TAKEN_FROM_A_ROLE = (
    "REVOKE SELECT ON t FROM {}", "REVOKE USAGE ON SCHEMA public FROM {}, PUBLIC", "ALTER ROLE {} NOLOGIN",
    "ALTER ROLE {} SET search_path = nowhere", "ALTER ROLE {} SET default_transaction_read_only = on",
)  # fmt: skip


@pytest.mark.parametrize("statement", TAKEN_FROM_A_ROLE)
def test_what_is_taken_outside_a_transaction_from_a_role_that_reports_waits_for_it(
    statement, server, live, project, run
):
    role = f"worker_{uuid.uuid4().hex[:8]}"
    server.execute("CREATE ROLE {} LOGIN", role)
    try:
        live.rows(f"GRANT USAGE ON SCHEMA public TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON t TO {role}")
        live.rows("UPDATE migrator.instance SET role = %s", role)
        project.outside("b2", statement.format(role))
        for _ in range(2):
            done = run("upgrade", project=project)
            assert (done.code, "deferred   b2" in done.out) == (0, True), done.text
        gone(live)
        assert "applied    b2" in run("upgrade", project=project).out
    finally:
        live.rows(f"DROP OWNED BY {role}")
        server.execute("DROP ROLE {}", role)


def test_a_function_that_wrote_is_not_called_again_by_a_run_that_goes_on(live, project, run):
    project.sql("b2", "CREATE FUNCTION go() RETURNS void LANGUAGE sql AS $$ UPDATE u SET n = n + 1 $$")
    project.outside("c3", "SELECT go()", "SELECT n FROM u", DROP)
    for _ in range(2):
        assert "deferred   c3" in run("upgrade", project=project).out
        assert live.rows("SELECT n FROM u") == [(1,)]
    gone(live)
    assert "resumed" in run("upgrade", project=project).out
    assert live.rows("SELECT n FROM u") == [(1,)]


def test_a_revision_that_catches_every_error_does_not_get_past_a_deferral(live, project, run):
    block = f"with op.get_context().autocommit_block():\n    try:\n        op.execute({DROP!r})\n    except Exception:\n        pass\n"
    project.revision("b2", block)
    done = run("upgrade", project=project)
    assert (done.code, "deferred   b2" in done.out) == (0, True), done.text
    assert live.columns("t") == ["id", "old", "n"]


COMMITS = "CREATE PROCEDURE work() LANGUAGE plpgsql AS $$ BEGIN UPDATE u SET n = n + 1; COMMIT; UPDATE u SET n = n + 1; END $$"


@pytest.mark.parametrize(
    "call",
    [
        "CALL work()",
        "DO $$ BEGIN CALL work(); END $$",
        "SELECT FROM u; GRAMMAR OF TOMORROW",
        "ALTER SYSTEM SET default_transaction_isolation = 'serializable'",
        "ALTER SYSTEM RESET ALL",
    ],
)
def test_what_cannot_be_tried_nor_known_waits_while_a_release_is_live(call, live, project, run):
    project.sql("b2", COMMITS)
    project.outside("c3", call)
    for _ in range(2):
        done = run("upgrade", project=project)
        assert (done.code, "deferred   c3" in done.out) == (0, True), done.text
        assert "the release needs no change to it that nobody could look at first" in done.out
        assert (
            "Cure: write it so that it runs in a transaction; --ignore-live-releases REASON does it all the same"
            in done.out
        )
        assert live.rows("SELECT n FROM u") == [(0,)]


@pytest.mark.parametrize("way", ["ignored", "gone"])
def test_a_procedure_that_commits_runs_where_nobody_can_be_hurt_or_an_operator_says_so(way, live, project, run):
    project.sql("b2", COMMITS)
    project.outside("c3", "CALL work()")
    if way == "gone":
        gone(live)
    done = run("upgrade", *(("--ignore-live-releases", "they only read") if way == "ignored" else ()), project=project)
    assert (done.code, "applied    c3" in done.out) == (0, True), done.text
    assert live.rows("SELECT n FROM u") == [(2,)]


def test_an_app_that_never_reported_counts_as_live(db, project, run):
    project.sql("a1", COMMITS, "CREATE TABLE u (n int)")
    project.outside("b2", "CALL work()")
    assert "deferred   b2" in run("upgrade", project=project).out
    assert "applied    b2" in run("upgrade", "--no-unknown-release", project=project).out


@pytest.mark.parametrize("statement", ["CREATE ROLE {}", "CREATE DATABASE {}"])
def test_what_is_made_for_the_whole_server_in_a_block_is_made_once(statement, server, live, project, run):
    name = f"made_{uuid.uuid4().hex[:8]}"
    project.outside("b2", statement.format(name), "UPDATE u SET n = n + 1")
    try:
        done = run("upgrade", project=project)
        assert (done.code, "applied    b2" in done.out) == (0, True), done.text
        assert live.rows("SELECT n FROM u") == [(1,)]
    finally:
        server.execute(f"DROP {statement.split()[1]} IF EXISTS {{}}", name)


def test_a_unique_index_that_an_upsert_may_name_is_not_dropped_while_a_release_is_live(live, project, run):
    live.rows("CREATE UNIQUE INDEX uq ON t (n); CREATE INDEX ix ON t (old)")
    project.outside("b2", "DROP INDEX CONCURRENTLY ix")
    project.outside("c3", "DROP INDEX CONCURRENTLY public.uq")
    for _ in range(2):
        done = run("upgrade", project=project)
        assert (done.code, "deferred   c3" in done.out) == (0, True), done.text
        assert "t: the release needs n unique, if it upserts by it; the schema would offer no uq" in done.out
        assert "--ignore-live-releases REASON does it all the same" in done.out
    assert live.rows("SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 't'::regclass ORDER BY 1") == [
        ("t_pkey",),
        ("uq",),
    ]


def test_a_unique_index_that_another_one_stands_in_for_is_dropped(live, project, run):
    live.rows("CREATE UNIQUE INDEX uq ON t (n)")
    project.outside("b2", "CREATE UNIQUE INDEX CONCURRENTLY uq_new ON t (n)", "DROP INDEX CONCURRENTLY uq")
    done = run("upgrade", "--strict", project=project)
    assert (done.code, "applied    b2" in done.out, "risked" in done.out) == (0, True, False), done.text


def test_a_unique_index_that_may_refuse_what_a_release_writes_is_said_and_waits_under_strict(live, project, run):
    project.outside("b2", "CREATE UNIQUE INDEX CONCURRENTLY uq ON t (n)")
    for _ in range(2):
        strict = run("upgrade", "--strict", project=project)
        assert (strict.code, "deferred   b2" in strict.out) == (0, True), strict.text
    assert live.rows("SELECT to_regclass('uq')") == [(None,)]
    done = run("upgrade", project=project)
    assert (done.code, "applied    b2" in done.out) == (0, True), done.text
    [risk] = [line for line in done.out.splitlines() if line.startswith("risked     b2   release ")]
    assert risk.endswith(
        ": t: the release needs its writes accepted as before; the schema would offer a new UNIQUE uq (n)"
    )


def test_a_partition_is_not_detached_under_a_release_that_reads_it(live, project, run):
    live.rows(
        "CREATE TABLE p (n int) PARTITION BY RANGE (n); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9); INSERT INTO p VALUES (1)"
    )
    project.outside("b2", "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY")
    if live.one("SELECT current_setting('server_version_num')::int") < 140000:
        pytest.skip("there since 14")
    for _ in range(2):
        done = run("upgrade", project=project)
        assert (done.code, "deferred   b2" in done.out) == (0, True), done.text
        assert (
            "p: the release needs all its rows, and a place for new ones; the schema would offer those that are not in p1"
            in done.out
        )
    assert live.rows("SELECT n FROM p") == [(1,)]
    done = run("upgrade", "--ignore-live-releases", "nobody reads 2019", project=project)
    assert (done.code, live.rows("SELECT n FROM p")) == (0, []), done.text


@pytest.mark.parametrize(
    "statement",
    [
        "VACUUM t",
        "VACUUM FULL t",
        "ANALYZE t",
        "CREATE INDEX CONCURRENTLY ix ON t (n)",
        "REINDEX TABLE CONCURRENTLY t",
        "REINDEX TABLE t",
        "CLUSTER t USING t_pkey",
        "DISCARD ALL",
    ],
)
def test_what_takes_nothing_from_anybody_is_done_without_a_word(statement, live, project, run):
    project.outside("b2", statement, "UPDATE u SET n = n + 1")
    done = run("upgrade", "--strict", project=project)
    assert (done.code, lines(done)[0][:13]) == (0, "applied    b2"), done.text
    assert live.rows("SELECT n FROM u") == [(1,)]


REFUSED = (
    "CREATE UNIQUE INDEX CONCURRENTLY i ON t (n)", "CREATE INDEX CONCURRENTLY i ON t (n)", "DROP INDEX CONCURRENTLY t_pkey", "VACUUM t",
    "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY", "REINDEX TABLE CONCURRENTLY t", "REINDEX (VERBOSE) DATABASE postgres", "CLUSTER",
    "CREATE DATABASE x", "DROP DATABASE x", "ALTER DATABASE template1 SET TABLESPACE pg_default", "CREATE TABLESPACE x LOCATION '/x'",
    "DROP TABLESPACE x", "ALTER SYSTEM RESET work_mem", "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p", "DISCARD ALL",
)  # fmt: skip


@pytest.mark.parametrize("statement", REFUSED)
def test_the_list_names_what_the_server_refuses_to_run_in_a_transaction(statement, db):
    db.rows(
        f"{TABLE}; CREATE TABLE p (n int) PARTITION BY RANGE (n); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)"
    )
    if "DETACH" in statement and db.one("SELECT current_setting('server_version_num')::int") < 140000:
        pytest.skip("there since 14")
    kind = statements.parse(statement).outside
    assert kind in outside_transaction.KINDS
    with contextlib.closing(psycopg2.connect(db.url)) as connection, connection.cursor() as cursor:
        with pytest.raises(psycopg2.Error) as refused:
            cursor.execute(statement)
        assert refused.value.pgcode in outside_transaction.REFUSES_A_TRANSACTION


def test_every_kind_on_the_list_has_an_example():
    named = {
        statements.parse(text).outside for text in (*REFUSED, "ALTER SUBSCRIPTION s DISABLE", "DROP SUBSCRIPTION s")
    }
    assert named == set(outside_transaction.KINDS)


def test_a_connection_in_autocommit_is_refused_before_it_does_anything(live, project, run):
    other = "op.get_bind().engine.connect().execution_options(isolation_level='AUTOCOMMIT')"
    project.revision("b2", f"with {other} as other:\n    other.execute(sa.text({DROP!r}))")
    done = run("upgrade", "--ignore-live-releases", "none of them", project=project)
    assert (done.code, "b2 works on a connection in autocommit" in done.last) == (4, True), done.text
    assert live.columns("t") == ["id", "old", "n"]


def test_what_a_deferred_trigger_does_is_seen_before_the_commit(live, project, run):
    before, then = WAYS["a trigger that is deferred"]
    project.sql("b2", before)
    project.sql("c3", then)
    done = run("upgrade", project=project)
    assert (done.code, "deferred   c3" in done.out) == (0, True), done.text
    assert (live.columns("t"), live.rows("SELECT n FROM u")) == (["id", "old", "n"], [(0,)])


def test_a_release_that_reports_objects_even_after_it_was_broken(live, project, run):
    record(live)
    project.outside("b2", DROP)
    done = run("upgrade", "--ignore-live-releases", "it does not need that one", project=project)
    assert "applied    b2" in done.out, done.text
    assert live.rows("SELECT broken_by FROM migrator.release") == [("b2",)]
    project.sql("c3", "ALTER TABLE t ADD COLUMN harmless int")
    project.sql("d4", "ALTER TABLE t DROP COLUMN n")
    for _ in range(2):
        done = run("upgrade", project=project)
        assert (done.code, "deferred   d4" in done.out) == (0, True), done.text
        assert "t.n: the release needs the column" in done.out
        assert "t.old" not in done.out, "that is lost already, and c3 has nothing to do with it"
    assert live.columns("t") == ["id", "n", "harmless"]
    gone(live)
    assert "applied    d4" in run("upgrade", project=project).out


@pytest.mark.parametrize("reports", [True, False])
@pytest.mark.parametrize(
    "statement", ["ALTER TABLE t ADD CONSTRAINT ck CHECK (n < 99)", "CREATE UNIQUE INDEX uq ON t (n)"]
)
def test_a_warning_never_marks_a_release_as_broken(statement, reports, live, project, run):
    record(live)
    if not reports:
        gone(live)
    project.sql("b2", statement)
    done = run("upgrade", "--strict", project=project)
    assert (done.code, "deferred   b2" in done.out) == (0, reports), done.text
    assert live.rows("SELECT broken_by FROM migrator.release") == [(None,)]


def test_a_unique_index_built_outside_a_transaction_marks_no_release_as_broken(live, project, run):
    record(live)
    gone(live)
    project.outside("b2", "CREATE UNIQUE INDEX CONCURRENTLY uq ON t (n)")
    assert run("upgrade", "--strict", project=project).code == 0
    assert live.rows("SELECT broken_by FROM migrator.release") == [(None,)]


def test_what_stays_of_a_revision_that_failed_outside_its_transaction_is_named(live, project, run):
    live.rows("INSERT INTO t VALUES (10, 'x', 9)")
    project.outside("b2", "CREATE UNIQUE INDEX CONCURRENTLY uq ON t (n)", before=["UPDATE u SET n = 1"])
    done = run("upgrade", project=project)
    assert (done.code, "nothing of it was kept" in done.text) == (4, False), done.text
    assert "1 statement of it stay" in done.last
    assert "stays: UPDATE u SET n = ?" in done.err


def test_a_downgrade_outside_a_transaction_that_would_break_a_release_is_refused(live, project, run):
    block = "with op.get_context().autocommit_block():\n    op.execute('ALTER TABLE t DROP COLUMN later')"
    project.revision("b2", "op.execute('ALTER TABLE t ADD COLUMN later int')", block)
    assert run("upgrade", project=project).code == 0
    done = run("downgrade", "-1", "--yes", project=project)
    assert (done.code, "taking b2 back would break release" in done.last) == (1, True), done.text
    assert live.columns("t") == ["id", "old", "n", "later"]
