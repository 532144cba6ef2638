"""Clients: threads that read, insert and update as an app does, and note how long each statement waited."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import Any

import psycopg2

from lockstep.develop.rehearsal import rows
from lockstep.postgres.statements import quoted

PAUSE_S = 0.004
MOST_KEYS = 500
NEW_ROWS_FROM = 20_000_000  # the numbers of made-up rows that clients insert begin here

_TABLES = """
SELECT c.oid::bigint, c.oid::regclass::text, a.attname,
       array(SELECT quote_ident(x.attname) FROM pg_attribute x
              WHERE x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped ORDER BY x.attnum),
       (SELECT x.attname FROM pg_attribute x WHERE x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped
           AND x.attgenerated = '' AND x.attidentity = '' AND x.attnum <> a.attnum
           AND NOT EXISTS (SELECT FROM pg_index y WHERE y.indrelid = c.oid AND x.attnum = ANY (y.indkey))
         ORDER BY x.attnum LIMIT 1)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
 WHERE c.relkind = 'r' AND c.reltuples > 0 AND NOT c.relispartition
   AND NOT (c.relnatts = 1 AND a.attname = 'version_num')  -- Alembic's own
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'migrator')"""


@dataclass(frozen=True)
class Sample:
    """One statement of a client: when it was sent, how long its answer took."""

    at_s: float
    ms: float
    kind: str
    table: str
    error: str | None = None


@dataclass(frozen=True)
class Work:
    """What clients do on one table; its columns are named, as an ORM names them."""

    table: str
    keys: tuple[Any, ...]
    select: str
    update: str | None
    insert: str | None


def works(cursor: Any, later: Any = None) -> tuple[Work, ...]:
    """Return what to do on each table that holds rows and has a primary key of one column.

    `later` is a cursor on the database as the revisions leave it.
    """
    cursor.execute(_TABLES)
    return tuple(_work(cursor, later, *row) for row in cursor.fetchall())


def _work(cursor: Any, later: Any, oid: int, table: str, key: str, columns: list[str], other: str | None) -> Work:
    cursor.execute(f"SELECT {quoted(key)} FROM {table} LIMIT {MOST_KEYS}")  # noqa: S608 - regclass gives it quoted
    keys = tuple(value for (value,) in cursor.fetchall())
    # psycopg2 takes a % for a parameter
    name, listed = table.replace("%", "%%"), ", ".join(columns).replace("%", "%%")
    column = quoted(other).replace("%", "%%") if other else ""
    where = f"WHERE {quoted(key).replace('%', '%%')} = %(key)s"
    update = f"UPDATE {name} SET {column} = {column} {where}" if other else None  # noqa: S608 - quoted names
    select = f"SELECT {listed} FROM {name} {where}"  # noqa: S608 - quoted names
    to_come = rows.foreign_keys(later, table) if later else []
    return Work(table, keys, select, update, rows.insert_one(cursor, oid, to_come))


class Client(threading.Thread):
    """One client: it reads mostly, and inserts and updates now and then, one statement a transaction."""

    def __init__(self, raw: Any, works: tuple[Work, ...], number: int, began: float, over: threading.Event) -> None:
        """Take a connection of its own, what to do, and when to leave."""
        super().__init__(daemon=True, name=f"client {number}")
        self.samples: list[Sample] = []
        self._raw, self._works, self._began, self._over = raw, works, began, over
        self._random = random.Random(number)  # noqa: S311 - the same load every time
        self._next = NEW_ROWS_FROM + number * 1_000_000
        raw.autocommit = True

    def run(self) -> None:
        """Work until told to leave."""
        while self._works and not self._over.wait(PAUSE_S):
            work = self._random.choice(self._works)
            kind = self._random.choices(("read", "insert", "update"), (6, 1, 3))[0]
            self._do(work, kind)
        self._raw.close()

    def _do(self, work: Work, kind: str) -> None:
        sql = {"read": work.select, "insert": work.insert, "update": work.update}[kind]
        if sql is None:
            return
        self._next += 1
        parameters = {"key": self._random.choice(work.keys), "number": self._next}
        began = time.monotonic()
        error = None
        try:
            with self._raw.cursor() as cursor:
                cursor.execute(sql, parameters)
        except psycopg2.Error as failed:
            error = (failed.diag.message_primary or str(failed)).strip()
        took = (time.monotonic() - began) * 1000
        self.samples.append(Sample(began - self._began, took, kind, work.table.removeprefix("public."), error))
