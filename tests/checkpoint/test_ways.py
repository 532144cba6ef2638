"""With and without a manifest, with and without a checkpoint: a sample of what is promised holds all four ways.

Both only save time; each test here is of behaviour, and knows of them no more than that a load says so. At a database
that is at head already a checkpoint is not looked at, so there it is tried with the manifest only.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import psycopg2
import pytest
from sqlalchemy import make_url

from lockstep.ledger import fingerprint as stated
from tests.conftest import ROOT
from tests.migrator.rig import until
from tests.migrator.test_look import DONE, HEAD, Copy
from tests.torture import state

WAYS = {"neither": (False, False), "manifest": (True, False), "checkpoint": (False, True), "both": (True, True)}
REVISIONS = 8
LATER = "CREATE TABLE later ()"


class Way(Copy):
    """A copy of the migrator as an image of this way has it."""

    def __init__(self, top, url, source, way):
        super().__init__(top, url, source)
        self.has_manifest, self.has_checkpoint = WAYS[way]
        if not self.has_manifest:
            self.manifest.unlink()
        if not self.has_checkpoint:
            (self.here / "checkpoint.sql").unlink()

    def built(self):
        """Let it be as an image's build leaves it."""
        if self.has_manifest:
            self.age()
            self.make_manifest()

    def last(self, *words, **variables):
        code, out, err = self.run(*words, **variables)
        return code, (out + err).strip().splitlines()[-1]

    def start(self, *words):
        return subprocess.Popen(
            [sys.executable, "-m", "migrator", *words], cwd=self.top, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={"PYTHONPATH": str(self.top), "MIGRATOR_DATABASE_URL": self.url, "MIGRATOR_LOCK_TIMEOUT": "20s"},
            text=True,
        )  # fmt: skip


@pytest.fixture(params=WAYS)
def way(request, tmp_path, image, database):
    """The four ways, on an empty database."""
    return Way(tmp_path, database, image.top, request.param)


@pytest.fixture(scope="session")
def heads(server, image, tmp_path_factory):
    """The names of two databases at head: one that was loaded from the checkpoint, one by every revision in turn."""
    with server.database() as loaded, server.database() as replayed:
        for name, url in (("both", loaded), ("manifest", replayed)):
            done = Way(tmp_path_factory.mktemp(name), url, image.top, name).run("upgrade")
            assert done[0] == 0, done
        yield {True: make_url(loaded).database, False: make_url(replayed).database}


@pytest.fixture(params=("neither", "manifest", "both"))
def standing(request, tmp_path, image, server, heads):
    """The same on a database at head, made as that way makes one; a clone has not kept its rights on itself."""
    rights = stated.RIGHTS.format(path="current_setting('search_path')") % {"role": "'app'"}
    _, has_checkpoint = WAYS[request.param]
    with server.database(heads[has_checkpoint]) as url:
        way = Way(tmp_path, url, image.top, request.param)
        execute(way, f"UPDATE migrator.state SET rights = {rights}")
        yield way


def execute(way, sql):
    with contextlib.closing(psycopg2.connect(way.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []


def looked_at(url):
    """All of a database, but for where a column lies in its table, and how the ledger says it came about."""
    with contextlib.closing(psycopg2.connect(url)) as connection:
        lines = state.dump(connection, "nobody").splitlines()
    return sorted(line for line in lines if not line.startswith(("columns:", "steps:")))


def test_an_empty_database_is_brought_to_head_and_serves_the_release(way, server, heads):
    code, last = way.last("upgrade")
    how = f"{REVISIONS} loaded from the checkpoint, 0" if way.has_checkpoint else f"{REVISIONS}"
    assert (code, last) == (0, f"done: {how} applied, the database is at {HEAD} (safe to run again)")
    assert looked_at(way.url) == looked_at(server.named(heads[False]))
    env = {"PYTHONPATH": str(ROOT), "DATABASE_URL": way.url}
    gate = subprocess.run([sys.executable, "-m", "app.gate"], env=env, capture_output=True, text=True, check=False)
    assert gate.returncode == 0, gate.stderr
    assert way.run("upgrade")[:2] == (0, DONE.format(HEAD))


def test_what_is_pending_is_applied_and_can_be_taken_back(standing):
    standing.add("later", HEAD, LATER)
    later = next(standing.versions.glob("later*"))
    later.write_text(later.read_text() + 'def downgrade():\n    op.execute("DROP TABLE later")\n')
    standing.built()
    assert standing.last("upgrade") == (0, "done: 1 applied, the database is at later (safe to run again)")
    assert standing.run("downgrade", "-1")[0] == 0
    assert execute(standing, "SELECT to_regclass('later') IS NULL") == [(True,)]


def test_an_applied_revision_that_was_edited_is_refused(standing):
    [path] = standing.versions.glob("*_create_users.py")
    path.write_text(path.read_text().replace('"email"', '"emaix"'))
    code, last = standing.last("upgrade")
    assert (code, "applied revisions were edited since: create_users (3f1c7a90b5d2)" in last) == (1, True), last


def test_a_database_that_is_ahead_of_the_image_is_left_as_it_is(standing):
    execute(standing, "UPDATE migrator.alembic_version SET version_num = 'elsewhere'")
    code, last = standing.last("upgrade")
    assert (code, "the database is ahead of this image and serves this release, at elsewhere" in last) == (0, True), (
        last
    )
    execute(standing, "DELETE FROM migrator.release")  # and where it is not known to serve it
    assert standing.last("upgrade")[0] == 1


def test_two_heads_are_refused(standing):
    standing.add("one", HEAD, LATER)
    standing.add("other", HEAD)
    code, last = standing.last("upgrade")
    assert (code, "2 heads" in last) == (1, True), last
    assert execute(standing, "SELECT to_regclass('later') IS NULL") == [(True,)]


def test_what_a_live_release_needs_is_deferred(standing):
    execute(
        standing, "INSERT INTO migrator.instance (id, release) SELECT gen_random_uuid(), digest FROM migrator.release"
    )
    models = standing.here / "models.py"
    models.write_text("\n".join(line for line in models.read_text().splitlines() if "phone_number" not in line) + "\n")
    standing.add("later", HEAD, "ALTER TABLE users DROP COLUMN phone_number")
    standing.built()
    code, last = standing.last("upgrade")
    assert (code, "0 applied, 1 deferred" in last) == (0, True), last
    assert execute(standing, "SELECT count(phone_number) FROM users") == [(0,)]


def test_killed_it_goes_on_where_it_was(way):
    there = "FROM pg_stat_activity WHERE datname = current_database() AND application_name"
    way.add("later", HEAD, f"SELECT pg_sleep(60) WHERE EXISTS (SELECT {there} = 'the holder')")
    way.built()
    of_it = f"SELECT 1 {there} LIKE 'migrator/%'"
    with contextlib.closing(psycopg2.connect(way.url, application_name="the holder")):
        process = way.start("upgrade")
        try:
            until(lambda: execute(way, f"{of_it} AND wait_event = 'PgSleep'"), "the last step")
        finally:
            process.kill()
            process.communicate()
    until(lambda: not execute(way, of_it), "the server to notice")
    assert execute(way, "SELECT version_num FROM migrator.alembic_version") == [(HEAD,)]
    assert way.last("upgrade") == (0, "done: 1 applied, the database is at later (safe to run again)")
    assert execute(way, "SELECT outcome FROM migrator.run ORDER BY id") == [("interrupted",), ("done",)]


def test_of_two_at_once_one_works(way):
    with way.start("upgrade") as one, way.start("upgrade") as other:
        said = [process.communicate()[0] for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), said
    assert sum("nothing to do" in text for text in said) == 1, said
    assert execute(way, "SELECT count(*), count(DISTINCT revision) FROM migrator.step") == [(REVISIONS, REVISIONS)]


def test_what_only_asks_answers_the_same(standing):
    def asked():
        return [json.loads(standing.run(verb, "--json")[1]) for verb in ("status", "plan")]

    if not standing.has_manifest:
        return  # they ask nothing of a checkpoint
    answers = asked()
    assert [one["exit_code"] for one in answers] == [0, 0]
    standing.manifest.unlink()
    assert asked() == answers
