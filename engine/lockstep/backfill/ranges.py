"""Ranges: the statements that walk a table by ranges of its key; never by OFFSET from the table's start.

(cursor, upper] is compared as a row, which PostgreSQL answers from the key's index whatever the columns' types are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep.postgres.statements import quoted

if TYPE_CHECKING:
    from lockstep.backfill.store import Backfill
    from lockstep.backfill.target import Holder

    Key = tuple[str, ...]

# Sparser numbers than this are cheaper found in the index than counted off.
DENSE = 0.5
STILL_SHOWN = 100


@dataclass(frozen=True)
class Walk:
    """One table that holds rows of a backfill, and the SQL to walk and change it."""

    backfill: Backfill
    holder: Holder
    estimate: int
    density: float = 0.0  # rows a number, where the key is one integer

    @property
    def _from(self) -> str:
        # Expressions name the table as it was declared, also where a partition holds the row.
        return f"ONLY {_text(self.holder.place)} AS {self._table}"

    @property
    def _table(self) -> str:
        return _name(self.backfill.relation)

    @property
    def _columns(self) -> str:
        return ", ".join(f"{self._table}.{_name(column)}" for column in self.holder.columns)

    @property
    def _texts(self) -> str:
        return ", ".join(f"{self._table}.{_name(column)}::text" for column in self.holder.columns)

    @property
    def _values(self) -> str:
        return ", ".join(f"%s::{_text(kind)}" for kind in self.holder.types)

    def _between(self, cursor: Key | None, upper: Key | None) -> tuple[str, list[str]]:
        parts, values = [], []
        for sign, key in ((">", cursor), ("<=", upper)):
            if key is not None:
                parts.append(f"({self._columns}) {sign} ({self._values})")
                values += key
        return " AND ".join(parts) or "true", values

    def last_key(self) -> tuple[str, tuple[()]]:
        """Return the SELECT of the greatest key, and its values: none."""
        # With the table's name: a bare one would be the column of the result, which is text.
        order = ", ".join(f"{self._table}.{_name(name)} DESC" for name in self.holder.columns)
        return f"SELECT {self._texts} FROM {self._from} ORDER BY {order} LIMIT 1", ()  # noqa: S608 - quoted names

    def bound(self, cursor: Any, after: Key | None, upper: Key, number: int) -> Key:
        """Return the key so many rows further on, at most `upper`.

        So many integers in a row hold at most so many rows: where few are missing, nothing has to be looked up.
        """
        if self.density >= DENSE and after is not None:
            return (str(min(int(after[0]) + number, int(upper[0]))),)
        between, values = self._between(after, upper)
        cursor.execute(
            f"SELECT {self._texts} FROM {self._from} WHERE {between} "  # noqa: S608 - quoted names
            f"ORDER BY {self._columns} LIMIT 1 OFFSET {number - 1}",
            values,
        )
        return cursor.fetchone() or upper

    def seen(self, number: int) -> int:
        """Return how many rows a batch of so many is taken to have walked over."""
        return int(number * self.density) if self.density >= DENSE else number

    def update(self, between: tuple[str, list[str]], *, skip_locked: bool, aside: bool) -> tuple[str, list[str]]:
        """Return the UPDATE of what is still to be done within some condition, and its values."""
        backfill = self.backfill
        sets = ", ".join(f"{_name(column)} = {_text(value)}" for column, value in backfill.assignments.items())
        where, values = self.undone(between, aside=aside)
        if skip_locked:
            where = (
                f"({self._columns}) IN (SELECT {self._columns} FROM {self._from} WHERE {where} "  # noqa: S608 - quoted names, and texts of our own
                f"FOR NO KEY UPDATE SKIP LOCKED) AND ({_text(backfill.predicate)})"
            )
        return f"UPDATE {self._from} SET {sets} WHERE {where}", values  # noqa: S608 - the revision's own SQL

    def undone(self, between: tuple[str, list[str]], *, aside: bool) -> tuple[str, list[str]]:
        """Return the condition of rows still to be done, those set aside left out, and its values."""
        where, values = between
        where = f"{where} AND ({_text(self.backfill.predicate)})"
        if not aside:
            return where, values
        where += (
            " AND NOT EXISTS (SELECT 1 FROM migrator.backfill_aside AS lockstep_aside "  # noqa: S608 - quoted names
            "WHERE lockstep_aside.backfill = %s AND lockstep_aside.namespace = %s AND lockstep_aside.relation = %s "
            f"AND lockstep_aside.key = ARRAY[{self._texts}])"
        )
        return where, [*values, self.backfill.name, self.holder.namespace, self.holder.relation]

    def batch(self, after: Key | None, upper: Key) -> tuple[str, list[str]]:
        """Return the condition of one batch."""
        return self._between(after, upper)

    def leased(self, after: Key | None, upper: Key, held: str) -> tuple[str, list[str]]:
        """Return the condition of one batch, which is nobody's row unless `held` holds the range that it is of."""
        between, values = self._between(after, upper)
        first = f"{self._table}.{_name(self.holder.columns[0])}"
        bound = f"SELECT (upper)[1]::{_text(self.holder.types[0])} FROM {held}"  # noqa: S608 - quoted names, and our own
        return f"{between} AND {first} <= ({bound})", values

    def exactly(self, keys: list[Key]) -> tuple[str, list[str]]:
        """Return the condition of some rows by their keys."""
        row = f"({self._values})"
        return f"({self._columns}) IN ({', '.join([row] * len(keys))})", [value for key in keys for value in key]

    def counted(self, update: tuple[str, list[str]]) -> tuple[str, list[str]]:
        """Return an UPDATE that tells how many rows it changed, and in which of them the predicate stayed true."""
        sql, values = update
        returning = f"RETURNING ARRAY[{self._texts}] AS key, ({_text(self.backfill.predicate)}) IS TRUE AS still"
        counted = f"SELECT count(*), (array_agg(key) FILTER (WHERE still))[1:{STILL_SHOWN}] FROM lockstep"  # noqa: S608 - quoted names, and texts of our own
        return f"WITH lockstep AS ({sql} {returning}) {counted}", values

    def untouched(
        self, where: tuple[str, list[str]], number: int, *, aside: bool, lock: str | None
    ) -> tuple[str, list[str]]:
        """Return the SELECT of keys within a condition that are still to be done; `lock`: NOWAIT, SKIP LOCKED."""
        condition, values = self.undone(where, aside=aside)
        locked = f" FOR NO KEY UPDATE {lock}" if lock else ""
        return f"SELECT {self._texts} FROM {self._from} WHERE {condition} LIMIT {number}{locked}", values  # noqa: S608 - quoted names, and texts of our own

    def left_over(self, number: int, *, aside: bool) -> tuple[str, list[str]]:
        """Return the SELECT of keys that are still to be done, wherever they are."""
        where, values = self.undone(("true", []), aside=aside)
        return f"SELECT {self._texts} FROM {self._from} WHERE {where} LIMIT {number}", values  # noqa: S608 - quoted names, and texts of our own

    def shown(self, key: Key) -> str:
        """Return a key as a person reads it: `users id=42`."""
        return f"{self.holder.relation} " + ", ".join(
            f"{column}={value}" for column, value in zip(self.holder.columns, key, strict=True)
        )


def _text(sql: str) -> str:
    """Return SQL as the driver wants it beside values: percent signs doubled."""
    return sql.replace("%", "%%")


def _name(name: str) -> str:
    """Return a name as SQL that the driver takes no part of for a value's place."""
    return _text(quoted(name))


def begin(cursor: Any, backfill: Backfill, holders: tuple[Holder, ...]) -> None:
    """Write the ranges of a backfill that has none yet, and that it runs; in one transaction."""
    cursor.execute("SELECT state FROM migrator.backfill WHERE name = %s FOR UPDATE", (backfill.name,))
    cursor.execute("SELECT 1 FROM migrator.backfill_range WHERE backfill = %s LIMIT 1", (backfill.name,))
    if cursor.fetchone() is None:
        estimate = 0
        for holder in holders:
            walk = measured(cursor, backfill, holder)
            estimate += walk.estimate
            cursor.execute(*walk.last_key())
            if (last := cursor.fetchone()) is not None:
                cursor.execute(
                    "INSERT INTO migrator.backfill_range (backfill, kind, namespace, relation, upper) "
                    "VALUES (%s, 'rest', %s, %s, %s)",
                    (backfill.name, holder.namespace, holder.relation, list(last)),
                )
        cursor.execute("INSERT INTO migrator.backfill_range (backfill, kind) VALUES (%s, 'final')", (backfill.name,))
        cursor.execute("UPDATE migrator.backfill SET estimate = %s WHERE name = %s", (estimate, backfill.name))
    cursor.execute(
        "UPDATE migrator.backfill SET state = 'running', note = NULL, started = coalesce(started, clock_timestamp()) "
        "WHERE name = %s AND (state IN ('new', 'failed') OR state = 'running' AND started IS NULL)",
        (backfill.name,),
    )


def measured(cursor: Any, backfill: Backfill, holder: Holder) -> Walk:
    """Return the walk of one table, with the planner's guess of its rows, which costs nothing."""
    cursor.execute(f"EXPLAIN (FORMAT JSON) SELECT 1 FROM ONLY {holder.place}")  # noqa: S608 - quoted names
    estimate = int(cursor.fetchone()[0][0]["Plan"]["Plan Rows"])
    density = 0.0
    if holder.is_integer:
        column = quoted(holder.columns[0])
        cursor.execute(f"SELECT min({column})::bigint, max({column})::bigint FROM ONLY {holder.place}")  # noqa: S608 - quoted names, and texts of our own
        low, high = cursor.fetchone()
        density = min(1.0, estimate / (high - low + 1)) if low is not None else 0.0
    return Walk(backfill, holder, estimate, density)
