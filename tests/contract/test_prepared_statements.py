"""What a change of types does to the prepared statements of real drivers; it is said of those, and of no others."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from lockstep.contract.footprint import Watch
from lockstep_gate.contract import derive

METADATA = sa.MetaData()
T = sa.Table(
    "t",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("word", sa.String(50)),
    sa.Column("number", sa.Integer),
)
CHANGES = {
    "a longer string": ("ALTER TABLE t ALTER word TYPE varchar(100)", True),
    "text": ("ALTER TABLE t ALTER word TYPE text", True),
    "bigint": ("ALTER TABLE t ALTER number TYPE bigint", True),
    "a collation": ('ALTER TABLE t ALTER word TYPE varchar(50) COLLATE "C"', True),
    "a new column": ("ALTER TABLE t ADD COLUMN other int", False),
    "a column that it does not know": ("ALTER TABLE t ALTER unknown TYPE text", False),
    "NOT NULL": ("ALTER TABLE t ALTER word SET NOT NULL", False),
    "a default": ("ALTER TABLE t ALTER word SET DEFAULT 'x'", False),
    "an index": ("CREATE INDEX ON t (word)", False),
}
DRIVERS = {"psycopg2": False, "pg8000": False, "psycopg": True, "asyncpg": True}
OFTEN = 8  # more than psycopg's threshold


@pytest.fixture
def url(database):
    execute(database, "CREATE TABLE t (id int PRIMARY KEY, word varchar(50), number int, unknown varchar(50))")
    execute(database, "INSERT INTO t VALUES (1, 'a', 1, 'a')")
    return database


def execute(url, sql):
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)


def outcomes(url, driver, change, **options):
    """Read the table often on one connection, then three times after the change: "fails" or "" of each."""
    named = sa.make_url(url).set(drivername=f"postgresql+{driver}")
    if driver != "asyncpg":
        return _outcomes(sa.create_engine(named, **options), url, change)

    async def inside():
        engine = create_async_engine(named, **options)
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(lambda one: _read(one, url, change))
        finally:
            await engine.dispose()

    return asyncio.run(inside())


def _outcomes(engine, url, change):
    try:
        with engine.connect() as connection:
            return _read(connection, url, change)
    finally:
        engine.dispose()


def _read(connection, url, change):
    for _ in range(OFTEN):
        connection.execute(sa.select(T))
        connection.commit()
    execute(url, change)
    found = []
    for _ in range(3):
        try:
            connection.execute(sa.select(T))
            connection.commit()
            found.append("")
        except sa.exc.DBAPIError as error:
            found.append("fails" if "cached" in str(error.orig) else str(error))  # asyncpg says it in other words
            connection.rollback()
    return found


def said(url, driver, change):
    """Tell whether the rules say that prepared statements fail."""
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        watch = Watch()
        watch.look(connection, [])
        connection.exec_driver_sql(change)
        found = watch.found(connection, [derive(METADATA)], drivers=frozenset({driver}))
        connection.rollback()
    return [str(one.need) for one in found if one.need.rule == "prepared-stale"]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("change", CHANGES)
def test_what_fails_is_said_and_what_does_not_is_not(change, driver, url):
    sql, changes_a_result = CHANGES[change]
    fails = changes_a_result and DRIVERS[driver]
    told = said(url, driver, sql)
    assert outcomes(url, driver, sql) == (["fails", "", ""] if fails else ["", "", ""])
    assert [driver in one for one in told] == ([True] if fails else [])


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("psycopg", {"connect_args": {"prepare_threshold": None}}),
        ("asyncpg", {"connect_args": {"prepared_statement_cache_size": 0}}),
    ],
)
def test_where_nothing_is_prepared_nothing_fails(driver, options, url):
    assert outcomes(url, driver, CHANGES["a longer string"][0], **options) == ["", "", ""]


def test_of_a_driver_that_is_not_told_it_is_said_that_it_is_not(url):
    [told] = said(url, "", CHANGES["a longer string"][0])
    assert "the release does not report its driver" in told


def test_of_a_driver_that_nobody_here_knows_it_is_said_too(url):
    [told] = said(url, "pgx", CHANGES["a longer string"][0])
    assert "with pgx" in told
    assert "where it prepares statements" in told
