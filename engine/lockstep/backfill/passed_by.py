"""Passed by: rows that are still to be done, that nobody holds, and that the UPDATE leaves out all the same.

A BEFORE UPDATE trigger that returns NULL, a rule, or row security does that without an error: the walk would go over
the whole table, and the last look would find the same rows for ever. Asked only where a batch has changed no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.backfill.ranges import Walk

    Key = tuple[str, ...]
    Condition = tuple[str, list[str]]

MOST_NAMED = 100
MESSAGE = "the UPDATE passes the row by"
CURE = (
    "{whose} leaves rows out of an UPDATE without an error: let this change through there, or leave those rows out of "
    "the predicate; then `migrator backfill` goes on"
)

# Row triggers before an UPDATE, as tgtype has them (https://www.postgresql.org/docs/current/catalog-pg-trigger.html,
# pg_trigger.h: 1 row, 2 before, 16 update), and rules.
_CAUSES = """
SELECT 'the trigger ' || tgname FROM pg_trigger WHERE tgrelid = to_regclass(%(place)s) AND NOT tgisinternal
   AND tgtype & 19 = 19 AND tgenabled NOT IN ('D', 'R')
UNION ALL SELECT 'the rule ' || rulename FROM pg_rewrite WHERE ev_class = to_regclass(%(place)s) AND ev_type = '2'
UNION ALL SELECT 'row security' WHERE row_security_active(to_regclass(%(place)s)::oid)"""
_HIDES_ROWS = "SELECT row_security_active(to_regclass(%s)::oid)"


def locked(cursor: Any, walk: Walk, where: Condition, *, aside: bool) -> list[Key]:
    """Lock rows that are still to be done and that nobody else holds, and return them."""
    cursor.execute(*walk.untouched(where, MOST_NAMED, aside=aside, lock="SKIP LOCKED"))
    return [tuple(row) for row in cursor.fetchall()]


def hidden(cursor: Any, walk: Walk, where: Condition, *, aside: bool) -> list[Key]:
    """Return rows that row security lets this role read and not lock. Raise LockNotAvailable where others hold them."""
    cursor.execute(_HIDES_ROWS, (walk.holder.place,))
    if not cursor.fetchone()[0]:
        return []
    cursor.execute(*walk.untouched(where, MOST_NAMED, aside=aside, lock=None))
    keys = [tuple(row) for row in cursor.fetchall()]
    if not keys:
        return []
    cursor.execute(*walk.untouched(walk.exactly(keys), len(keys), aside=aside, lock="NOWAIT"))
    return [] if cursor.fetchall() else keys


def cause(cursor: Any, walk: Walk) -> str:
    """Name what the table has that can leave a row out."""
    cursor.execute(_CAUSES, {"place": walk.holder.place})
    return ", ".join(name for (name,) in cursor.fetchall()) or "something in the table"
