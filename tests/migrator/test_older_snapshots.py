"""A rewrite and those who began before it: a REPEATABLE READ transaction would find the table empty, with no error."""

import threading
import uuid

import psycopg2
import pytest

# Not what the table holds, but what a transaction of before would read of it.
REWRITES = {
    "a type": ("ALTER TABLE t ALTER n TYPE bigint",),
    "a volatile default": ("ALTER TABLE t ADD COLUMN u uuid NOT NULL DEFAULT gen_random_uuid()",),
    "TRUNCATE": ("TRUNCATE t", "INSERT INTO t VALUES (1, 1)"),
    "a new table by the old name": (
        "CREATE TABLE t2 AS SELECT * FROM t",
        "DROP TABLE t",
        "ALTER TABLE t2 RENAME TO t",
    ),
    "a new table beside the old one": (
        "ALTER TABLE t RENAME TO t_old",
        "CREATE TABLE t AS SELECT * FROM t_old",
    ),
}  # fmt: skip


@pytest.fixture
def table(db):
    db.rows("CREATE TABLE t (id int PRIMARY KEY, n int)")
    db.rows("INSERT INTO t SELECT i, i FROM generate_series(1, 10) i")


def waits(running):
    running.said("waiting    a1")


def test_what_may_break_is_said_once_however_many_tries_there_are(table, project, spawn, db, client):
    project.sql("a1", "ALTER TABLE t ALTER n TYPE bigint")
    reader = client("a report")
    reader.raw.set_session(isolation_level="REPEATABLE READ")
    reader.run("SELECT 1")
    running = spawn("upgrade", project=project)
    waits(running)
    reader.raw.rollback()
    done = running.result()
    assert (done.code, done.out.count("may break  a1")) == (0, 1), done.text
    assert db.rows("SELECT attempts > 1 FROM migrator.step") == [(True,)]
    said = [line for line in done.out.splitlines() if "the release needs" in line]
    assert len(said) == len(set(said)) == db.one("SELECT count(*) FROM migrator.unknown")


@pytest.mark.parametrize("rewrite", REWRITES)
def test_it_is_not_committed_while_a_transaction_of_before_would_find_no_rows(
    rewrite, table, project, spawn, db, client
):
    project.sql("a1", *REWRITES[rewrite])
    reader = client("a report")
    reader.raw.set_session(isolation_level="REPEATABLE READ")
    reader.run("SELECT 1")
    running = spawn("upgrade", project=project)
    waits(running)
    assert reader.run("SELECT count(*) FROM t") == [(10,)]
    reader.raw.rollback()
    done = running.result()
    assert done.code == 0, done.text
    assert "s for older snapshots, which would find " in done.out
    assert f" empty, held by pid {reader.pid} (a report, idle in transaction, for " in done.out


def test_outside_a_transaction_too(table, project, spawn, db, client):
    project.outside("a1", "ALTER TABLE t ALTER n TYPE bigint", "CREATE INDEX CONCURRENTLY ON t (n)")
    reader = client("a report")
    reader.raw.set_session(isolation_level="SERIALIZABLE")
    reader.run("SELECT 1")
    running = spawn("upgrade", project=project)
    waits(running)
    assert reader.run("SELECT count(*) FROM t") == [(10,)]
    reader.raw.rollback()
    done = running.result()
    assert done.code == 0, done.text
    assert db.steps() == [("a1", "up", "finished")]


def test_at_the_deadline_it_is_busy_and_names_who_has_it(table, project, run_late, db, client):
    project.sql("a1", "ALTER TABLE t ALTER n TYPE bigint")
    reader = client("a report")
    reader.raw.set_session(isolation_level="REPEATABLE READ")
    reader.run("SELECT 1")
    done = run_late("upgrade", project=project, came_so_far=lambda done: "older snapshots" in done.text)
    assert done.code == 3, done.text
    assert done.last.startswith(
        f"busy: a1: there are older snapshots, which would find t empty, held by pid {reader.pid} (a report, idle in"
    )
    assert reader.run("SELECT count(*) FROM t") == [(10,)]


@pytest.mark.parametrize("change", ["ALTER TABLE t ADD COLUMN m int", "CREATE TABLE another AS SELECT 1 AS one"])
def test_what_rewrites_nothing_waits_for_nobody(change, table, project, run, client):
    project.sql("a1", change)
    reader = client("a report")
    reader.raw.set_session(isolation_level="REPEATABLE READ")
    reader.run("SELECT 1")
    done = run("upgrade", project=project)
    assert (done.code, "older snapshots" in done.text) == (0, False), done.text


def test_a_read_committed_transaction_that_is_idle_is_not_waited_for(table, project, run, client):
    project.sql("a1", "ALTER TABLE t ALTER n TYPE bigint")
    reader = client("a request")
    reader.run("SELECT 1")
    done = run("upgrade", project=project)
    assert (done.code, "older snapshots" in done.text) == (0, False), done.text
    assert reader.run("SELECT count(*) FROM t") == [(10,)]


def test_under_short_transactions_it_goes_through(table, project, run, client):
    project.sql("a1", "ALTER TABLE t ALTER n TYPE bigint")
    stop = threading.Event()

    def traffic():
        session = client()
        while not stop.is_set():
            session.run("SELECT 1")
            session.run("SELECT count(*), pg_sleep(0.01) FROM t")
            session.raw.rollback()

    threads = [threading.Thread(target=traffic, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        done = run("upgrade", project=project, MIGRATOR_DEADLINE="100s")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert done.code == 0, done.text


def test_a_session_whose_state_is_hidden_from_the_migrator_is_waited_for(table, project, spawn, db, server):
    """An ordinary role sees of other roles' sessions that they are in a transaction, and nothing more."""
    role = f"plain_{uuid.uuid4().hex[:8]}"
    server.execute("CREATE ROLE {} LOGIN PASSWORD 'made-up'", role)
    try:
        name = db.one("SELECT current_database()")
        db.rows(f"GRANT CREATE ON DATABASE {name} TO {role}")
        db.rows(f"GRANT CREATE ON SCHEMA public TO {role}")
        db.rows(f"ALTER TABLE t OWNER TO {role}")
        project.sql("a1", "ALTER TABLE t ALTER n TYPE bigint")
        reader = psycopg2.connect(db.url)
        reader.set_session(isolation_level="REPEATABLE READ")
        with reader.cursor() as cursor:
            cursor.execute("SELECT 1")
            running = spawn("upgrade", project=project, url=_url(db.url, role))
            waits(running)
            cursor.execute("SELECT count(*) FROM t")
            assert cursor.fetchall() == [(10,)]
            reader.rollback()
            done = running.result()
        reader.close()
        assert done.code == 0, done.text
        assert "state hidden from this role" in done.out
    finally:
        db.rows(f"DROP OWNED BY {role} CASCADE")
        server.execute("DROP ROLE {}", role)


def _url(url, role):
    from sqlalchemy import make_url  # noqa: PLC0415

    return make_url(url).set(username=role, password="made-up").render_as_string(hide_password=False)
