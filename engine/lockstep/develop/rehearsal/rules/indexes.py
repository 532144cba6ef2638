"""Rules about indexes."""

# ruff: noqa: ISC004 - an example of several lines stands in a tuple

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.develop.rehearsal.scene import Match, Rule, Scene, kept_out, lock_on

if TYPE_CHECKING:
    from collections.abc import Iterator


def _build(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        of_constraints = {item.name for item in seen.changes.constraints_added}
        for name, lock in scene.builds(seen):
            index = next(one for one in seen.changes.indexes_built if one.name == name)
            if name.rsplit(".", 1)[-1] not in of_constraints:
                unique = ", unique=True" if index.unique else ""
                yield Match(
                    at,
                    f"index {name} was built on {lock.relation}",
                    f"{kept_out(lock)} while an index over {scene.count(lock.relation)} is built",
                    "with op.get_context().autocommit_block():\n"
                    f'    op.create_index("{name}", "{lock.relation}", [...]{unique}, postgresql_concurrently=True)',
                )


def _rebuild(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        indexes = [index for index in seen.changes.indexes_rebuilt if index.table not in seen.changes.rewritten]
        tables = dict.fromkeys(
            index.table
            for index in indexes
            if not {index.table} & {*seen.changes.emptied} and scene.rows.get(index.table)
        )
        for table in tables:
            lock = lock_on(seen, table)
            if lock and lock.blocks_writes:
                names = ", ".join(index.name for index in indexes if index.table == table)
                yield Match(
                    at,
                    f"{names} of {table} was built anew",
                    f"{kept_out(lock)} while an index over {scene.count(table)} is built",
                    "with op.get_context().autocommit_block():\n"
                    '    op.execute("REINDEX INDEX CONCURRENTLY …")  # or, for a new type: add a column, copy, swap',
                )


def _again(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        skipped = any("already exists, skipping" in line for line in seen.notices)
        locks = [lock for lock in seen.taken if lock.standing and lock.blocks_writes]
        if seen.kind == "IndexStmt" and skipped and locks:
            yield Match(
                at,
                f"the index was there already, and SHARE on {locks[0].relation} was taken before that was noticed",
                f"{kept_out(locks[0])} for a moment, and behind every older transaction that writes",
                "leave it out, or ask pg_index whether it is there",
            )


def _drop(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        if seen.kind != "DropStmt" or seen.changes.tables_dropped:
            continue
        for index in seen.changes.indexes_dropped:
            lock = lock_on(seen, index.table)
            if lock and lock.blocks_reads:
                yield Match(
                    at,
                    f"index {index.name} was dropped under ACCESS EXCLUSIVE on {index.table}",
                    f"{kept_out(lock)} for a moment, and behind every older transaction",
                    "with op.get_context().autocommit_block():\n"
                    f'    op.drop_index("{index.name}", table_name="{index.table}", postgresql_concurrently=True)',
                )


def _invalid(scene: Scene) -> Iterator[Match]:
    broken: dict[str, tuple[int, str]] = {}
    for at, seen in enumerate(scene.rehearsed.up.observations):
        for index in seen.changes.indexes_built:
            if not index.valid and seen.outside and " ON ONLY " not in index.definition:
                broken[index.name] = (at, index.table)
        for index in seen.changes.indexes_dropped:
            broken.pop(index.name, None)
    for name, (at, table) in broken.items():
        yield Match(
            at,
            f"index {name} on {table} was left INVALID: nothing reads it, every write keeps it up",
            "nobody, but it costs every write",
            "let the build fail, or drop what it left with DROP INDEX CONCURRENTLY",
        )


RULES = (
    Rule(
        "index-blocks-writes", "error", "An index built without CONCURRENTLY",
        "CREATE INDEX keeps all writers out of the table until it is built.",
        bad='op.create_index("ix_orders_code", "orders", ["code"])',
        good=(
            "with op.get_context().autocommit_block():\n"
            '    op.create_index("ix_orders_code", "orders", ["code"], postgresql_concurrently=True)',
        ),
        check=_build,
    ),
    Rule(
        "index-rebuilt", "error", "An index of a table in use that is built anew",
        "REINDEX without CONCURRENTLY keeps writers out, and readers too as soon as they plan a query. "
        "timestamp to timestamptz rewrites no table where the time zone is UTC, but builds its indexes anew.",
        bad='op.execute("REINDEX TABLE orders")',
        good=(
            "with op.get_context().autocommit_block():\n"
            '    op.execute("REINDEX TABLE CONCURRENTLY orders")',
        ),
        check=_rebuild,
    ),
    Rule(
        "index-exists-already", "warning", "CREATE INDEX IF NOT EXISTS on a table in use",
        "The lock is taken before PostgreSQL sees that there is nothing to do.",
        bad='op.execute("CREATE INDEX IF NOT EXISTS orders_pkey ON orders (id)")',
        good=(
            "with op.get_context().autocommit_block():\n"
            '    op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_pkey ON orders (id)")',
        ),
        check=_again,
    ),
    Rule(
        "drop-index-locks-table", "warning", "An index dropped without CONCURRENTLY",
        "DROP INDEX takes ACCESS EXCLUSIVE on the table, and waits for it behind every query that runs.",
        bad='op.drop_index("ix_orders_customer", table_name="orders")',
        good=(
            "with op.get_context().autocommit_block():\n"
            '    op.drop_index("ix_orders_customer", table_name="orders", postgresql_concurrently=True)',
        ),
        check=_drop,
    ),
    Rule(
        "invalid-index-left", "error", "An INVALID index left behind",
        "A build of CREATE INDEX CONCURRENTLY that was cut off leaves an index that nothing reads and every write "
        "keeps up; IF NOT EXISTS passes over it.",
        bad="import contextlib\n"
        "with op.get_context().autocommit_block(), contextlib.suppress(sa.exc.IntegrityError):\n"
        '    op.execute("CREATE UNIQUE INDEX CONCURRENTLY uq_orders_flag ON orders ((1))")',
        good=(
            "with op.get_context().autocommit_block():\n"
            '    op.execute("CREATE UNIQUE INDEX CONCURRENTLY uq_orders_code ON orders (code)")',
        ),
        check=_invalid,
    ),
)  # fmt: skip
