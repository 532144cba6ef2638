"""State: what two cuts left is alike only if no run could tell them apart: `make torture` goes on once from each."""

import contextlib

import pytest

from tests.torture import state
from tests.torture.crash import Worker
from tests.torture.server import rows

OTHERWISE = [
    "UPDATE t SET n = n + 1 WHERE id = 1",
    "DELETE FROM t WHERE id = 300",
    "CREATE INDEX ix_more ON t (n)",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_t_old'::regclass",
    "GRANT SELECT ON t TO PUBLIC",
    "ALTER TABLE t OWNER TO postgres",
    "ALTER TABLE t ALTER n SET DEFAULT 1",
    "CREATE ROLE app_here",
    "ALTER DATABASE here SET lock_timeout = '1s'",
    "SELECT nextval(pg_get_serial_sequence('migrator.step', 'id'))",
    "UPDATE migrator.alembic_version SET version_num = 'b2'",
    "UPDATE migrator.run SET outcome = NULL",
    "UPDATE migrator.run SET finished = NULL",
    "UPDATE migrator.run SET started = started - interval '1 second'",
    "UPDATE migrator.step SET state = 'started'",
    "UPDATE migrator.step SET uncertain = true",
    "UPDATE migrator.step SET digests = '{x}'",
    "INSERT INTO migrator.release (digest) VALUES ('x')",
    "INSERT INTO migrator.instance (id, release) VALUES ('00000000-0000-4000-8000-000000000001', 'x')",
    "INSERT INTO migrator.deferred (revision, reason, waits_for) VALUES ('b2', 'x', '{}')",
]
ALIKE = [
    "SELECT 1",
    "UPDATE migrator.step SET duration_ms = 99",
    "UPDATE t SET n = n",
    "CREATE TABLE gone (); DROP TABLE gone",
]


@pytest.fixture(scope="module")
def worker():
    worker = Worker()
    yield worker
    worker.close()


def left(worker, statement, kind="transactional"):
    """Return the digest of a clone in which a statement was run."""
    _, prepared = worker.prepared(kind)
    name = worker.server.new(prepared.template)
    since = worker.server.rows("SELECT to_jsonb(now()) #>> '{}'")[0][0]
    with contextlib.closing(worker.server.connect(name)) as connection:
        rows(connection, statement.replace("here", name))
        found = state.whole(connection, name, since, worker.server.port)
    worker.server.drop(name)
    worker.server.rows(f"DROP ROLE IF EXISTS app_{name}")
    return found


def test_what_a_run_could_tell_apart_is_not_alike(worker):
    found = {left(worker, statement) for statement in OTHERWISE}
    assert len(found) == len(OTHERWISE)
    assert left(worker, "SELECT 1") not in found


def test_what_no_run_asks_for_is_alike(worker):
    assert len({left(worker, statement) for statement in ALIKE}) == 1


def test_a_database_without_a_table_is_a_state_too(worker):
    assert left(worker, "SELECT 1", "first run") != left(worker, "CREATE TABLE t ()", "first run")


def test_rights_that_moved_since_a_run_noted_them_are_not_alike(worker):
    change = "UPDATE migrator.state SET rights = rights + 1"
    assert left(worker, "SELECT 1", "nothing to do") != left(worker, change, "nothing to do")
