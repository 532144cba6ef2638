"""Made-up rows satisfy the constraints of the tables they are put into."""

import contextlib

import psycopg2
import pytest

from lockstep.develop.rehearsal import rows

TABLES = {
    "every type": """CREATE TYPE mood AS ENUM ('a', 'b'); CREATE DOMAIN price AS numeric(8, 2) CHECK (VALUE >= 0);
        CREATE TABLE t (a smallint, b integer, c bigint, d numeric(4, 1), e real, f double precision, g boolean,
        h text, i varchar(5), j char(3), k date, l time, m timestamp, n timestamptz, o interval, p uuid, q json,
        r jsonb, s bytea, t inet, u cidr, v macaddr, w int4range, x tstzrange, y text[], z mood, aa price, ab xml,
        ac tsvector, ad bit(4), ae varbit, af point, ag money, ah timetz)""",
    "not null and unique": "CREATE TABLE t (a text NOT NULL UNIQUE, b uuid PRIMARY KEY, c varchar(4) UNIQUE NOT NULL)",
    "identity and serial": "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n serial, "
    "twice integer GENERATED ALWAYS AS (1 + 1) STORED)",
    "a list": "CREATE TABLE t (state text NOT NULL CHECK (state IN ('open', 'closed')))",
    "numbers": "CREATE TABLE t (a integer CHECK (a BETWEEN 1 AND 5), b numeric CHECK (b > 1000.5), CHECK (b > a))",
    "lengths": "CREATE TABLE t (code text NOT NULL CHECK (length(code) = 4), b text CHECK (char_length(b) >= 15))",
    "a pattern": "CREATE TABLE t (mail text NOT NULL CHECK (mail LIKE '%@%'))",
    "two columns": "CREATE TABLE t (a timestamptz NOT NULL, b timestamptz NOT NULL, CHECK (a <= b))",
    "itself": "CREATE TABLE t (id bigint PRIMARY KEY, parent bigint REFERENCES t)",
    "a chain": "CREATE TABLE r (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY); "
    "CREATE TABLE s (a text, b bigint NOT NULL REFERENCES r, PRIMARY KEY (a, b)); "
    "CREATE TABLE t (a text NOT NULL, b bigint NOT NULL, FOREIGN KEY (a, b) REFERENCES s)",
    "one to one": "CREATE TABLE r (id uuid PRIMARY KEY); CREATE TABLE t (id uuid PRIMARY KEY REFERENCES r)",
    "exclusion": "CREATE TABLE t (span int4range NOT NULL, EXCLUDE USING gist (span WITH &&))",
    "quoted": 'CREATE TABLE "T 1" ("a b" integer NOT NULL, "C" text); CREATE VIEW t AS SELECT * FROM "T 1"',
    "no columns": "CREATE TABLE t ()",
}


@pytest.fixture
def filled(database):
    def fill(setup, count=200):
        with contextlib.closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(setup)
            connection.commit()
            cursor.execute("SELECT oid::bigint FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 2200")
            return rows.fill(connection, [oid for (oid,) in cursor.fetchall()], count)

    return fill


@pytest.mark.parametrize("kind", TABLES)
def test_table_is_filled(filled, kind):
    assert {(one.rows, one.why) for one in filled(TABLES[kind])} <= {(200, None)} or kind == "no columns"


def test_partitions_are_filled_within_their_bounds(filled):
    done = filled(
        "CREATE TABLE t (day date NOT NULL, n integer) PARTITION BY RANGE (day);"
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2010-01-01') TO ('2030-01-01');"
        "CREATE TABLE l (kind text) PARTITION BY LIST (kind); CREATE TABLE l1 PARTITION OF l FOR VALUES IN ('x', 'y')"
    )
    assert {one.table: one.rows for one in done} == {"t1": 200, "l1": 200}


def test_table_that_takes_no_made_up_row_says_why(filled):
    (done,) = filled(r"CREATE TABLE t (a text NOT NULL CHECK (a ~ '^[A-Z]{2}-\d{9}-[xyz]$'))")
    assert done.rows == 0
    assert done.why.startswith("no made-up row satisfies")


def test_fewer_rows_where_constraints_leave_no_room(filled):
    (done,) = filled("CREATE TABLE t (yes boolean UNIQUE)")
    assert (done.rows, done.why) == (2, "its constraints leave room for no more")
