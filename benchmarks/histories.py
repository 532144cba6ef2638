"""Histories: a number of revisions in, what each of them does out; the same for the same number, always.

A history as projects have it: some fifty tables that later revisions add columns and indexes to and take some away; or
one in which each revision makes a table, the longest final schema there can be for a number.
"""

from __future__ import annotations

from dataclasses import dataclass

TABLES = 50
ENOUGH = 8  # columns there are before any is taken away
LATER = ("column", "index", "column", "column", "drop", "rename")


@dataclass(frozen=True)
class Revision:
    """One revision: its number, its statements, and the same as Alembic's operations."""

    number: int
    sql: tuple[str, ...]
    operations: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"r{self.number:05d}"


def tables(count: int, *, only_tables: bool = False) -> int:
    return count if only_tables else min(TABLES, max(1, count // 2))


def history(count: int, *, only_tables: bool = False) -> list[Revision]:
    """Return the revisions, the first first."""
    made, columns = [], []
    there = tables(count, only_tables=only_tables)
    for number in range(count):
        if number < there:
            made.append(_table(number))
            continue
        table, kind = f"t{number * 7 % there}", LATER[number % len(LATER)]
        if kind == "column" or len(columns) < ENOUGH:
            columns.append((table, f"c{number}"))
            made.append(_column(number, *columns[-1]))
        elif kind == "index":
            made.append(_index(number, *columns[number % len(columns)]))
        else:
            make = _drop if kind == "drop" else _rename
            table, column = columns.pop(number * 5 % len(columns))
            made.append(make(number, table, column))
            if kind == "rename":
                columns.append((table, f"n{number}"))
    return made


def _table(n: int) -> Revision:
    columns = (
        "sa.Column('id', sa.BigInteger, sa.Identity(always=True), primary_key=True), "
        "sa.Column('name', sa.Text, nullable=False)"
    )
    return Revision(
        n,
        (f"CREATE TABLE t{n} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL)",),
        (f"op.create_table('t{n}', {columns})",),
    )


def _column(n: int, table: str, column: str) -> Revision:
    return Revision(
        n,
        (f"ALTER TABLE {table} ADD COLUMN {column} text",),
        (f"op.add_column('{table}', sa.Column('{column}', sa.Text, nullable=True))",),
    )


def _index(n: int, table: str, column: str) -> Revision:
    return Revision(
        n,
        (f"CREATE INDEX i{n} ON {table} ({column})",),
        (f"op.create_index('i{n}', '{table}', ['{column}'])",),
    )


def _drop(n: int, table: str, column: str) -> Revision:
    return Revision(n, (f"ALTER TABLE {table} DROP COLUMN {column}",), (f"op.drop_column('{table}', '{column}')",))


def _rename(n: int, table: str, column: str) -> Revision:
    return Revision(
        n,
        (f"ALTER TABLE {table} RENAME COLUMN {column} TO n{n}",),
        (f"op.alter_column('{table}', '{column}', new_column_name='n{n}')",),
    )
