"""An empty database, a manifest and a checkpoint at head: loaded, and little imported for it."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys

import psycopg2
import pytest

from lockstep.project import checkpoint_file
from tests.migrator.rig import PATIENT, until
from tests.migrator.test_look import DONE, HEAD, Copy
from tests.migrator.test_signals import STRUCK
from tests.torture import state

LOADED = "loaded     checkpoint of 8 revisions"
SEEN = (
    "import sys, json; from lockstep import cli; code = cli.main(sys.argv[1:]); "
    "print(json.dumps(sorted({'sqlalchemy', 'alembic'} & set(sys.modules))), file=sys.stderr); "
    "sys.exit(code)"
)


@pytest.fixture
def copy(tmp_path, image, database):
    """The same, to be changed, on an empty database."""
    return Copy(tmp_path, database, image.top)


@pytest.fixture
def execute(database):
    with contextlib.closing(psycopg2.connect(database)) as connection:
        connection.autocommit = True

        def one(sql):
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []

        yield one


def upgrade(copy, *words, **variables):
    """Upgrade; return the exit code, what was said, and which of the large things were loaded for it."""
    done = copy.python("-c", SEEN, "upgrade", *words, **variables)
    *lines, last = done.stderr.splitlines()
    return done.returncode, done.stdout + "\n".join(lines), json.loads(last)


def test_it_is_loaded_without_alembic_or_sqlalchemy(copy, execute):
    code, said, heavy = upgrade(copy, "--run-id", "first")
    assert (code, heavy) == (0, [])
    assert said.startswith(LOADED)
    last = f"done: 8 loaded from the checkpoint, 0 applied, the database is at {HEAD} (safe to run again)"
    assert said.splitlines()[-1] == last
    assert execute("SELECT verb, outcome, run_id, to_heads FROM migrator.run") == [("upgrade", "done", "first", [HEAD])]
    assert copy.upgrade()[:2] == (True, 0)  # and the next one has nothing to do, which it sees at once


def test_it_leaves_what_the_whole_way_leaves(copy, server, execute):
    def after(url, *words, **variables):
        assert copy.run("upgrade", *words, MIGRATOR_DATABASE_URL=url, **variables)[0] == 0
        with contextlib.closing(psycopg2.connect(url)) as connection:
            return sorted(state.dump(connection, "nobody").splitlines())

    with server.database() as other, server.database() as third:
        quickly = after(copy.url)
        copy.manifest.rename(copy.top / "kept")
        assert quickly == after(other)
        (copy.top / "kept").rename(copy.manifest)
        by_revisions = after(third, "--checkpoint", "none")

    # But for where a column lies in its table, and what the ledger says of how it came about.
    def alike(lines):
        return [line for line in lines if not line.startswith(("columns:", "steps:"))]

    assert alike(quickly) == alike(by_revisions)


def test_whatever_is_otherwise_goes_the_whole_way(copy, execute):
    execute("CREATE TABLE mine ()")
    code, said, heavy = upgrade(copy)
    assert (code, heavy != [], "done: 8 applied" in said) == (0, True, True)


def test_a_revision_after_it_is_applied(copy, execute):
    copy.add("later", HEAD, "CREATE TABLE later ()")
    copy.age()
    copy.make_manifest()
    code, said, _ = upgrade(copy)
    assert (code, "done: 8 loaded from the checkpoint, 1 applied, the database is at later" in said) == (0, True)


@pytest.mark.parametrize("what", ["a revision", "the checkpoint", "both, and the manifest"])
def test_one_that_was_edited_is_refused(copy, execute, what):
    place = copy.here / "checkpoint.sql"
    if what != "the checkpoint":
        [path] = copy.versions.glob("*_create_users.py")
        path.write_text(path.read_text().replace('"email"', '"emaix"'))
    if what != "a revision":
        place.write_text(place.read_text().replace("email text", "emaix text"))
    if what.startswith("both"):
        copy.make_manifest()
    code, said, _ = upgrade(copy)
    assert code == 1
    assert "Cure: `migrator checkpoint` writes it anew" in said
    assert execute("SELECT to_regclass('users') IS NULL") == [(True,)]


def test_an_app_role_gets_its_rights(copy, execute):
    role = "app_of_" + copy.url.rpartition("/")[2]
    execute(f"CREATE ROLE {role}")
    try:
        code, said, heavy = upgrade(copy, MIGRATOR_APP_ROLE=role)
        assert (code, heavy, f"granted    {role}" in said) == (0, [], True)
        assert execute(f"SELECT has_table_privilege('{role}', 'users', 'INSERT')") == [(True,)]
    finally:
        execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_schema_that_does_not_serve_the_release_is_refused(copy, execute):
    (copy.here / "models.py").write_text((copy.here / "models.py").read_text().replace("phone_number:", "fax_number:"))
    copy.make_manifest()
    code, said, heavy = upgrade(copy)
    assert (code, heavy) == (1, [])
    assert "the schema does not serve this release: " in said
    assert execute("SELECT count(*) FROM migrator.release") == [(0,)]


OF_IT = "FROM pg_stat_activity WHERE application_name LIKE 'migrator/%' AND datname = current_database()"
WAIT = "SELECT pg_advisory_xact_lock(78)"


def with_statement(copy, statement):
    """Put a statement into the middle of the checkpoint; keep the one without it."""
    place = copy.here / "checkpoint.sql"
    place.rename(copy.top / "kept.sql")
    found = checkpoint_file.read(copy.top / "kept.sql")
    sql = found.sql.replace("\n\nALTER", f"\n\n{statement};\n\nALTER", 1)
    place.write_text(checkpoint_file.text(checkpoint_file.Checkpoint(found.server, found.heads, found.seals, sql)))


@pytest.fixture
def halted(copy, execute):
    """An upgrade in the middle of the load, which waits there."""
    with_statement(copy, WAIT)
    execute("SELECT pg_advisory_lock(78)")
    process = subprocess.Popen(
        [sys.executable, "-c", PATIENT, "upgrade"], text=True,
        env={"PYTHONPATH": str(copy.top), "MIGRATOR_DATABASE_URL": copy.url, "MIGRATOR_LOCK_TIMEOUT": "20s"},
        cwd=copy.top, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    with process:
        until(lambda: execute(f"SELECT 1 {OF_IT} AND wait_event_type = 'Lock'"), "the load to wait")
        yield process


def goes_on(copy, execute):
    """Tell whether nothing was left, and the next run loads it; return what the ledger says of both."""
    until(lambda: not execute(f"SELECT 1 {OF_IT}"), "the server to notice")
    assert execute("SELECT to_regclass('users') IS NULL, (SELECT count(*) FROM migrator.step)") == [(True, 0)]
    execute("SELECT pg_advisory_unlock(78)")
    shutil.copy(copy.top / "kept.sql", copy.here / "checkpoint.sql")
    code, said, _ = upgrade(copy)
    assert (code, said.startswith(LOADED)) == (0, True)
    return [outcome for (outcome,) in execute("SELECT outcome FROM migrator.run ORDER BY id")]


def test_it_works_on_one_connection(halted, execute):
    assert execute(f"SELECT count(*) {OF_IT}") == [(1,)]
    assert execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted") == [(2,)]
    execute("SELECT pg_advisory_unlock(78)")
    said, _ = halted.communicate()
    assert (halted.returncode, said.startswith(LOADED)) == (0, True)


def test_killed_in_the_middle_nothing_happened(copy, halted, execute):
    halted.send_signal(signal.SIGKILL)
    halted.communicate()
    assert goes_on(copy, execute) == ["interrupted", "done"]


CUT_OFF = """
import os, signal, sys
from lockstep import cli
from lockstep.postgres.control import Control
at, seen, rows = int(sys.argv[1]), 0, Control.rows
def counted(*words):
    global seen
    there = rows(*words)
    seen += 1
    if seen == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return there
Control.rows = counted
sys.exit(cli.main(["upgrade"]))
"""
LEDGER_MADE, AT_HEAD, LOAD_DONE, VERIFIED, ALL = 11, 14, 15, 22, 26


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(at, marks=() if at in (LEDGER_MADE, AT_HEAD, LOAD_DONE, VERIFIED) else pytest.mark.nightly)
        for at in range(1, ALL + 1)
    ],
)
def test_cut_off_after_any_statement_the_next_run_ends_it(copy, execute, at):
    done = copy.python("-c", CUT_OFF, str(at))
    assert done.returncode == (-signal.SIGKILL if at < ALL else 0), done.stderr
    until(lambda: not execute(f"SELECT 1 {OF_IT}"), "the server to notice")
    assert copy.run("upgrade")[0] == 0
    assert execute("SELECT count(*), count(DISTINCT revision), min(state) FROM migrator.step") == [(8, 8, "finished")]
    assert copy.upgrade() == (True, 0, DONE.format(HEAD))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_in_the_middle_it_says_so_and_nothing_happened(copy, halted, execute, number):
    halted.send_signal(number)
    said, _ = halted.communicate()
    assert halted.returncode == 128 + number
    assert said.splitlines()[-1].startswith(f"interrupted: stopped by signal {int(number)}; what was running was")
    assert execute("SELECT outcome, error FROM migrator.run") == [("interrupted", "Interrupted")]
    assert goes_on(copy, execute) == ["interrupted", "done"]


def test_stopped_while_it_finds_that_the_whole_way_has_to_look_it_is_stopped_there(copy, execute):
    execute("CREATE TABLE theirs (id int)")
    said = copy.python("-c", STRUCK, "lockstep.upgrade.load_checkpoint:instead_of_all:once", "upgrade")
    assert (said.returncode, said.stderr.splitlines()[-1].partition(":")[0]) == (143, "interrupted"), said
    assert execute("SELECT to_regclass('migrator.step') IS NULL") == [(True,)]


def test_a_connection_lost_in_the_middle_is_said_and_nothing_happened(copy, halted, execute):
    execute(f"SELECT pg_terminate_backend(pid) {OF_IT}")
    said, _ = halted.communicate()
    assert halted.returncode == 5
    assert said.splitlines()[-1].startswith("unreachable: the connection to ")
    assert goes_on(copy, execute) == ["interrupted", "done"]


def test_what_it_sets_does_not_outlive_it(copy, execute):
    with_statement(copy, "SET search_path = nowhere; SET default_transaction_read_only = on")
    code, said, _ = upgrade(copy)
    assert (code, said.startswith(LOADED)) == (0, True), said
    assert execute("SELECT outcome FROM migrator.run") == [("done",)]


LATE = "CREATE TABLE late (id int PRIMARY KEY, up int REFERENCES late DEFERRABLE INITIALLY DEFERRED)"


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("SELECT 1 / 0", "division by zero"),
        (f"{LATE}; INSERT INTO late VALUES (1, 2)", 'insert or update on table "late" violates foreign key constraint'),
    ],
    ids=["as it is run", "at the end of the transaction"],
)
def test_a_statement_that_fails_is_named_and_nothing_happened(copy, execute, statement, why):
    with_statement(copy, statement)
    code, said, _ = upgrade(copy)
    assert code == 4
    assert f"the checkpoint cannot be loaded: {why}" in said
    assert "; nothing was kept." in said
    assert execute("SELECT outcome FROM migrator.run") == [("failed",)]
    assert goes_on(copy, execute) == ["failed", "done"]


def test_a_bug_on_this_way_is_one_line_and_no_traceback(copy):
    code = (
        "import sys; from lockstep import cli; from lockstep.upgrade import load_checkpoint; "
        "load_checkpoint.exposure = None; sys.exit(cli.main(['upgrade']))"
    )
    said = copy.python("-c", code)
    assert said.returncode == 70
    assert "bug: AttributeError: " in said.stderr
    assert "Traceback" not in said.stdout + said.stderr


def test_who_waited_for_the_lock_while_another_loaded_it_has_nothing_to_do(copy, halted, execute):
    with subprocess.Popen(
        [sys.executable, "-m", "migrator", "upgrade"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={"PYTHONPATH": str(copy.top), "MIGRATOR_DATABASE_URL": copy.url}, cwd=copy.top,
    ) as other:  # fmt: skip
        assert other.stdout.readline().startswith("waiting    another migrator is at work")
        execute("SELECT pg_advisory_unlock(78)")
        assert halted.communicate()[0].startswith(LOADED)
        assert other.communicate()[0] == DONE.format(HEAD)
    assert execute("SELECT outcome FROM migrator.run ORDER BY id") == [("done",), ("done",)]
