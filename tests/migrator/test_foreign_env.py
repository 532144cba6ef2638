"""env.py configures, the engine connects: every shape of env.py, through every verb, with no line of it changed."""

import contextlib
import gc
import uuid

import psycopg2
import pytest

from lockstep_gate.reporting import REPORT
from tests.migrator.shapes import SHAPES, env_py

ELSEWHERE = "postgresql://nobody@127.0.0.1:9/nowhere"
# Some of them leave connections and event loops behind, which whoever tidies up complains of.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def tidied_up():
    yield
    gc.collect()


@pytest.fixture
def shop(foreign):
    """A project with two revisions, one of which leaves its transaction."""
    foreign.sql(
        "a1",
        "CREATE TABLE things (id serial PRIMARY KEY, old text, note text)",
        down=["DROP TABLE things"],
    )
    foreign.outside("a2", "CREATE INDEX CONCURRENTLY things_note ON things (note)", down="op.drop_index('things_note')")
    return foreign


def reports(url, digest):
    """Let one instance of a release's app report."""
    with contextlib.closing(psycopg2.connect(url)) as app:
        app.autocommit = True
        with app.cursor() as cursor:
            row = {"id": str(uuid.uuid4()), "release": digest, "commit": "c0ffee", "host": "web-1"}
            row |= {"driver": "psycopg2", "schemas": None}
            sql = str(REPORT)
            for name in row:
                sql = sql.replace(f":{name}", f"%({name})s")
            cursor.execute(sql, row)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_migrated_with_ledger_contract_and_deferral(shape, shop, run, db, server):
    shop.env_py.write_text(env_py(shape, ["old", "note"]))
    given = {"project": shop, "SHOP_DATABASE_URL": db.url, "MIGRATOR_DEADLINE": "60s"}
    done = run("plan", **given)
    assert done.last == "done: 2 pending, the database is at base; nothing was changed", done.text
    done = run("upgrade", **given)
    assert done.code == 0, done.text
    assert done.last == "done: 2 applied, the database is at a2 (safe to run again)"
    assert db.steps() == [("a1", "up", "finished"), ("a2", "up", "finished")]
    status = run("status", "--json", **given).json
    assert status["served"] is True, status
    reports(db.url, status["release"])

    shop.env_py.write_text(env_py(shape, ["note"]))
    shop.sql("a3", "ALTER TABLE things DROP COLUMN old", down=["ALTER TABLE things ADD COLUMN old text"])
    done = run("upgrade", **given)
    assert done.code == 0, done.text
    assert "deferred   a3" in done.out, done.text
    assert "old" in db.columns("things")
    assert run("check", **given, MIGRATOR_SHADOW_URL=server.url).code == 0
    done = run("upgrade", "--ignore-live-releases", "it is stopped", **given)
    assert (done.code, db.columns("things")) == (0, ["id", "note"]), done.text
    done = run("downgrade", "-1", "--yes", **given)
    assert (done.code, db.columns("things")) == (0, ["id", "note", "old"]), done.text
    db.require_free_lock()


@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "a creator"])
def test_it_is_rehearsed_on_a_throw_away_database_and_never_where_it_would_connect(shape, shop, run, db, server):
    shop.env_py.write_text(env_py(shape, ["old", "note"]))
    given = {"project": shop, "SHOP_DATABASE_URL": ELSEWHERE, "MIGRATOR_SHADOW_URL": server.url}
    done = run("rehearse", "--from", "a1", **given)
    assert done.code == 0, done.text
    assert "1 rehearsed" in done.last, done.text
    assert db.columns("things") == []
    assert "shadow_" not in str(db.rows("SELECT datname FROM pg_database WHERE datname LIKE 'shadow_%%'"))
