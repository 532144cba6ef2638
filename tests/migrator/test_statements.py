"""Statements: what the runner reads out of SQL text."""

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from lockstep.postgres import statements


@pytest.mark.parametrize(
    ("sql", "patient"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", True),
        ("CREATE INDEX i ON t (a)", False),
        ("DROP INDEX CONCURRENTLY i", True),
        ("DROP INDEX i", False),
        ("REINDEX INDEX CONCURRENTLY i", True),
        ("REINDEX (CONCURRENTLY) TABLE t", True),
        ("REINDEX TABLE t", False),
        ("ALTER TABLE t VALIDATE CONSTRAINT c", True),
        ("ALTER TABLE t VALIDATE CONSTRAINT c, ADD COLUMN a int", False),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", True),
        ("ALTER TABLE t DETACH PARTITION p", False),
        ("ALTER TABLE t ADD COLUMN a int", False),
        ("ALTER TYPE e ADD VALUE 'x'", True),
        ("VACUUM (ANALYZE) t", True),
        ("VACUUM FULL t", False),
        ("VACUUM (FULL) t", False),
        ("UPDATE t SET a = %(a)s WHERE b = %s", False),
        ("CREATE INDEX CONCURRENTLY i ON t (a); DROP TABLE t", False),
        ("SOMETHING NEW CONCURRENTLY", False),
        ("", False),
    ],
)
def test_work_that_blocks_nobody_while_it_waits(sql, patient):
    assert statements.parse(sql).patient is patient


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT count(*) FROM t", True),
        ("SELECT a FROM t FOR UPDATE", True),
        ("WITH x AS (SELECT 1) SELECT * FROM x", True),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", False),
        ("WITH y AS (WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x) SELECT * FROM y", False),
        ("SELECT a INTO u FROM t", False),
        ("SET lock_timeout = 0", True),
        ("SHOW lock_timeout", True),
        ("EXPLAIN SELECT 1", True),
        ("EXPLAIN ANALYZE DELETE FROM t", False),
        ("INSERT INTO t SELECT 1", False),
    ],
)
def test_what_only_reads(sql, reads):
    assert statements.parse(sql).reads is reads


@pytest.mark.parametrize(
    ("sql", "ends"),
    [
        ("COMMIT", True),
        ("commit ; ", True),
        ("ROLLBACK", True),
        ("BEGIN", True),
        ("END", True),
        ("ALTER TABLE t ADD COLUMN a int; COMMIT; SELECT 1", True),
        ("PREPARE TRANSACTION 'x'", True),
        ("SAVEPOINT a", False),
        ("ROLLBACK TO a", False),
        ("RELEASE a", False),
        ("DO $$ BEGIN PERFORM 1; END $$", False),
    ],
)
def test_what_ends_the_transaction(sql, ends):
    assert statements.parse(sql).ends_transaction is ends


def test_the_name_of_an_index_is_quoted_and_in_the_schema_of_its_table():
    assert statements.parse('CREATE INDEX CONCURRENTLY "a""B" ON "S".t (x)').creates_index == '"S"."a""B"'


def test_the_literals_of_somebody_elses_statement_are_masked():
    assert (
        statements.without_literals("UPDATE u SET p = 'se''cret', n = 42 WHERE\n  a = $1")
        == "UPDATE u SET p = ?, n = ? WHERE a = $?"
    )
    for text in (
        "SELECT $$hunter2$$",
        "SELECT $a$hunter2$a$",
        "SELECT E'a\\'hunter2'",
        "SELECT 'hunter2",
        "SELECT U&'hunter2'",
    ):
        assert "hunter2" not in statements.without_literals(text)


@given(st.text(alphabet=":\\a1$% '_é\t(?[]{}", max_size=16), st.sampled_from(["pyformat", "named"]))
def test_no_text_has_bind_parameters_for_sqlalchemy(text, paramstyle):
    compiled = str(sa.text(statements.unbound(text)).compile(dialect=PGDialect_psycopg2(paramstyle=paramstyle)))
    assert (compiled.replace("%%", "%") if paramstyle == "pyformat" else compiled) == text
