"""The stock `alembic` command in the project: as its documentation says, and under the same lock and ledger."""

import os
import re
import subprocess
import sys

import psycopg2
import pytest
from alembic.config import CommandLine, Config
from sqlalchemy import make_url

from lockstep.postgres import lock
from tests.migrator.rig import ROOT, Result


@pytest.fixture
def alembic(db, capsys, monkeypatch):
    """Run `alembic` in a directory, in this process."""

    def one(directory, *arguments, url=None, **environment):
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.chdir(directory)
            for name, value in {"MIGRATOR_DATABASE_URL": db.url if url is None else url, **environment}.items():
                patch.setenv(name, value)
            try:
                options = (commands := CommandLine(prog="alembic")).parser.parse_args(arguments)
                # What main() does, but for stdout: Alembic's default is the one of its import.
                code = commands.run_cmd(Config("alembic.ini", stdout=sys.stdout, cmd_opts=options), options) or 0
            except SystemExit as error:
                code = error.code or 0
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return one


def test_it_works_as_a_process(two, db):
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MIGRATOR_DATABASE_URL": db.url},
        cwd=two.directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert db.columns("t") == ["id", "n"]


def test_it_makes_the_apps_schema_and_works_there(two, alembic, run, db):
    own = f"owner_{db.one('SELECT current_database()')}"
    db.rows(f"CREATE ROLE {own} LOGIN SUPERUSER PASSWORD 'p'")
    try:
        url = make_url(db.url).set(username=own, password="p").render_as_string(hide_password=False)
        home = {"url": url, "MIGRATOR_APP_SCHEMA": "app_data"}
        done = alembic(two.directory, "upgrade", "a1", **home)
        assert (done.code, "settled    the app's tables in schema app_data" in done.out) == (0, True), done.text
        assert run("upgrade", project=two, **home).code == 0
        assert db.columns("app_data.t") == ["id", "n"]
        assert alembic(two.directory, "downgrade", "base", url=url).code == 0
        assert db.one("SELECT to_regclass('app_data.t') IS NULL")
    finally:
        db.rows(f"DROP OWNED BY {own} CASCADE; DROP ROLE {own}")


@pytest.fixture
def two(project):
    project.sql("a1", "CREATE TABLE t (id int)", down=["DROP TABLE t"])
    project.sql("b2", "ALTER TABLE t ADD COLUMN n int", down=["ALTER TABLE t DROP COLUMN n"])
    return project


def test_upgrade_current_history_heads_and_downgrade(two, alembic, db):
    here = two.directory
    done = alembic(here, "upgrade", "head")
    assert done.code == 0, done.text
    assert db.columns("t") == ["id", "n"]
    assert db.steps() == [("a1", "up", "finished"), ("b2", "up", "finished")]
    assert db.rows("SELECT verb, road, outcome FROM migrator.run") == [("upgrade", "alembic", "done")]
    assert alembic(here, "current").out.strip() == "b2 (head)"
    assert alembic(here, "heads").out.strip() == "b2 (head)"
    assert "a1 -> b2 (head), b2" in alembic(here, "history").out
    done = alembic(here, "downgrade", "-1")
    assert done.code == 0, done.text
    assert db.columns("t") == ["id"]
    assert alembic(here, "upgrade", "+1").code == 0
    db.require_free_lock()
    assert [row[:2] for row in db.steps()] == [("a1", "up"), ("b2", "up"), ("b2", "down"), ("b2", "up")]


def test_the_lock_holds_on_this_road_too(two, alembic, db, client):
    holder = client("another migrator")
    holder.run("SELECT pg_advisory_lock(%s)", lock.key())
    done = alembic(two.directory, "upgrade", "head", MIGRATOR_LOCK_WAIT="200ms")
    assert done.code != 0
    assert f"FAILED: another migrator is at work (pid {holder.pid}, another migrator, connected " in done.text
    assert "Traceback" not in done.text
    assert db.columns("t") == []
    assert alembic(two.directory, "current").code == 0, "looking needs no lock"


def test_an_error_is_one_line(two, alembic, db):
    two.sql("c3", "SELECT nonsense")
    done = alembic(two.directory, "upgrade", "head")
    assert done.code != 0
    assert "Traceback" not in done.text
    assert 'FAILED: c3: column "nonsense" does not exist' in done.text
    assert db.columns("t") == ["id", "n"]
    assert db.runs() == [("upgrade", "failed")]
    done = alembic(two.directory, "current", url="postgresql://u:hunter2@127.0.0.1:1/d", MIGRATOR_WAIT="100ms")
    assert done.code != 0
    assert "Traceback" not in done.text
    assert "hunter2" not in done.text


def test_an_edited_revision_is_refused_on_this_road_too(two, alembic, db):
    assert alembic(two.directory, "upgrade", "a1").code == 0
    path = next(two.versions.glob("*a1*"))
    path.write_text(path.read_text().replace("id int", "id bigint"))
    done = alembic(two.directory, "upgrade", "head")
    assert done.code != 0
    assert "applied revisions were edited since: a1" in done.text


def test_stamp_and_merge(two, alembic, db):
    done = alembic(two.directory, "stamp", "a1")
    assert done.code == 0, done.text
    assert alembic(two.directory, "current").out.strip() == "a1"
    assert db.runs() == [("stamp", "done")]
    two.sql("b3", "SELECT 1", after="a1")
    assert "Multiple head" in alembic(two.directory, "upgrade", "head").text
    done = alembic(two.directory, "merge", "heads", "-m", "join")
    assert done.code == 0, done.text
    assert len(alembic(two.directory, "heads").out.strip().splitlines()) == 1


def test_sql_applies_cleanly_to_an_empty_database(two, alembic, run, db, client):
    db.rows("CREATE TABLE u (id int)")
    two.outside("c3", "CREATE INDEX CONCURRENTLY ix ON u (id)")
    done = alembic(two.directory, "upgrade", "head", "--sql", url="")
    assert done.code == 0, done.text
    assert run("sql", project=two, url="").out.strip() == done.out.strip()
    as_psql_would(db, done.out)
    assert db.columns("t") == ["id", "n"]
    assert db.rows("SELECT version_num FROM migrator.alembic_version") == [("c3",)]
    after = alembic(two.directory, "upgrade", "head")
    assert after.code == 0, after.text
    assert run("status", project=two).code == 0
    as_psql_would(db, alembic(two.directory, "downgrade", "b2:a1", "--sql", url="").out)
    assert db.columns("t") == ["id"]


def as_psql_would(db, text):
    """Run a script statement by statement, as psql does: what BEGIN opens, COMMIT ends."""
    with psycopg2.connect(db.url) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in re.split(r";\s*$", text, flags=re.MULTILINE):
                bare = re.sub(r"^\s*--.*$", "", statement, flags=re.MULTILINE).strip()
                if bare:
                    cursor.execute(bare)
    connection.close()


def test_ensure_version_and_check_are_served(two, alembic, db):
    assert alembic(two.directory, "ensure_version").code == 0
    assert alembic(two.directory, "current").code == 0
