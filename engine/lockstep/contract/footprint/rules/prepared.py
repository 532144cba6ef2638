"""Rules about prepared statements, which a driver keeps on its connections, and which a change of types makes an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.contract.footprint.scene import UNKNOWN, Match, Rule, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Thing

# Tried with each of them, by SQLAlchemy: tests/contract/test_prepared_statements.py.
PREPARES_NOTHING = {"psycopg2", "psycopg2cffi", "pg8000"}
FAILS = "a transaction that reads it fails once"
OF_DRIVERS = {
    "asyncpg": f"{FAILS} on each connection (by SQLAlchemy, once in each process)",
    "psycopg": f"{FAILS} on each connection that has sent the statement more than prepare_threshold (five) times",
    "": f"{FAILS} on each connection, where statements are prepared; the release does not report its driver",
}
_ELSE = f"{FAILS} on each connection, where it prepares statements"


def _stale(scene: Scene, _change: None) -> Iterator[Match]:
    """Compare what PostgreSQL compares: the columns of a result by type, its length and its collation."""
    for driver in sorted(scene.drivers - PREPARES_NOTHING):
        for before, after in _changed(scene):
            yield Match(
                after,
                f"its prepared statements, with {driver or 'its driver'}, to give {_words(before)}",
                f"{_words(after)}: {OF_DRIVERS.get(driver, _ELSE)}",
                after.owner,
                after.name,
            )


def _changed(scene: Scene) -> Iterator[tuple[Thing, Thing]]:
    """Give each column that releases read whose values come as another type; what was not read again is the same."""
    for oid in scene.mapped_after:
        there = scene.after.relations[oid]
        old = scene.before.find("relation", there.schema, there.name)
        if old is None or scene.before.of.get(old.oid) is scene.after.of.get(oid):
            continue
        was = {one.name: one for one in scene.before.those("column", old.oid)}
        for after in scene.after.those("column", oid):
            before = was.get(after.name)
            if before is not None and _result(before) != _result(after) and scene.columns(oid, after.name):
                yield before, after


def _result(column: Thing) -> tuple[str | None, ...]:
    return column["type_oid"], column["modifier"], column["collation"]


def _words(column: Thing) -> str:
    return f"{column['type']} COLLATE {column['collation']}" if column["collation"] else column["type"] or ""


RULES = (
    Rule(
        "prepared-stale", UNKNOWN, "A result that prepared statements do not expect",
        "PostgreSQL refuses a statement that was prepared before (`cached plan must not change result type`, 0A000; asyncpg: InvalidCachedStatementError), "
        "whatever became of the type, from `varchar(50)` to `varchar(100)` too. asyncpg prepares every statement, psycopg 3 what was "
        "sent more than five times; psycopg2 and pg8000 prepare none, and nothing is said of them.",
        "let the release try such a transaction again, or prepare nothing meanwhile (asyncpg by SQLAlchemy: "
        "prepared_statement_cache_size=0, psycopg: prepare_threshold=None)",
        (), _stale,
        bad="ALTER TABLE orders ALTER state TYPE varchar(30)", good="ALTER TABLE orders ADD COLUMN state2 varchar(30)",
    ),
)  # fmt: skip
