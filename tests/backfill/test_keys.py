"""Keys: whatever a table is walked by, each row is changed once, and none is left out."""

import pytest

COUNTED = """
CREATE TABLE written (key text);
CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO written SELECT NEW.n WHERE OLD.done IS DISTINCT FROM NEW.done; RETURN NULL; END $$
"""
TRIGGER = "CREATE TRIGGER counted AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION count_it()"
SEED = "INSERT INTO t ({columns}) SELECT {values} FROM generate_series(1, {rows}) AS g"
FILL = """op.backfill("t", set={"done": "n * 2"}, where="done IS NULL", batch_size=7)"""

TABLES = {
    "bigint": ("id bigint PRIMARY KEY", "g"),
    "smallint, negative": ("id smallint PRIMARY KEY", "g - 300"),
    "sparse integers": ("id bigint PRIMARY KEY", "g * g * 1000"),
    "uuid": ("id uuid PRIMARY KEY", "gen_random_uuid()"),
    "text": ("id text PRIMARY KEY", "md5(g::text) || ' \"x'' %'"),
    "timestamptz": ("id timestamptz PRIMARY KEY", "now() + g * interval '1 us'"),
    "numeric": ("id numeric PRIMARY KEY", "g / 7.0"),
    "a unique index only": ("id bigint NOT NULL, UNIQUE (id)", "g"),
}


def filled(project, run, statements, fill=FILL):
    project.sql("a1", *statements)
    project.revision("b2", fill)
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    return done


def whole(db, rows):
    assert db.rows("SELECT count(*), count(*) FILTER (WHERE done = n * 2) FROM t") == [(rows, rows)]
    assert db.rows("SELECT count(*), count(DISTINCT key) FROM written") == [(rows, rows)]
    assert db.one("SELECT sum(rows) FROM migrator.backfill_range WHERE kind = 'final'") == 0


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_changed_once(project, run, db, name):
    columns, value = TABLES[name]
    seed = SEED.format(columns="id, n", values=f"{value}, g", rows=600)
    filled(project, run, [f"CREATE TABLE t ({columns}, n int, done int)", seed, COUNTED, TRIGGER])
    whole(db, 600)


def test_a_composite_key_is_walked_in_its_own_order(project, run, db):
    seed = SEED.format(columns="a, b, n", values="g % 7, chr(97 + g % 26) || g, g", rows=600)
    table = "CREATE TABLE t (n int, b text, a int, done int, PRIMARY KEY (a, b))"
    filled(project, run, [table, seed, COUNTED, TRIGGER])
    whole(db, 600)


@pytest.mark.parametrize("key", ["PRIMARY KEY (id, n)", "CHECK (id > 0)"])
def test_a_partitioned_table_is_walked_part_by_part(project, run, db, key):
    parts = [
        f"CREATE TABLE t (id int NOT NULL, n int NOT NULL, done int, {key}) PARTITION BY RANGE (n)",
        "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (200)",
        "CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (200) TO (9000) PARTITION BY HASH (n)",
        "CREATE TABLE t_2a PARTITION OF t_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "CREATE TABLE t_2b PARTITION OF t_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
        *(f"CREATE UNIQUE INDEX ON {part} (id)" for part in ("t_1", "t_2a", "t_2b")),
        SEED.format(columns="id, n", values="g, g", rows=600),
    ]
    filled(project, run, [*parts, COUNTED, TRIGGER], FILL.replace('"n * 2"', '"t.n * 2"'))
    whole(db, 600)


@pytest.mark.parametrize("rows", [0, 1])
def test_an_empty_table_and_one_row(project, run, db, rows):
    seed = SEED.format(columns="id, n", values="g, g", rows=rows)
    done = filled(project, run, ["CREATE TABLE t (id int PRIMARY KEY, n int, done int)", seed, COUNTED, TRIGGER])
    assert "backfill   t_done   done   100 % of about" in done.out
    whole(db, rows)


def test_a_table_without_a_key_is_refused_before_anything_is_done(project, run, db):
    project.sql("a1", "CREATE TABLE t (id int UNIQUE, n int, done int)")
    project.revision("b2", FILL)
    done = run("upgrade", project=project)
    assert done.code == 1
    assert "t has no primary key to walk it by, and no unique index over columns that are NOT NULL" in done.last
    assert "add one (a unique index CONCURRENTLY), or write the change as a plain UPDATE" in done.last
    assert db.steps() == [("a1", "up", "finished")]


def test_setting_what_a_table_is_partitioned_by_is_refused(project, run):
    project.sql("a1", "CREATE TABLE t (id int, done int) PARTITION BY RANGE (done)")
    project.revision("b2", FILL)
    assert "would set done, by which it is partitioned" in run("upgrade", project=project).last


def test_names_that_the_driver_could_take_for_values_are_names(project, run, db):
    project.sql(
        "a1",
        'CREATE TABLE "a %s b" ("k %(x)s" bigint PRIMARY KEY, name text, "h 5%" text)',
        """INSERT INTO "a %s b" SELECT n, 'Name ' || n FROM generate_series(1, 3000) AS n""",
    )
    project.revision("b2", """op.backfill("a %s b", set={"h 5%": "lower(name)"}, where='"h 5%" IS NULL')""")
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert db.rows('SELECT count(*), count("h 5%") FROM "a %s b"') == [(3000, 3000)]
