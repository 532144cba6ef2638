"""Rules about rows that a revision writes."""

# ruff: noqa: ISC004, S608 - an example of several lines stands in a tuple, and SQL in it is an example

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.develop.rehearsal.observation import BACKFILL
from lockstep.develop.rehearsal.scene import Match, Rule, Scene, kept_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.develop.rehearsal.observation import Observation

_DATA = {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "DoStmt", "CallStmt"}


def _after_lock(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        if seen.kind.rstrip("+") not in _DATA:
            continue
        taken = {lock.relation for lock in seen.taken if lock.blocks_writes}
        locks = [lock for lock in seen.held if lock.standing and lock.blocks_writes and lock.relation not in taken]
        worked = [(table, count) for table, count in _work(seen) if scene.many(table, count)]
        if locks and worked:
            table, count = worked[0]
            yield Match(
                at,
                f"{count:,} rows of {table} were read or written while locks of earlier statements were held",
                f"{' and '.join(map(kept_out, locks))} until that is done",
                "give the change of rows a revision of its own, before or after the change of the schema, and do it\n"
                "in batches, each in a transaction of its own",
            )


def _work(seen: Observation) -> tuple[tuple[str, int], ...]:
    return (*seen.rows_written, *seen.rows_read)


def _whole(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for table, count in seen.rows_written:
            there = scene.rows.get(table, 0)
            if seen.kind.rstrip("+") not in {"InsertStmt", BACKFILL} and there and count >= max(2, there * 0.9):
                yield Match(
                    at,
                    f"{count:,} of {there:,} rows of {table} were written in one transaction "
                    f"({seen.wal_bytes // 1024:,} KiB of WAL)",
                    f"every write to a row of {table} that it has changed already, until it is done",
                    "with op.get_context().autocommit_block():  # batches by key, each in a transaction of its own\n"
                    "    for start in range(0, highest, 5000):\n"
                    f'        op.execute(f"UPDATE {table} SET … WHERE id > {{start}} AND id <= {{start + 5000}}")',
                )


RULES = (
    Rule(
        "data-after-lock", "error", "Rows changed under the lock of a change of the schema",
        "A lock is held until its transaction ends, so the whole back-fill runs while nobody can use the table.",
        bad='op.add_column("orders", sa.Column("total", sa.Integer(), nullable=True))\n'
        'op.execute("UPDATE orders SET total = amount WHERE id > 100")',
        good=(
            'op.add_column("orders", sa.Column("total", sa.Integer(), nullable=True))',
            "with op.get_context().autocommit_block():\n"
            "    for start in range(0, 100_000, 50):\n"
            '        op.execute(f"UPDATE orders SET total = amount WHERE id > {start} AND id <= {start + 50}")\n'
            "        if start > 1000:\n"
            "            break",
        ),
        check=_after_lock,
    ),
    Rule(
        "writes-whole-table", "warning", "Every row of a table written in one transaction",
        "Each row stays locked until the last one is done, the table doubles, and replicas fall behind.",
        bad="op.execute(\"UPDATE orders SET note = 'x'\")",
        good=(
            "with op.get_context().autocommit_block():\n"
            "    for start in range(0, 1000, 50):\n"
            "        op.execute(f\"UPDATE orders SET note = 'x' WHERE id > {start} AND id <= {start + 50}\")",
        ),
        check=_whole,
    ),
)  # fmt: skip
