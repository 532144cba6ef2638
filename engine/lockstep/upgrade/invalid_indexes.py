"""Invalid indexes: drop what an index build outside of a transaction left behind when it was cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.postgres.statements import Statement


class LeftBehind:
    """The INVALID indexes that one statement leaves behind when it is cut off."""

    def __init__(self, statement: Statement) -> None:
        """Look for those of this statement."""
        self._statement = statement
        self._others: set[str] = set()

    def look(self, cursor: Any) -> None:
        """Remember what was there before the statement ran: that is not of its making."""
        self._others = set(self._found(cursor))

    def clear(self, cursor: Any) -> None:
        """Drop them; nothing reads an INVALID index."""
        for name in self._found(cursor):
            if name not in self._others:
                cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")

    def _found(self, cursor: Any) -> list[str]:
        index = self._statement.creates_index
        if index:
            return [index] if is_valid(cursor, index) is False else []
        if not self._statement.reindexes:
            return []
        cursor.execute(_REINDEX_RUBBLE)
        return [row[0] for row in cursor.fetchall()]


# https://www.postgresql.org/docs/current/sql-reindex.html: the names that REINDEX CONCURRENTLY leaves behind.
_REINDEX_RUBBLE = r"""
SELECT c.oid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE NOT i.indisvalid AND c.relkind = 'i' AND c.relname ~ '_cc(new|old)[0-9]*$'
   AND c.relnamespace <> 'pg_toast'::regnamespace AND pg_has_role(c.relowner, 'USAGE')
   AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index p WHERE p.index_relid = c.oid)"""


def is_valid(cursor: Any, index: str) -> bool | None:
    """Return whether an index is valid; None when there is none of that name."""
    cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (index,))
    row = cursor.fetchone()
    return row[0] if row else None
