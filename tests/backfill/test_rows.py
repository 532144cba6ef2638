"""Rows: what a row does that the change fails on, that stays as it was, or that comes while the work goes on."""

import pytest
import sqlalchemy as sa

from lockstep.backfill import batch

PEOPLE = "CREATE TABLE people (id int PRIMARY KEY, name text, handle text)"
SEED = "INSERT INTO people SELECT g, 'Name ' || g FROM generate_series(1, 3000) AS g"


@pytest.fixture
def made(project, run):
    def one(set_to, where="handle IS NULL", *, before=(), **options):
        more = "".join(f", {key}={value!r}" for key, value in options.items())
        project.sql("a1", PEOPLE, SEED, *before)
        project.revision("b2", f"op.backfill('people', set={{'handle': {set_to!r}}}, where={where!r}{more})")
        return run("upgrade", project=project)

    return one


def test_the_row_that_fails_is_found_by_halving_and_named(made, run, project, db):
    done = made("(100 / (id - 1234))::text")
    assert done.code == 4
    assert "backfill people_handle stopped: people id=1234: division by zero" in done.last
    assert "`migrator backfill` goes on from where it is, what is done stays" in done.last
    assert db.one("SELECT count(handle) FROM people WHERE id < 1234") == 1233
    db.rows("UPDATE people SET handle = 'by hand' WHERE id = 1234")
    again = run("backfill", project=project)
    assert again.code == 0, again.text
    assert db.one("SELECT count(handle) FROM people") == 3000


def test_rows_that_fail_are_set_aside_where_the_revision_says_so(made, run, project, db):
    done = made("(100 / ((id % 1000) - 7))::text", on_error="set aside")
    assert done.code == 0, done.text
    assert "set aside  people id=1007: division by zero" in done.out
    assert db.rows("SELECT id FROM people WHERE handle IS NULL ORDER BY id") == [(7,), (1007,), (2007,)]
    shown = run("backfill", "status", "--json", project=project).json["backfills"][0]
    assert (shown["state"], shown["rows"], shown["set_aside"]) == ("done", 2997, 3)


def test_a_row_that_a_constraint_refuses_is_named(made):
    check = "ALTER TABLE people ADD CHECK (handle <> 'Name 2999')"
    assert "people id=2999: new row for relation" in made("name", before=[check]).last


def test_a_predicate_that_never_becomes_false_is_found_out_before_anything_is_written(made, db):
    done = made("lower(name)", "name IS NOT NULL")
    assert done.code == 4
    assert "people id=1 (and 99 or more others): the change leaves the row as one still to be done" in done.last
    assert "narrow it (… AND source IS NOT NULL)" in done.last
    assert db.one("SELECT count(handle) FROM people") == 0


def test_a_predicate_that_stays_true_for_some_rows_is_found_out_at_the_end(made, db):
    done = made("lower(name)", before=["UPDATE people SET name = NULL WHERE id = 2500"])
    assert done.code == 4
    assert "people id=2500: the change leaves the row as one still to be done" in done.last
    assert db.one("SELECT count(handle) FROM people") == 2999


def test_rows_that_the_app_writes_behind_the_walk_are_done_too(made, db):
    """A trigger stands for the app: with the change of row 2000 it adds a row before it, and one behind the end."""
    app = """
    CREATE FUNCTION app() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO people VALUES (-5, 'Early'), (9000, 'Late'); RETURN NULL; END $$;
    CREATE TRIGGER app AFTER UPDATE ON people FOR EACH ROW WHEN (NEW.id = 2000) EXECUTE FUNCTION app()"""
    done = made("lower(name)", before=[app])
    assert done.code == 0, done.text
    assert db.rows("SELECT handle FROM people WHERE id IN (-5, 9000) ORDER BY id") == [("early",), ("late",)]


def test_rows_to_do_that_keep_coming_end_the_work_with_the_reason(made):
    app = """
    CREATE FUNCTION app() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO people VALUES (NEW.id + 1, 'Another'); RETURN NULL; END $$;
    CREATE TRIGGER app AFTER UPDATE ON people FOR EACH ROW WHEN (NEW.id >= 3000) EXECUTE FUNCTION app()"""
    done = made("lower(name)", before=[app])
    assert done.code == 4
    assert "rows that are still to be done keep coming" in done.last
    assert "give the column a default, or deploy the release that fills it" in done.last


def test_a_row_that_somebody_holds_is_left_for_the_end_and_nobody_waits_for_it(made, run, project, db, client):
    project.sql("a0", PEOPLE, SEED)
    assert run("upgrade", project=project).code == 0
    somebody = client("a long transaction")
    somebody.run("UPDATE people SET name = 'Held' WHERE id = 50")
    project.revision("b1", "op.backfill('people', set={'handle': 'lower(name)'}, where='handle IS NULL')")
    first = run("upgrade", project=project, MIGRATOR_DEADLINE="20s")
    assert first.code == 0, first.text
    assert db.rows("SELECT id FROM people WHERE handle IS NULL") == [(50,)]
    assert "others hold rows or the table: pid" in first.out
    assert "(a long transaction, idle in transaction, for" in first.out
    somebody.raw.commit()
    assert run("backfill", project=project).code == 0
    assert db.rows("SELECT handle FROM people WHERE id = 50") == [("held",)]


def test_statistics_are_taken_at_the_end(made, db):
    made("lower(name)")
    assert db.one("SELECT null_frac FROM pg_stats WHERE tablename = 'people' AND attname = 'handle'") == 0


def test_a_batch_that_was_cut_off_for_its_length_is_not_tried_at_that_size_again(people, run, db, undone, monkeypatch):
    sleeps = """op.backfill("people", set={"handle": "lower(name) || pg_sleep(0.02)"}, where="handle IS NULL")"""
    project = people(0, sleeps)
    assert run("upgrade", project=project).code == 0
    undone(undo="INSERT INTO people (name) SELECT 'Name ' || n FROM generate_series(1, 100) AS n")
    monkeypatch.setattr(batch, "STATEMENT_MS", 1000)  # 100 rows, the first batch, need twice as long
    assert run("backfill", project=project).code == 0
    # The second half of the rows follows in batches that aim at 50 ms of locks.
    assert db.one("SELECT sum(batches) FROM migrator.backfill_range WHERE kind = 'walk'") > 10


SKIPS = """CREATE FUNCTION skip_some() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF OLD.id {which} THEN RETURN NULL; END IF; RETURN NEW; END $$"""
SKIPPING = "CREATE TRIGGER skip_some BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION skip_some()"
HIDDEN = (
    "ALTER TABLE people ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE people FORCE ROW LEVEL SECURITY",
    "CREATE POLICY reads ON people FOR SELECT USING (true)",
    "CREATE POLICY writes ON people FOR UPDATE USING (id {which})",
    "CREATE ROLE {role} NOSUPERUSER LOGIN PASSWORD 'made-up'",
)


@pytest.mark.parametrize(("which", "row"), [(">= 0", 1), ("= 2500", 2500)])
def test_a_row_that_a_trigger_keeps_from_every_update_ends_the_work_with_the_row_and_the_trigger(made, db, which, row):
    done = made("lower(name)", before=[SKIPS.format(which=which), SKIPPING])
    assert done.code == 4
    assert f"people id={row}" in done.last
    assert "the UPDATE passes the row by" in done.last
    assert "the trigger skip_some leaves rows out of an UPDATE without an error" in done.last
    assert db.one("SELECT count(*) FROM people WHERE handle IS NULL") == (3000 if row == 1 else 1)


def test_rows_that_a_trigger_passes_by_are_set_aside_where_the_revision_says_so(made, db):
    done = made("lower(name)", before=[SKIPS.format(which="% 1000 = 7"), SKIPPING], on_error="set aside")
    assert done.code == 0, done.text
    assert "set aside  people id=7" in done.out
    assert db.rows("SELECT id FROM people WHERE handle IS NULL ORDER BY id") == [(7,), (1007,), (2007,)]


@pytest.mark.parametrize(("which", "row"), [("< 0", 1), ("<> 2500", 2500)])
def test_a_row_that_row_security_hides_from_the_update_ends_the_work_with_the_row(project, run, db, which, row):
    """As a role that owns the table and that its row security binds."""
    name = sa.make_url(db.url).database
    role, bound = f"bound_{name}", sa.make_url(db.url).set(username=f"bound_{name}", password="made-up")
    project.sql("a1", PEOPLE, SEED, *(one.format(which=which, role=role) for one in HIDDEN))
    assert run("upgrade", project=project).code == 0
    db.rows(f"GRANT ALL ON SCHEMA migrator, public TO {role}; GRANT CREATE ON DATABASE {name} TO {role}")
    db.rows(f"GRANT ALL ON ALL TABLES IN SCHEMA migrator TO {role}; ALTER TABLE people OWNER TO {role}")
    try:
        project.revision("b2", "op.backfill('people', set={'handle': 'lower(name)'}, where='handle IS NULL')")
        done = run("upgrade", project=project, url=bound.render_as_string(hide_password=False))
        assert done.code == 4, done.text
        assert f"people id={row}" in done.last
        assert "row security leaves rows out of an UPDATE without an error" in done.last
    finally:
        db.rows(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_rule_that_takes_the_update_ends_the_work(made, db):
    done = made("lower(name)", before=["CREATE RULE no_update AS ON UPDATE TO people DO INSTEAD NOTHING"])
    assert done.code == 4
    assert "cannot perform UPDATE RETURNING on relation" in done.last
    assert db.one("SELECT count(handle) FROM people") == 0
