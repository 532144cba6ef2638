"""Nonsense in a checkpoint: whatever the file holds, an empty database is loaded from what was written, or left empty.

Each through `upgrade` on an empty database, `status` and `check`.
"""

import os

import pytest

from tests.conftest import run_migrator
from tests.migrator.rig import Database, Project
from tests.torture.corpora import checkpoints
from tests.torture.test_nonsense import wrong_with

LEFT = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
STEPS = "SELECT 1 FROM migrator.step"


@pytest.fixture(scope="module")
def made(tmp_path_factory, server):
    """Two projects of two revisions, each with its checkpoint; the first is the one that is tried."""
    projects = []
    for name in ("one", "other"):
        project = Project(tmp_path_factory.mktemp(name) / "own", own=True)
        project.sql("a1", "CREATE TABLE t (id int PRIMARY KEY, name text)", f"INSERT INTO t VALUES (1, '{name}')")
        project.sql("b2", "CREATE INDEX ix ON t (name)")
        done = run_migrator("checkpoint", env={"MIGRATOR_SHADOW_URL": server.url, "MIGRATOR_CONFIG": str(project.ini)})
        assert done.code == 0, done.err
        project.checkpoint = project.env_py.with_name("checkpoint.sql")
        project.good = project.checkpoint.read_text()
        projects.append(project)
    return projects


@pytest.fixture
def tried(made):
    """The project; its checkpoint is as it was afterwards."""
    yield made[0]
    if made[0].checkpoint.is_dir():
        made[0].checkpoint.rmdir()
    made[0].checkpoint.unlink(missing_ok=True)
    made[0].checkpoint.write_text(made[0].good)


def wrong_upgrades(run, db, project, corpus, codes, **given):
    """Return what is wrong with how upgrades of one empty database end; a no leaves it empty."""
    wrong = []
    for what in corpus:
        project.checkpoint.write_bytes(what if isinstance(what, bytes) else what.encode("utf-8", "surrogatepass"))
        done = run("upgrade", project=project, **given)
        wrong += wrong_with(done, codes, what[:300])
        left = db.rows(LEFT)
        if left or (db.rows("SELECT to_regclass('migrator.step')") != [(None,)] and db.rows(STEPS)):
            wrong.append(f"{what[:300]!r}: exit {done.code}, and {left} is there\n    {done.text}")
            break
    return wrong


def shown(text, good):
    """Return what tells an edited text from the good one."""
    known = set(good.splitlines())
    return [line[:150] for line in text.splitlines() if line not in known and "-- digest" not in line][:3]


def told(wrong, corpus):
    assert not wrong, f"{len(wrong)} of {len(corpus)}\n" + "\n".join(wrong)


def sample(good):
    """Return a few texts of each kind: `check` replays the revisions for some of them."""
    corpora = (checkpoints.edited(good), checkpoints.wrong_heads(good), checkpoints.wrong_sql(good))
    return [text for corpus in corpora for text in corpus[:: len(corpus) // 8]]


def test_one_that_was_edited_is_refused_and_the_database_stays_empty(tried, run, db):
    texts = [*checkpoints.edited(tried.good), *checkpoints.raw(tried.good)]
    told(wrong_upgrades(run, db, tried, texts, {1}), texts)


def test_one_that_is_not_of_these_revisions_is_refused_or_unused(tried, made, run, server):
    texts, wrong = [*checkpoints.wrong_heads(tried.good), made[1].good], []
    for text in texts:
        tried.checkpoint.write_text(text)
        with server.database() as url:
            own = Database(url)
            done = run("upgrade", project=tried, url=url)
            wrong += wrong_with(done, {0, 1}, shown(text, tried.good))
            if own.rows(LEFT) and (done.code or "unused     the checkpoint" not in done.out):
                wrong.append(f"{shown(text, tried.good)}: exit {done.code}\n    {done.text}")
            own.close()
    told(wrong, texts)


@pytest.mark.parametrize("group", range(4))
def test_one_whose_sql_cannot_be_run_leaves_nothing(group, tried, run, server):
    texts, wrong = checkpoints.wrong_sql(tried.good)[group::4], []
    for text in texts:
        tried.checkpoint.write_text(text)
        with server.database() as url:
            done = run("upgrade", project=tried, url=url, MIGRATOR_DEADLINE="5s")
            own = Database(url)
            wrong += wrong_with(done, {3, 4, 5}, shown(text, tried.good))
            if own.rows(LEFT) and "what it did before that may stay" not in done.text:
                wrong.append(f"{shown(text, tried.good)}: exit {done.code}, and it is there\n    {done.text}")
            own.close()
    told(wrong, texts)


def test_check_says_what_is_wrong_with_it_and_status_does_not_mind(tried, run, db, server):
    texts, wrong = sample(tried.good), []
    for text in texts:
        tried.checkpoint.write_text(text)
        done = run("check", project=tried, MIGRATOR_SHADOW_URL=server.url, MIGRATOR_DEADLINE="5s")
        wrong += wrong_with(done, {1, 3, 4, 5}, shown(text, tried.good))
        wrong += wrong_with(run("status", project=tried), {0}, shown(text, tried.good))
    told(wrong, texts)
    assert db.rows("SELECT nspname FROM pg_namespace WHERE nspname = 'migrator'") == []
    assert db.rows(LEFT) == []


@pytest.mark.parametrize("make", ["mkdir", "nowhere", "loop", "fifo", "/dev/null", "/proc/self/mem", "huge"])
def test_what_is_no_file_of_ours_is_none_or_refused(make, tried, run, db, server):
    place = tried.checkpoint
    place.unlink()
    if make == "mkdir":
        place.mkdir()
    elif make == "fifo":
        os.mkfifo(place)
    elif make == "huge":
        with place.open("wb") as file:
            file.truncate(64 * 2**20)
    else:
        place.symlink_to({"nowhere": place.with_name("nowhere"), "loop": place}.get(make, make))
    huge = make in {"huge", "/proc/self/mem"}
    done = run("upgrade", project=tried)
    assert wrong_with(done, {1} if huge else {0}, make) == []
    assert bool(db.rows(LEFT)) is not huge
    assert wrong_with(run("check", project=tried, MIGRATOR_SHADOW_URL=server.url), {1} if huge else {0}, make) == []
    assert wrong_with(run("status", project=tried), {0}, make) == []
    named = run("upgrade", "--checkpoint", place, project=tried)  # nothing is to be loaded any more, or it is refused
    assert wrong_with(named, {1} if huge else {0, 2}, make) == []


@pytest.mark.parametrize(
    "name", ["nowhere", "", " ", ".", "/", "x" * 300, "x/" * 3000, "\x00", "\udcff", "/dev/null/x", "~nobody/x"]
)
def test_a_name_that_is_no_files_is_wrong_usage(name, tried, run, db):
    done = run("upgrade", "--checkpoint", name, project=tried)
    assert wrong_with(done, {2} if name else {0, 2}, name) == []
    assert not db.rows(LEFT) or done.code == 0


def test_lines_may_end_otherwise_and_revisions_may_leave_nothing(project, run, server):
    project.sql("a1")
    given = {"MIGRATOR_SHADOW_URL": server.url}
    assert run("checkpoint", project=project, **given).code == 0
    place = project.env_py.with_name("checkpoint.sql")
    place.write_bytes(place.read_bytes().replace(b"\n", b"\r\n"))
    done = run("upgrade", project=project)
    assert (done.code, "loaded     checkpoint of 1 revisions" in done.out) == (0, True), done.text
    assert run("check", project=project, **given).code == 0
