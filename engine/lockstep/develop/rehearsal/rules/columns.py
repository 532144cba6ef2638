"""Rules about columns: what writes every row of a table anew while nobody may use it."""

# ruff: noqa: ISC004 - an example of several lines stands in a tuple

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.develop.rehearsal.scene import Match, Rule, Scene, kept_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.develop.rehearsal.observation import Column, Observation


def _added(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for table, lock in scene.rewrites(seen):
            column = next((one for one in seen.changes.columns_added if one.table == table), None)
            if column:
                yield Match(
                    at,
                    f"adding {column.name} ({column.type}{_reason(column)}) rewrote {table} and all its indexes",
                    f"{kept_out(lock)} while {scene.count(table)} are rewritten",
                    _instead_of_added(column),
                )


def _reason(column: Column) -> str:
    if column.identity or (column.default or "").startswith("nextval("):
        return ", numbered"
    if column.generated:
        return ", stored generated"
    return f", default {column.default}" if column.default else ""


def _instead_of_added(column: Column) -> str:
    if column.generated:
        return (
            f'op.add_column("{column.table}", sa.Column("{column.name}", …))  # plain and nullable\n'
            f"# keep it filled with a trigger or in the app, fill old rows in batches;\n"
            f"# on PostgreSQL 18 sa.Computed(…, persisted=False) is computed when read and costs nothing"
        )
    if column.identity or (column.default or "").startswith("nextval("):
        sequence = f"{column.table}_{column.name}_seq"
        return (
            f'op.add_column("{column.table}", sa.Column("{column.name}", sa.BigInteger(), nullable=True))\n'
            f'op.execute("CREATE SEQUENCE {sequence} OWNED BY {column.table}.{column.name}")\n'
            f'op.alter_column("{column.table}", "{column.name}", '
            f"server_default=sa.text(\"nextval('{sequence}')\"))\n"
            f"# then fill old rows in batches, each in a transaction of its own"
        )
    if not column.default:
        return (
            f'op.add_column("{column.table}", sa.Column("{column.name}", …))  # the domain\'s base type\n'
            f"# then the domain's rule as a CHECK: NOT VALID here, VALIDATE in the next revision"
        )
    return (
        f'op.add_column("{column.table}", sa.Column("{column.name}", …, nullable=True))\n'
        f'op.alter_column("{column.table}", "{column.name}", server_default=sa.text({column.default!r}))\n'
        f"# then fill old rows in batches, each in a transaction of its own"
    )


def _type(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for table, lock in scene.rewrites(seen):
            pair = next((pair for pair in seen.changes.columns_altered if pair[0].table == table), None)
            if pair and not any(one.table == table for one in seen.changes.columns_added):
                yield Match(
                    at,
                    f"changing {pair[0].name} from {_was(pair[0])} to {_was(pair[1])} rewrote {table}",
                    f"{kept_out(lock)} while {scene.count(table)} are rewritten{_others(seen, table)}",
                    _instead_of_type(pair[1]),
                )


def _was(column: Column) -> str:
    return f"{column.type} generated as {column.default}" if column.generated else column.type


def _others(seen: Observation, table: str) -> str:
    names = [lock.relation for lock in seen.held if lock.blocks_reads and lock.standing and lock.relation != table]
    return f"; {', '.join(names)} with it" if names else ""


def _instead_of_type(column: Column) -> str:
    return (
        f'op.add_column("{column.table}", sa.Column("{column.name}_new", …, nullable=True))  # of type {column.type}\n'
        "# 1. keep both the same: a trigger, or a release that writes both\n"
        "# 2. fill old rows in batches, each in a transaction of its own\n"
        "# 3. a release that reads the new column; then drop the old one"
    )


def _rescanned(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for table, count, lock in scene.scans(seen):
            pair = next((pair for pair in seen.changes.columns_altered if pair[0].table == table), None)
            if pair and pair[0].type != pair[1].type:
                yield Match(
                    at,
                    f"changing {pair[0].name} to {pair[1].type} checked every row of {table} against a CHECK again",
                    f"{kept_out(lock)} while {count:,} rows are read",
                    f"drop the CHECK on {pair[0].name}, change the type, add the CHECK again as NOT VALID;\n"
                    "VALIDATE it in the next revision",
                )


RULES = (
    Rule(
        "column-rewrites-table", "error", "A new column that writes every row anew",
        "A default that differs from row to row (gen_random_uuid(), clock_timestamp()), a serial or identity, a stored "
        "generated column and a domain with a CHECK make PostgreSQL write the table and all its indexes anew under "
        "ACCESS EXCLUSIVE. A constant, now() and other stable defaults do not.",
        bad='op.add_column("orders", sa.Column("token", sa.UUID(), server_default=sa.text("gen_random_uuid()")))',
        good=(
            'op.add_column("orders", sa.Column("token", sa.UUID(), nullable=True))\n'
            'op.alter_column("orders", "token", server_default=sa.text("gen_random_uuid()"))',
        ),
        check=_added,
    ),
    Rule(
        "type-change-rewrites-table", "error", "A change of a column that writes every row anew",
        "Most changes of type (integer to bigint, text to varchar(n), jsonb to json), and SET EXPRESSION, write the "
        "table anew under ACCESS EXCLUSIVE. Widening varchar, or going to text, does not: it is not found here.",
        bad='op.alter_column("orders", "amount", type_=sa.BigInteger())',
        good=(
            'op.add_column("orders", sa.Column("amount_new", sa.BigInteger(), nullable=True))',
            'op.alter_column("orders", "note", type_=sa.Text())  # varchar(50) to text rewrites nothing',
        ),
        check=_type,
    ),
    Rule(
        "type-change-scans-table", "error", "A widening of a column that is in a CHECK",
        "Widening costs nothing by itself, but PostgreSQL verifies every CHECK that names the column again, under "
        "ACCESS EXCLUSIVE.",
        bad='op.alter_column("orders", "note", type_=sa.Text())',
        good=(
            'op.drop_constraint("note_not_empty", "orders")\n'
            'op.alter_column("orders", "note", type_=sa.Text())\n'
            'op.create_check_constraint("note_not_empty", "orders", "note <> \'\'", postgresql_not_valid=True)',
            'op.execute("ALTER TABLE orders VALIDATE CONSTRAINT note_not_empty")',
        ),
        check=_rescanned,
        setup="ALTER TABLE orders ADD CONSTRAINT note_not_empty CHECK (note <> '')",
    ),
)  # fmt: skip
