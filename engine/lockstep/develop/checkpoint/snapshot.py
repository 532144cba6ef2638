"""Snapshot: all that a checkpoint has to say of a database at head; two of them can be compared."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy import make_url

from lockstep.develop.checkpoint import cluster, dump, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

# Literals are read back as they were written, whatever the database's own settings are; functions may name what
# comes after them; a long notice is no news.
_PREAMBLE = """\
SET LOCAL check_function_bodies = false;
SET LOCAL client_min_messages = warning;
SET LOCAL xmloption = content;
SET LOCAL row_security = off;
SET LOCAL standard_conforming_strings = on;
SET LOCAL datestyle = 'ISO, MDY';
SET LOCAL intervalstyle = 'postgres';"""
_SESSION = (
    "SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET bytea_output = 'hex'; "
    "SET extra_float_digits = 1; SET search_path = pg_catalog"
)
_EXTENSIONS = """
SELECT quote_ident(e.extname), e.extversion, n.nspname, obj_description(e.oid, 'pg_extension') = a.comment
  FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
  LEFT JOIN pg_available_extensions a ON a.name = e.extname ORDER BY 1"""


@dataclass(frozen=True)
class Snapshot:
    """What there is: statements of the cluster and the schema, rows by table, sequences that moved, extensions."""

    server: int
    cluster: tuple[str, ...]
    schema: tuple[str, ...]
    tables: dict[str, rows.Table]
    sequences: dict[str, str]
    extensions: tuple[tuple[str, str, str], ...]

    def sql(self, own: tuple[str, ...] = ()) -> str:
        """Return all of it as SQL: what foreign keys and triggers mind comes after the rows."""
        before, after = self._around_rows()
        filled = [line for table in self.tables.values() for line in table.without(own).statements]
        parts = [_PREAMBLE, *self.cluster, *before, *filled, *self.sequences.values(), *after]
        return "\n\n".join(parts)

    def _around_rows(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.schema[: self.split], self.schema[self.split :]

    split: int = 0  # how many statements of the schema come before the rows


@contextlib.contextmanager
def looking(url: str) -> Iterator[Any]:
    """Give a cursor for looking at a database, in one snapshot of it."""
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            cursor.execute(_SESSION)
            yield cursor


def take(url: str, version_table: str | None, roles_before: set[str]) -> Snapshot:
    """Read a database; raise Refused where something in it has no place in a checkpoint."""
    with looking(url) as cursor:
        cluster.require_place(cursor)
        cursor.execute(_EXTENSIONS)
        extensions = cursor.fetchall()
        plain = {name for name, _, _, is_plain in extensions if is_plain}
        before, after = (
            dump.schema(make_url(url), section, version_table, plain) for section in ("pre-data", "post-data")
        )
        return Snapshot(
            cursor.connection.server_version // 10000, cluster.statements(cursor, roles_before), before + after,
            rows.tables(cursor, version_table), rows.sequences(cursor), tuple(item[:3] for item in extensions),
            split=len(before),
        )  # fmt: skip


def differences(one: Snapshot, other: Snapshot, own: tuple[str, ...]) -> list[str]:
    """Return in which ways two databases differ, in a few words each; `own` columns do not count."""
    found = [f"schema: {text}" for text in _unlike(one.schema, other.schema)]
    found += [f"roles and settings: {text}" for text in _unlike(one.cluster, other.cluster)]
    found += [f"extensions: {text}" for text in _unlike(map(str, one.extensions), map(str, other.extensions))]
    found += [f"sequences: {text}" for text in _unlike(one.sequences.values(), other.sequences.values())]
    for name in sorted({*one.tables, *other.tables}):
        pair = (one.tables.get(name), other.tables.get(name))
        lines = [table.without(own).statements if table else [] for table in pair]
        if lines[0] != lines[1]:
            counts = [len(table.rows) if table else 0 for table in pair]
            found.append(f"rows of {name}: {counts[0]} and {counts[1]}, or other values")
    return found


def _unlike(one: Any, other: Any) -> list[str]:
    left, right = list(one), list(other)
    if left == right:
        return []
    only = [text for text in left if text not in right] + [text for text in right if text not in left]
    return [" ".join(text.split())[:160] for text in only] or ["the order of statements"]
