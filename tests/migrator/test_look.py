"""An upgrade with nothing to do: what it may import, and when all stages have to be done all the same."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from binascii import crc32
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import make_url

from lockstep import cli, flags
from lockstep import settings as given
from lockstep.ledger import fingerprint
from lockstep.project import manifest
from lockstep.report import Report
from lockstep.upgrade import connected_run, look
from tests import forks
from tests.app.rig import Network

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60
DONE = "done: nothing to do, the database is at {} (safe to run again)\n"
REVISION = """from alembic import op
revision = {0!r}
down_revision = {1!r}
def upgrade():
    op.execute({2!r})
"""

# All of ours, and what is not to be loaded for it: each further one is paid for by every deploy.
MAY_IMPORT = {
    "lockstep", "lockstep.__main__", "lockstep.cli", "lockstep.errors", "lockstep.exits", "lockstep.flags",
    "lockstep.ledger", "lockstep.ledger.fingerprint", "lockstep.ledger.run_context",
    "lockstep.postgres", "lockstep.postgres.address", "lockstep.postgres.connect", "lockstep.postgres.connection",
    "lockstep.postgres.control", "lockstep.postgres.limits", "lockstep.postgres.pooler",
    "lockstep.postgres.tls", "lockstep.project", "lockstep.project.manifest", "lockstep.report", "lockstep.settings",
    "lockstep.settings.find_project", "lockstep.settings.project_options", "lockstep.stop", "lockstep.stop.deadline",
    "lockstep.stop.interrupt", "lockstep.stop.signals", "lockstep.stop.watchdog", "lockstep.upgrade",
    "lockstep.upgrade.connected_run", "lockstep.upgrade.line", "lockstep.upgrade.look", "lockstep.upgrade.outcome",
    "lockstep.upgrade.request", "lockstep.verbs", "lockstep.verbs.upgrade", "lockstep_gate", "lockstep_gate.durations",
    "lockstep_gate.errors", "lockstep_gate.exits", "lockstep_gate.masking",
}  # fmt: skip
# Not among them: configparser, which reads [lockstep], and typing.
TOO_DEAR = {
    "alembic", "argparse", "ast", "dataclasses", "hashlib", "inspect", "pathlib", "sqlalchemy", "subprocess",
    "traceback", "ipaddress",
}  # fmt: skip


class Copy:
    """A copy of the migrator with versions of its own, run as its image runs it."""

    def __init__(self, top, url, source=ROOT):
        self.top, self.url = top, url
        self.here = top / "migrator"
        self.versions = self.here / "versions"
        self.manifest = self.here / "versions.manifest"
        ignored = [] if source != ROOT else ["__pycache__", "*.manifest"]
        shutil.copytree(source / "migrator", self.here, ignore=shutil.ignore_patterns(*ignored))

    def age(self, seconds=10):
        """Let all files be a little older than what is written now, as a checkout is older than its image."""
        for path in self.here.rglob("*"):
            then = int(time.time()) - seconds
            os.utime(path, (then, then))

    def add(self, name, after, sql="SELECT 1"):
        (self.versions / f"{name}_x.py").write_text(REVISION.format(name, after, sql))

    def python(self, *words, start=subprocess.run, **variables):
        """Run Python in a process of its own: a true one, where what it imports itself is looked at."""
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.top), "MIGRATOR_DATABASE_URL": self.url, **variables}
        return start(
            [sys.executable, *words], env=env, cwd=self.top, capture_output=True, text=True, timeout=60, check=False
        )

    def make_manifest(self):
        done = self.python("-m", "lockstep.project.manifest_writer", start=forks.run)
        assert done.returncode == 0, done.stderr
        assert self.manifest.is_file()

    def run(self, *words, **variables):
        done = self.python("-m", "migrator", *words, start=forks.run, **variables)
        return done.returncode, done.stdout, done.stderr

    def upgrade(self, *words, **variables):
        """Upgrade; tell whether a look was enough, and what came of it."""
        code = (
            "import sys; from lockstep import cli; code = cli.main(sys.argv[1:]); "
            "print('lockstep.project.environment' not in sys.modules, file=sys.stderr); sys.exit(code)"
        )  # a forked process has Alembic already; `environment` is what would load it
        done = self.python("-c", code, "upgrade", *words, start=forks.run, **variables)
        lines = done.stderr.splitlines()
        return lines[-1:] == ["True"], done.returncode, done.stdout + "\n".join(lines[:-1])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A copy with a manifest, compiled, as an image is."""
    made = Copy(tmp_path_factory.mktemp("image"), "")
    made.age()
    made.make_manifest()
    made.python("-m", "compileall", "-q", "migrator")
    return made


@pytest.fixture
def copy(tmp_path, prepared, migrated_database, execute):
    """The same on a database as a run left it; a clone has not kept its rights on the database itself."""
    rights = fingerprint.RIGHTS.format(path="current_setting('search_path')") % {"role": "'app'"}
    execute(f"UPDATE migrator.state SET rights = {rights}")
    return Copy(tmp_path, migrated_database, prepared.top)


@pytest.fixture
def execute(migrated_database):
    """Run statements on the test's database."""
    with contextlib.closing(psycopg2.connect(migrated_database)) as connection:
        connection.autocommit = True

        def one(sql, *parameters):
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                return cursor.fetchall() if cursor.description else []

        yield one


HEAD = "a2f84b6c19e7"


def test_says_and_records_what_the_whole_way_does(copy, execute):
    copy.manifest.rename(copy.top / "kept")
    whole = copy.run("upgrade")
    (copy.top / "kept").rename(copy.manifest)
    quickly, code, said = copy.upgrade()
    assert quickly
    assert (code, said) == (0, DONE.format(HEAD)) == whole[:2]
    columns = "verb, road, commit, version, host, outcome, error, message, revision, from_heads, to_heads, run_id"
    last, before = execute(f"SELECT {columns} FROM migrator.run ORDER BY id DESC LIMIT 2")
    assert last == before


def test_imports_the_driver_and_little_else(copy):
    names = (
        "import sys; a = set(sys.modules); import psycopg2; from lockstep import __main__; from lockstep import cli; "
    )
    names += "cli.main(['upgrade']); print(sorted(set(sys.modules) - a), file=sys.stderr)"
    done = copy.python("-c", names)
    assert done.returncode == 0
    loaded = set(eval(done.stderr))  # noqa: S307 - a list of names, printed just now
    ours = {name for name in loaded if name.partition(".")[0] in ("lockstep", "lockstep_gate", "migrator")}
    assert ours == MAY_IMPORT
    assert not loaded & TOO_DEAR


def test_a_plain_command_line_is_read_as_argparse_reads_it(monkeypatch):
    monkeypatch.setenv("MIGRATOR_RUN_ID", "of the environment")
    lines = [
        ["upgrade"], ["upgrade", "--run-id", "r", "--expect-commit=c"], ["upgrade", "--strict", "--lock-wait", "3s"],
        ["upgrade", "--deferred-only", "--json"], ["plan"], ["status", "--debug"], ["check", "--config=x=y"],
        ["revision", "-m", "text", "--empty"], ["revision", "--message=text"], ["wait", "--commit="],
    ]  # fmt: skip
    for argv in lines:
        assert vars(flags.plain(argv)) == vars(cli.parser().parse_args(argv)), argv
    others = [
        [], ["--help"], ["upgrade", "-h"], ["upgrade", "r1"], ["upgrade", "--run", "r"], ["upgrade", "--run-id"],
        ["upgrade", "--run-id", "-x"], ["upgrade", "--strict=yes"], ["upgrade", "--bad"], ["nothing"], ["downgrade"],
        ["history"], ["rehearse"], ["backfill", "status"], ["upgrade", "--", "r1"],
    ]  # fmt: skip
    assert [flags.plain(argv) for argv in others] == [None] * len(others)


def test_asks_once(copy):
    with relay(copy.url) as (url, seen):
        assert copy.upgrade(MIGRATOR_DATABASE_URL=url)[0]
    assert len([part for part in seen if part[:1] == b"Q"]) == 1


@contextlib.contextmanager
def relay(url):
    """Pass one connection on to the server; keep what the client sends."""
    there = make_url(url)
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def pump(source, target, keep):
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    if keep:
                        seen.append(data)
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        def serve():
            near, _ = listening.accept()
            with near, socket.create_connection((there.host, there.port)) as far:
                back = threading.Thread(target=pump, args=(far, near, False))
                back.start()
                pump(near, far, True)
                back.join()

        thread = threading.Thread(target=serve)
        thread.start()
        local = there.set(port=listening.getsockname()[1]).update_query_dict({"sslmode": "disable"})
        yield local.render_as_string(hide_password=False), seen
        thread.join()


def test_a_revision_added_since_is_applied(copy, execute):
    copy.add("later", HEAD, "CREATE TABLE later ()")
    quickly, code, said = copy.upgrade()
    assert (quickly, code) == (False, 0)
    assert execute("SELECT to_regclass('later') IS NOT NULL") == [(True,)]
    assert "1 applied" in said


def test_a_stale_manifest_is_written_again_by_the_run_that_found_it_stale(copy):
    copy.add("later", HEAD)
    copy.age()
    assert not copy.upgrade()[0]
    assert copy.upgrade() == (True, 0, DONE.format("later"))


@pytest.mark.parametrize("when", ["at another time", "in the second it was written", "with the time put back"])
def test_an_edited_revision_of_the_same_size_is_seen(copy, when):
    [path] = copy.versions.glob("*_create_users.py")
    before = path.stat()
    if when == "in the second it was written":
        written = manifest._parsed(str(copy.manifest))["written"]
        os.utime(path, (written, written))
        copy.make_manifest()  # now of a file that was changed in the same second
        altered(copy.manifest, written=written)
        before = path.stat()
    path.write_text(path.read_text().replace('"email"', '"emaix"'))
    if when == "in the second it was written":
        os.utime(path, (before.st_mtime, before.st_mtime))
    elif when == "with the time put back":
        copy.manifest.write_text(copy.manifest.read_text())  # whoever forges times has to forge the size's bytes too
        os.utime(path, (before.st_mtime + 1, before.st_mtime + 1))
    assert path.stat().st_size == before.st_size
    quickly, code, said = copy.upgrade()
    assert (quickly, code) == (False, 1)
    assert "edited since" in said


def test_a_revision_taken_away_or_renamed_is_seen(copy):
    [path] = copy.versions.glob("*_tighten_name.py")
    path.rename(path.with_name("elsewhere.py"))
    assert copy.upgrade()[:2] == (False, 0)
    (copy.versions / "elsewhere.py").unlink()
    quickly, code, said = copy.upgrade()
    assert (quickly, code) == (False, 0)
    assert "ahead of this image" in said


def test_times_alone_do_not_make_it_stale(copy):
    copy.age(0)
    assert copy.upgrade() == (True, 0, DONE.format(HEAD))


def altered(path, **more):
    """Write a manifest anew with other values, as if it had been made so."""
    body = json.dumps(manifest._parsed(str(path)) | more)
    path.write_text(f"{manifest.FORMAT} {crc32(body.encode()):08x}\n{body}")


@pytest.mark.parametrize("text", ["", "{}", "{}\n\n\n\n", "manifest 4\n{}", "\x00\xff", "[]\n\n1\t2\t3\n\nx"])
def test_a_damaged_manifest_is_as_none(copy, text):
    copy.manifest.write_text(text)
    assert copy.upgrade() == (False, 0, DONE.format(HEAD))


@pytest.mark.parametrize("more", [{"heads": None}, {"listed": 1}, {"places": "x"}, {"written": "x"}, {"files": [1]}])
def test_a_manifest_of_another_shape_is_as_none(copy, more):
    altered(copy.manifest, **more)
    assert copy.upgrade() == (False, 0, DONE.format(HEAD))


def test_edited_models_go_the_whole_way(copy):
    path = copy.here / "models.py"
    path.write_text(path.read_text() + "\n# another release\n")
    assert not copy.upgrade()[0]  # it records the new release, and writes the manifest again
    assert copy.upgrade()[1:] == (0, DONE.format(HEAD))


MOVED = {
    "the version table": "UPDATE migrator.alembic_version SET version_num = '74d1e9c0a3b6'",
    "a second head": "INSERT INTO migrator.alembic_version VALUES ('74d1e9c0a3b6')",
    "another version table": "CREATE TABLE public.alembic_version (version_num text)",
    "a step of an older migrator": "INSERT INTO migrator.step (run, revision, direction, state) "
    "VALUES (1, 'x', 'up', 'finished')",
    "an open run": "INSERT INTO migrator.run (verb, road) VALUES ('upgrade', 'migrator')",
    "something deferred": "INSERT INTO migrator.deferred (revision, reason, waits_for) VALUES ('x', 'y', '{}')",
    "a broken release": "UPDATE migrator.release SET broken_by = 'x'",
    "a release not recorded": "DELETE FROM migrator.release",
    "a ledger not upgraded": "DELETE FROM migrator.ledger WHERE version = (SELECT max(version) FROM migrator.ledger)",
    "no state": "DELETE FROM migrator.state",
    "a table by hand": "CREATE TABLE by_hand ()",
    "a grant": "GRANT SELECT ON users TO PUBLIC",
    "a right taken away": "REVOKE SELECT ON migrator.release FROM CURRENT_USER",
    "a grant on a schema": "GRANT CREATE ON SCHEMA public TO PUBLIC",
    "default rights": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "rights on the database": "DO $$ BEGIN EXECUTE format('REVOKE TEMP ON DATABASE %I FROM PUBLIC', "
    "current_database()); END $$",
    "reports to tidy away": "INSERT INTO migrator.instance (id, release, seen) VALUES "
    "(gen_random_uuid(), 'a', now() - interval '31 days'), (gen_random_uuid(), 'a', now())",
}


@pytest.mark.parametrize("what", MOVED)
def test_whatever_moved_is_not_at_rest(copy, execute, what):
    config = str(copy.here / "alembic.ini")
    known = manifest.read(config)
    chosen = given.load(
        {"config": config, "app_role": "app"}, {"MIGRATOR_DATABASE_URL": copy.url, "IMAGE_COMMIT": "unknown"}
    )

    def is_at_rest():
        with connected_run.reached(chosen, Report(quiet=True)) as run:
            return look.is_at_rest(run, known)

    assert is_at_rest()
    execute(MOVED[what])
    assert not is_at_rest()


def test_an_app_role_that_is_to_be_made_is_made(copy, execute):
    role = f"made_{os.getpid()}"
    try:
        assert not copy.upgrade(MIGRATOR_APP_ROLE=role)[0]
        assert copy.upgrade(MIGRATOR_APP_ROLE=role)[0]
        assert (
            f"created    the database role {role}" in copy.upgrade(MIGRATOR_APP_ROLE=role, MIGRATOR_APP_PASSWORD="x")[2]
        )
    finally:
        execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_rights_that_were_lost_are_granted_again(copy, execute):
    role = f"app_{os.getpid()}"
    execute(f"CREATE ROLE {role}")
    try:
        assert not copy.upgrade(MIGRATOR_APP_ROLE=role)[0]
        assert copy.upgrade(MIGRATOR_APP_ROLE=role)[0]
        execute(f"REVOKE INSERT ON users FROM {role}")
        assert "granted" in copy.upgrade(MIGRATOR_APP_ROLE=role)[2]
        assert execute(f"SELECT has_table_privilege('{role}', 'users', 'INSERT')") == [(True,)]
        assert copy.upgrade(MIGRATOR_APP_ROLE=role)[0]
        execute(f"ALTER ROLE {role} SUPERUSER")
        assert not copy.upgrade(MIGRATOR_APP_ROLE=role)[0]
    finally:
        execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize(
    "variables",
    [
        {"MIGRATOR_DEADLINE": "a while"},
        {"MIGRATOR_DEADLINE": "0"},
        {"RELEASE_RETENTION": "later"},
        {"MIGRATOR_LOCK_TIMEOUT": "10min"},
        {"MIGRATOR_EXPECT_COMMIT": "f00"},
        {"MIGRATOR_RUN_ID": "a name; of two"},
        {"MIGRATOR_CONFIG": "/nowhere"},
        {"MIGRATOR_WAIT": "1s", "MIGRATOR_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"},
        {"MIGRATOR_DATABASE_URL": "postgresql://a:b@c@127.0.0.1/x"},
        {"MIGRATOR_DATABASE_URL": ""},
        {"MIGRATOR_REQUIRE_TLS": "yes", "MIGRATOR_DATABASE_URL": "postgresql://a@192.0.2.1/x?sslmode=prefer"},
    ],
)
def test_wrong_settings_get_the_same_answer(copy, variables):
    with_manifest = copy.run("upgrade", **variables)
    copy.manifest.unlink()
    assert with_manifest == copy.run("upgrade", **variables)
    assert with_manifest[0] in (1, 2, 5)


def test_settings_in_order_do_not_slow_it_down(copy):
    given = {
        "MIGRATOR_DEADLINE": "10min",
        "MIGRATOR_LOCK_TIMEOUT": "20ms",
        "RELEASE_RETENTION": "2h",
        "IMAGE_COMMIT": "c",
    }
    assert copy.upgrade("--run-id", "run-1", "--expect-commit=c", **given)[0]


def test_a_job_finds_its_run(copy, execute):
    assert copy.upgrade("--run-id", "run-7")[0]
    assert execute("SELECT outcome, finished IS NOT NULL FROM migrator.run WHERE run_id = 'run-7'") == [("done", True)]


def test_an_older_project_whose_version_table_is_in_public(copy, execute):
    execute("ALTER TABLE migrator.alembic_version SET SCHEMA public")
    assert copy.upgrade() == (True, 0, DONE.format(HEAD))


def test_a_signal_while_it_waits_for_a_server_that_does_not_answer(copy):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/x"
        env = {**os.environ, "PYTHONPATH": str(copy.top), "MIGRATOR_DATABASE_URL": url}
        process = subprocess.Popen(
            [sys.executable, "-m", "migrator", "upgrade"],
            env=env, cwd=copy.top, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        kept = silent.accept()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        kept[0].close()
    assert process.returncode == 143
    assert (out, err.startswith("interrupted: ")) == ("", True)


SILENCED = """
import sys
from lockstep.upgrade import look; from lockstep.stop import watchdog as silence
silence.PATIENCE_S = 0.2
whole = look.is_at_rest
def silenced(*arguments):
    print("asked", flush=True)
    sys.stdin.readline()  # the network is silent by now
    return whole(*arguments)
look.is_at_rest = silenced
from lockstep import __main__
__main__.run()
"""


@pytest.mark.parametrize("ends", ["by a signal", "by itself"])
def test_a_server_that_takes_the_question_and_says_nothing_is_not_waited_for(ends, copy):
    network = Network(copy.url)
    deadline = "2s" if ends == "by itself" else "60s"
    process = subprocess.Popen(
        [sys.executable, "-c", SILENCED, "upgrade", "--deadline", deadline],
        env={**os.environ, "PYTHONPATH": str(copy.top), "MIGRATOR_DATABASE_URL": network.url},
        cwd=copy.top, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "asked\n"
    network.freeze()
    process.stdin.write("\n")
    process.stdin.flush()
    if ends == "by a signal":
        process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    network.close()
    code, word = (143, "interrupted") if ends == "by a signal" else (5, "unreachable")
    assert (process.returncode, out, err.splitlines()[-1].partition(":")[0]) == (code, "", word)


def test_a_schema_for_the_apps_tables_is_quick_once_it_is_first_on_the_path(copy):
    _, code, said = copy.upgrade(MIGRATOR_APP_SCHEMA="app_data")
    assert code == 1
    assert "was migrated to another schema" in said
    assert [copy.upgrade(MIGRATOR_APP_SCHEMA="public")[:2] for _ in range(2)] == [(False, 0), (True, 0)]


@pytest.mark.parametrize("verb", ["status", "plan"])
def test_what_only_asks_loads_neither_alembic_nor_sqlalchemy_at_head(copy, verb):
    code = (
        "import sys; from lockstep import cli; code = cli.main(sys.argv[1:]); "
        "print(sorted({'alembic', 'sqlalchemy'} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    said = copy.python("-c", code, verb)
    assert (said.returncode, said.stderr) == (0, "[]\n")
    copy.manifest.unlink()
    whole = copy.python("-c", code, verb)
    assert (whole.stdout, whole.stderr) == (said.stdout, "['alembic', 'sqlalchemy']\n")


@pytest.mark.parametrize("verb", ["status", "plan"])
def test_what_only_asks_sees_a_later_revision_and_a_moved_database(copy, execute, verb):
    execute("UPDATE migrator.alembic_version SET version_num = '74d1e9c0a3b6'")
    assert "done: 1 pending, the database is at 74d1e9c0a3b6" in copy.run(verb)[1]
    execute(f"UPDATE migrator.alembic_version SET version_num = '{HEAD}'")
    copy.add("later", HEAD)
    assert f"done: 1 pending, the database is at {HEAD}" in copy.run(verb)[1]


def test_plan_refuses_an_edited_revision_with_and_without_the_manifest(copy, execute):
    execute("UPDATE migrator.step SET seal = 'ast1:other' WHERE revision = '74d1e9c0a3b6'")
    assert copy.run("plan")[0] == 1
    copy.manifest.unlink()
    assert copy.run("plan")[0] == 1
