"""Rules about transactions: locks that add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.develop.rehearsal.scene import Match, Rule, Scene, kept_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.develop.rehearsal.observation import Lock, Pass

MOST_WRITE_LOCKS = 2  # a foreign key needs its two tables
LONG_MS = 2000
_QUIET = {"SelectStmt", "VariableSetStmt", "VariableShowStmt", "CommentStmt"}


def _several(scene: Scene) -> Iterator[Match]:
    """Find transactions that lock several tables in use by several statements, each said once, where it is first so."""
    said: set[int] = set()
    for at, seen in scene.statements:
        if seen.transaction in said or seen.kind == "DropStmt":
            continue
        new = {lock.relation for lock in seen.taken if lock.standing and lock.blocks_reads}
        held = [lock for lock in seen.held if lock.standing and lock.blocks_reads]
        if new and any(lock.relation not in new for lock in held):
            said.add(seen.transaction)
            yield _added_up(at, held)


def _added_up(at: int, held: list[Lock]) -> Match:
    names = " and ".join(lock.relation for lock in held)
    return Match(
        at,
        f"one transaction holds ACCESS EXCLUSIVE on {names}",
        f"{' and '.join(map(kept_out, held))} until it ends; with clients that take them in another order, a deadlock",
        "one table a revision: each revision is a transaction of its own",
    )


def _parents(scene: Scene) -> Iterator[Match]:
    said: set[int] = set()
    for at, seen in scene.statements:
        held = [lock for lock in seen.held if lock.standing and lock.blocks_writes]
        if seen.transaction in said or len(held) <= MOST_WRITE_LOCKS or all(lock.blocks_reads for lock in held):
            continue
        if any(item.kind == "f" for item in seen.changes.constraints_added):
            said.add(seen.transaction)
            yield Match(
                at,
                f"foreign keys lock {', '.join(lock.relation for lock in held)} in one transaction",
                f"{' and '.join(map(kept_out, held))} until it ends",
                "one foreign key a revision",
            )


def _drop(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        gone = set(seen.changes.tables_dropped)
        others = [lock for lock in seen.taken if lock.standing and lock.blocks_reads and lock.relation not in gone]
        if gone and others and any(item.kind == "f" for item in seen.changes.constraints_dropped):
            yield Match(
                at,
                f"dropping {', '.join(sorted(gone))} locked the tables its foreign keys lead to or come from",
                f"{' and '.join(map(kept_out, others))} for a moment, and behind every older transaction",
                f'op.drop_constraint("…", "{min(gone)}", type_="foreignkey")  # a revision for each\n'
                f'# next revision\nop.drop_table("{min(gone)}")',
            )


def _foreign_key(scene: Scene) -> Iterator[Match]:
    drops = [
        (at, seen, item) for at, seen in scene.statements if not seen.changes.tables_dropped
        for item in seen.changes.constraints_dropped if item.kind == "f"
    ]  # fmt: skip
    for at, seen, item in drops:
        locks = [lock for lock in seen.held if lock.standing and lock.blocks_reads]
        others = [
            other for number, other in scene.statements
            if number != at and other.transaction == seen.transaction and other.kind not in _QUIET
        ]  # fmt: skip
        if len(locks) > 1 and others:
            yield Match(
                at,
                f"dropping foreign key {item.name} took ACCESS EXCLUSIVE on {' and '.join(x.relation for x in locks)}, "
                "in a transaction that locks more",
                f"{' and '.join(map(kept_out, locks))} until it ends",
                f'op.drop_constraint("{item.name}", "{item.table}", type_="foreignkey")  # alone in its revision',
            )


def _lock_table(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        locks = [lock for lock in seen.taken if lock.standing and lock.blocks_reads]
        if seen.kind == "LockStmt" and locks:
            yield Match(
                at,
                f"LOCK TABLE took ACCESS EXCLUSIVE on {', '.join(lock.relation for lock in locks)}",
                f"{' and '.join(map(kept_out, locks))} until the transaction ends",
                "leave it out, or name the weakest mode that does: LOCK TABLE … IN SHARE ROW EXCLUSIVE MODE",
            )


def _after(done: Pass) -> list[float]:
    """Return for each statement how long its transaction went on after it."""
    ends = {seen.transaction: seen.began_ms + seen.duration_ms for seen in done.observations}
    return [ends[seen.transaction] - seen.began_ms - seen.duration_ms for seen in done.observations]


def _long(scene: Scene) -> Iterator[Match]:
    """Find work that takes its time under a lock: both times, for a machine that stalls does so once."""
    ran = [done for done in scene.rehearsed.passes if done.direction != "down" and not done.error]
    times = [_after(done) for done in ran if done.observations]
    if len(times) == 2 and len(times[0]) != len(times[1]):  # noqa: PLR2004 - it went another way the second time
        return
    least = [min(both) for both in zip(*times, strict=True)]
    said: set[int] = set()
    for at, seen in scene.statements:
        locks = [lock for lock in seen.taken if lock.standing and lock.blocks_writes]
        after = least[at] if at < len(least) else 0.0
        if locks and after > LONG_MS and seen.transaction not in said:
            said.add(seen.transaction)
            yield Match(
                at,
                f"the transaction went on for {after / 1000:.0f} s after this statement had its lock",
                f"{' and '.join(map(kept_out, locks))} all that time",
                "do slow work before the lock is taken, or in a revision of its own",
            )


RULES = (
    Rule(
        "locks-several-tables", "warning", "Several tables locked in one transaction",
        "Each lock is waited for while the ones before are held, so the waits add up, and clients that take the tables "
        "in another order deadlock.",
        bad='op.add_column("orders", sa.Column("a", sa.Text()))\nop.add_column("customers", sa.Column("a", sa.Text()))',
        good=(
            'op.add_column("orders", sa.Column("a", sa.Text()))',
            'op.add_column("customers", sa.Column("a", sa.Text()))',
        ),
        check=_several,
    ),
    Rule(
        "locks-several-parents", "warning", "Several foreign keys in one transaction",
        "Each one keeps writers out of the table it refers to, until the transaction ends.",
        bad='op.create_table("visits", sa.Column("customer_id", sa.BigInteger(), sa.ForeignKey("customers.id")),\n'
        '    sa.Column("order_id", sa.BigInteger(), sa.ForeignKey("orders.id")),\n'
        '    sa.Column("shop_id", sa.BigInteger(), sa.ForeignKey("shops.id")))',
        good=(
            'op.create_table("visits", sa.Column("customer_id", sa.BigInteger()))',
            'op.create_foreign_key("fk_a", "visits", "customers", ["customer_id"], ["id"])',
        ),
        check=_parents,
        setup="CREATE TABLE shops (id bigint PRIMARY KEY)",
    ),
    Rule(
        "drop-table-locks-others", "warning", "DROP TABLE with its foreign keys",
        "The tables at the other end of its foreign keys are locked ACCESS EXCLUSIVE with it.",
        bad='op.drop_table("bills")',
        good=('op.drop_constraint("bills_fk", "bills", type_="foreignkey")', 'op.drop_table("bills")'),
        check=_drop,
        setup="CREATE TABLE bills (id bigint PRIMARY KEY, order_id bigint CONSTRAINT bills_fk REFERENCES orders)",
    ),
    Rule(
        "drop-foreign-key-with-more", "warning", "A foreign key dropped beside other changes",
        "It takes ACCESS EXCLUSIVE on both tables, which then waits for whatever else the transaction locks.",
        bad='op.drop_constraint("bills_fk", "bills", type_="foreignkey")\n'
        'op.add_column("bills", sa.Column("a", sa.Text()))',
        good=(
            'op.drop_constraint("bills_fk", "bills", type_="foreignkey")',
            'op.add_column("bills", sa.Column("a", sa.Text()))',
        ),
        check=_foreign_key,
        setup="CREATE TABLE bills (id bigint PRIMARY KEY, order_id bigint CONSTRAINT bills_fk REFERENCES orders)",
    ),
    Rule(
        "lock-table", "warning", "LOCK TABLE with no mode named",
        "Without a mode it is ACCESS EXCLUSIVE: nobody reads either.",
        bad='op.execute("LOCK TABLE orders")',
        good=('op.execute("LOCK TABLE orders IN SHARE UPDATE EXCLUSIVE MODE")',),
        check=_lock_table,
    ),
    Rule(
        "lock-held-long", "warning", "A lock held while something else goes on",
        "Between a statement that locks and the end of its transaction more than two seconds went by, both times it "
        "went up. It is the one rule that goes by time, which a busy machine can take too: so a warning.",
        bad='op.add_column("orders", sa.Column("a", sa.Text()))\nop.execute("SELECT pg_sleep(2.2)")',
        good=('op.add_column("orders", sa.Column("a", sa.Text()))',),
        check=_long,
    ),
)  # fmt: skip
