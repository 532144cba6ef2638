"""Rules about whole tables, partitions and materialized views."""

# ruff: noqa: ISC004, S608 - an example of several lines stands in a tuple, and SQL in it is an example

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.develop.rehearsal.scene import Match, Rule, Scene, kept_out, lock_on

if TYPE_CHECKING:
    from collections.abc import Iterator


def _copied(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for table, lock in scene.rewrites(seen):
            of_column = any(
                item.table == table
                for item in (*seen.changes.columns_added, *(new for _, new in seen.changes.columns_altered))
            )
            if not of_column and seen.kind != "RefreshMatViewStmt":
                yield Match(
                    at,
                    f"{table} was copied whole",
                    f"{kept_out(lock)} while {scene.count(table)} are copied",
                    "leave it to a tool that copies beside the table (pg_repack), or to a quiet hour",
                )


def _refreshed(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for table, lock in scene.rewrites(seen):
            if seen.kind == "RefreshMatViewStmt":
                yield Match(
                    at,
                    f"materialized view {table} was built anew",
                    f"{kept_out(lock)} while its query runs",
                    f'op.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY {table}")  # needs a unique index on it',
                )


def _emptied(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for table in seen.changes.emptied:
            lock = lock_on(seen, table)
            if lock:
                yield Match(
                    at,
                    f"{table} was emptied: {scene.count(table)} are gone",
                    f"{kept_out(lock)} for a moment; no downgrade brings the rows back",
                    "delete in batches, or leave the rows to a job that is not a migration",
                )


def _scanned(scene: Scene) -> Iterator[Match]:
    """Find scans that no other rule has a name for: attaching a partition, a rule, an extension."""
    for at, seen in scene.statements:
        changes = seen.changes
        known = (
            any(item.kind in "cfp" for item in changes.constraints_added)
            or changes.constraints_validated
            or any(old.type != new.type or old.not_null != new.not_null for old, new in changes.columns_altered)
            or seen.kind == "AlterDomainStmt"
        )
        partitions = {name for name, _ in changes.partitions_made}
        for table, count, lock in scene.scans(seen):
            if partitions or not known:
                yield Match(
                    at,
                    f"all of {table} was read" + (" to attach a partition" if partitions else ""),
                    f"{kept_out(lock)} while {count:,} rows are read",
                    "give the partition a validated CHECK that says the same as its bound before ATTACH "
                    "(and the default partition one that says the contrary): then nothing is read"
                    if partitions
                    else "",
                )


def _partition(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for partition, parent in seen.changes.partitions_made:
            lock = lock_on(seen, parent)
            if lock and lock.blocks_reads and partition in seen.changes.tables_made:
                yield Match(
                    at,
                    f"making {partition} took ACCESS EXCLUSIVE on {parent}",
                    f"{kept_out(lock)} for a moment, and behind every older transaction",
                    f'op.execute("CREATE TABLE {partition} (LIKE {parent} INCLUDING ALL)")\n'
                    f'op.execute("ALTER TABLE {parent} ATTACH PARTITION {partition} FOR VALUES …")  # keeps nobody out',
                )


def _detach(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for partition, parent in seen.changes.partitions_detached:
            lock = lock_on(seen, parent)
            if lock and lock.blocks_reads and not seen.outside:
                yield Match(
                    at,
                    f"detaching {partition} took ACCESS EXCLUSIVE on {parent}",
                    f"{kept_out(lock)} for a moment, and behind every older transaction",
                    "with op.get_context().autocommit_block():\n"
                    f'    op.execute("ALTER TABLE {parent} DETACH PARTITION {partition} CONCURRENTLY")',
                )


_PARTS = (
    "CREATE TABLE days (day date NOT NULL, note text) PARTITION BY RANGE (day);"
    "CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2000-01-01') TO ('2040-01-01');"
)

_ATTACH = "ALTER TABLE days ATTACH PARTITION old_days FOR VALUES FROM ('1990-01-01') TO ('2000-01-01')"

RULES = (
    Rule(
        "table-copied", "error", "A table that is copied whole",
        "VACUUM FULL, CLUSTER, SET LOGGED or UNLOGGED, another tablespace or access method copy the table and all its "
        "indexes under ACCESS EXCLUSIVE.",
        bad='op.execute("ALTER TABLE orders SET UNLOGGED")',
        good=('op.execute("ALTER TABLE orders SET (fillfactor = 90)")',),
        check=_copied,
    ),
    Rule(
        "refresh-locks-readers-out", "error", "A materialized view refreshed without CONCURRENTLY",
        "Nobody can read it until its query is done.",
        bad='op.execute("REFRESH MATERIALIZED VIEW sums")',
        good=(
            'op.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY sums")',
        ),
        check=_refreshed,
        setup="CREATE MATERIALIZED VIEW sums AS SELECT n FROM generate_series(1, 100) AS n; "
        "CREATE UNIQUE INDEX ON sums (n)",
    ),
    Rule(
        "truncates-table", "error", "TRUNCATE of a table in use",
        "ACCESS EXCLUSIVE on it and, with CASCADE, on every table that refers to it; and the rows are gone.",
        bad='op.execute("TRUNCATE orders")',
        good=('op.execute("DELETE FROM orders WHERE id <= 5")',),
        check=_emptied,
    ),
    Rule(
        "scans-under-lock", "error", "A table read through while writers are kept out",
        "Whatever the statement is: it read every row while it held the lock. Attaching a partition without a CHECK "
        "that proves its bound does, and reads the default partition too.",
        bad=f'op.execute("{_ATTACH}")',
        good=(
            'op.create_check_constraint("bound", "old_days", "day >= \'1990-01-01\' AND day < \'2000-01-01\'", '
            "postgresql_not_valid=True)",
            'op.execute("ALTER TABLE old_days VALIDATE CONSTRAINT bound")',
            f'op.execute("{_ATTACH}")',
        ),
        check=_scanned,
        setup=_PARTS + "CREATE TABLE old_days (day date NOT NULL, note text);"
        "INSERT INTO old_days SELECT '1990-01-01'::date + n % 3000 FROM generate_series(1, 500) AS n",
    ),
    Rule(
        "partition-locks-parent", "warning", "CREATE TABLE … PARTITION OF",
        "It takes ACCESS EXCLUSIVE on the parent; ATTACH of a table made beside it takes a lock that keeps nobody out.",
        bad="op.execute(\"CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2040-01-01') TO ('2041-01-01')\")",
        good=(
            'op.execute("CREATE TABLE days_2 (LIKE days INCLUDING ALL)")\n'
            "op.execute(\"ALTER TABLE days ATTACH PARTITION days_2 FOR VALUES FROM ('2040-01-01') TO ('2041-01-01')\")",
        ),
        check=_partition,
        setup=_PARTS,
    ),
    Rule(
        "detach-locks-parent", "warning", "DETACH PARTITION without CONCURRENTLY",
        "It takes ACCESS EXCLUSIVE on the parent, and on the partition.",
        bad='op.execute("ALTER TABLE days DETACH PARTITION days_1")',
        good=(
            "with op.get_context().autocommit_block():\n"
            '    op.execute("ALTER TABLE days DETACH PARTITION days_1 CONCURRENTLY")',
        ),
        check=_detach,
        setup=_PARTS,
    ),
)  # fmt: skip
