"""Backfills in `upgrade`: a short one is done in it, a long one holds back what needs it."""

import pytest

from tests.backfill.conftest import FILL

NOT_NULL = "ALTER TABLE people ALTER COLUMN handle SET NOT NULL"
# Nobody reports here: what an unknown app may need is not the point.
ALONE = {"MIGRATOR_NO_UNKNOWN_RELEASE": "yes"}


def test_a_short_backfill_is_done_by_the_upgrade_that_declares_it(people, run, db):
    project = people(2500)
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert db.rows("SELECT count(*), count(*) FILTER (WHERE handle = lower(name)) FROM people") == [(2500, 2500)]
    assert "backfill   people_handle   done   100 % of about" in done.out
    assert db.rows("SELECT name, revision, state FROM migrator.backfill") == [("people_handle", "b2", "done")]
    assert db.one("SELECT sum(rows) FROM migrator.backfill_range") == 2500


def test_what_needs_an_unfinished_backfill_is_deferred_with_the_reason_and_applied_once_it_is_done(
    people, run, db, undone
):
    project = people(500)
    assert run("upgrade", project=project).code == 0
    undone("paused")
    project.sql("c3", NOT_NULL)
    first = run("upgrade", "--json", project=project, **ALONE)
    assert (first.code, first.json["outcome"]) == (0, "deferred"), first.text
    assert (first.json["deferred"], first.json["waits_for_backfill"]) == (["c3"], "people_handle")
    assert db.one("SELECT reason FROM migrator.deferred") == "c3 waits for backfill people_handle (paused, 0 % done)"
    assert run("backfill", "resume", project=project).code == 0
    assert run("backfill", project=project).last == "done: nothing is left to do (safe to run again)"
    second = run("upgrade", project=project, **ALONE)
    assert second.last == "done: 1 applied, the database is at c3 (safe to run again)"


def test_an_upgrade_finishes_what_a_revision_of_its_own_needs(people, run, db, undone):
    project = people(500)
    assert run("upgrade", project=project).code == 0
    undone()
    project.sql("c3", NOT_NULL)
    assert run("upgrade", project=project, **ALONE).code == 0
    assert db.one("SELECT count(*) FROM people WHERE handle = lower(name)") == 500


def test_a_revision_that_an_unfinished_backfill_means_nothing_to_is_not_held_back(people, run, db, undone):
    project = people(500)
    assert run("upgrade", project=project).code == 0
    undone("paused")
    project.sql("c3", "ALTER TABLE people ADD COLUMN n int; CREATE TABLE other (id int)")
    project.sql("d4", "ALTER TABLE people ADD CONSTRAINT c CHECK (handle IS NOT NULL) NOT VALID")
    project.sql("e5", "ALTER TABLE people VALIDATE CONSTRAINT c")
    done = run("upgrade", "--json", project=project, **ALONE)
    assert done.code == 0, done.text
    assert ([item["revision"] for item in done.json["applied"]], done.json["deferred"]) == (["c3", "d4"], ["e5"])


def test_a_revision_that_names_a_partition_alone_needs_the_backfill_of_the_table(people, run, db, undone):
    table = [
        "CREATE TABLE people (id bigint PRIMARY KEY, name text, handle text) PARTITION BY RANGE (id)",
        "CREATE TABLE early PARTITION OF people FOR VALUES FROM (1) TO (9000)",
        "INSERT INTO people SELECT n, 'Name ' || n FROM generate_series(1, {rows}) AS n",
    ]
    project = people(500, table=table)
    assert run("upgrade", project=project).code == 0
    undone("paused")
    project.sql("c3", "ALTER TABLE early ALTER COLUMN handle SET NOT NULL")
    done = run("upgrade", "--json", project=project, **ALONE)
    assert (done.json["deferred"], done.json["waits_for_backfill"]) == (["c3"], "people_handle"), done.text


def test_a_revision_can_say_that_it_needs_a_backfill_of_another_table(people, run, undone):
    project = people(500)
    assert run("upgrade", project=project).code == 0
    undone("paused")
    project.revision("c3", 'op.needs_backfill("people_handle"); op.execute("CREATE TABLE other (id int)")')
    assert run("upgrade", "--json", project=project, **ALONE).json["deferred"] == ["c3"]


def test_a_release_that_needs_a_backfill_is_not_served_before_it_is_finished(people, run, undone):
    project = people(500, FILL.replace('where="', 'before_serving=True, where="'))
    assert run("upgrade", project=project).code == 0
    undone("paused")
    project.sql("c3", "CREATE TABLE other (id int)")
    first = run("upgrade", project=project, **ALONE)
    assert first.code == 3, first.text
    assert "this release is not served before the end of backfill people_handle (paused, 0 % done)" in first.last
    assert "safe to run again as it is" in first.last
    assert run("backfill", "resume", project=project).code == 0
    assert run("upgrade", project=project, **ALONE).code == 0


def test_a_failing_backfill_does_not_take_back_its_revision_and_says_so(people, run, db):
    project = people(10, """op.backfill("people", set={"handle": "(1 / (id - 5))::text"}, where="handle IS NULL")""")
    done = run("upgrade", project=project)
    assert done.code == 4
    assert done.last.startswith("failed: backfill people_handle stopped: people id=5: division by zero; 2 applied")
    assert db.rows("SELECT state, note FROM migrator.backfill") == [("failed", "people id=5: division by zero")]


def test_a_downgrade_ends_the_backfill_and_an_upgrade_declares_it_anew(people, run, db):
    project = people(50)
    assert run("upgrade", project=project).code == 0
    assert run("downgrade", "a1", project=project).code == 0
    assert db.rows("SELECT state FROM migrator.backfill") == [("reverted",)]
    db.rows("UPDATE people SET handle = NULL")
    assert run("upgrade", project=project).code == 0
    assert db.one("SELECT count(*) FROM people WHERE handle IS NULL") == 0


def test_sql_shows_the_one_statement_it_stands_for(people, run):
    where = """ "a::text ~ ':x' AND b LIKE '50%'" """
    project = people(10, f'op.backfill("people", set={{"handle": sa.func.lower(sa.column("name"))}}, where={where})')
    done = run("sql", "a1:b2", project=project)
    assert "-- backfill people_handle: `migrator upgrade` and `migrator backfill` do this in batches by key" in done.out
    assert """UPDATE "people" SET "handle" = lower(name) WHERE a::text ~ ':x' AND b LIKE '50%';""" in done.out


@pytest.mark.parametrize(
    ("fill", "says"),
    [
        ("""op.backfill("nobody", set={"a": "1"}, where="a IS NULL")""", "there is no table nobody to backfill"),
        ("""op.backfill("people", set={"id": "1"}, where="id = 2")""", "would set id, the key it is walked by"),
        ("""op.backfill("people", set={}, where="true")""", "sets nothing"),
        ("""op.backfill("people", set={"handle": "1"}, where="x", on_error="go on")""", "on_error is 'go on'"),
        ("""op.backfill("people", set={"handle": "nam"}, where="handle IS NULL")""", 'column "nam" does not exist'),
    ],
)
def test_a_declaration_that_cannot_work_stops_its_revision(people, run, db, fill, says):
    project = people(10, fill)
    done = run("upgrade", project=project)
    assert done.code in (1, 4), done.text
    assert says in done.last
    assert db.one("SELECT count(*) FROM migrator.backfill") == 0


def test_without_the_ledger_the_change_is_made_at_once(people, run, db, server):
    """As on the copy of the schema that a revision is tried on."""
    project = people(10)
    project.outside("c3", "UPDATE people SET handle = upper(handle)")
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert db.one("SELECT count(*) FROM people WHERE handle LIKE 'NAME%%'") == 10


def test_a_backfill_that_failed_is_mentioned_by_every_later_upgrade_and_by_status(people, run):
    project = people(10, """op.backfill("people", set={"handle": "(1 / (id - 5))::text"}, where="handle IS NULL")""")
    assert run("upgrade", project=project).code == 4
    for _ in range(2):
        later = run("upgrade", project=project)
        assert later.code == 0, later.text
        assert "backfill   people_handle   failed" in later.out
        assert "people id=5: division by zero" in later.out
        assert later.last.endswith(
            "backfill people_handle failed: see `migrator backfill status`, mend it, then `migrator backfill`"
        )
    assert run("upgrade", "--json", project=project).json["failed_backfills"] == ["people_handle"]
    assert "backfill   people_handle   failed" in run("status", project=project).out
