"""Rules about constraints: what reads every row, or builds an index, while writers or everybody is kept out."""

# ruff: noqa: ISC004 - an example of several lines stands in a tuple

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.develop.rehearsal.scene import Match, Rule, Scene, kept_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.develop.rehearsal.observation import Lock, Observation


def _not_null(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for table, count, lock in scene.scans(seen):
            pairs = seen.changes.columns_altered
            column = next((new for old, new in pairs if new.table == table and new.not_null > old.not_null), None)
            if column and not any(kind == "p" for kind in _kinds(seen)):
                name = f"ck_{table}_{column.name}_not_null"
                yield Match(
                    at,
                    f"SET NOT NULL on {column.name} read all of {table}",
                    f"{kept_out(lock)} while {count:,} rows are read",
                    f'op.create_check_constraint("{name}", "{table}", "{column.name} IS NOT NULL", '
                    "postgresql_not_valid=True)\n"
                    f'# next revision\nop.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {name}")\n'
                    "# next revision: the CHECK proves it, nothing is read\n"
                    f'op.alter_column("{table}", "{column.name}", nullable=False)\n'
                    f'op.drop_constraint("{name}", "{table}")',
                )


def _kinds(seen: Observation) -> tuple[str, ...]:
    return tuple(item.kind for item in (*seen.changes.constraints_added, *seen.changes.constraints_validated))


def _check(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for table, count, lock in scene.scans(seen):
            for item in seen.changes.constraints_added:
                if item.kind == "c" and item.table == table and item.valid:
                    yield Match(
                        at,
                        f"CHECK {item.name} read all of {table}",
                        f"{kept_out(lock)} while {count:,} rows are read",
                        f'op.create_check_constraint("{item.name}", "{table}", {item.definition[6:]!r}, '
                        "postgresql_not_valid=True)\n"
                        f'# next revision\nop.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {item.name}")',
                    )


def _foreign_key(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for item in seen.changes.constraints_added:
            if item.kind != "f" or not item.valid or not _validated_now(scene, seen, item.table):
                continue
            locks = [lock for lock in seen.taken or seen.held if lock.standing and lock.blocks_writes]
            if locks and any(lock.relation == item.table for lock in seen.held if lock.standing):
                yield Match(
                    at,
                    f"foreign key {item.name} looked up every row of {item.table}",
                    f"{' and '.join(map(kept_out, locks))} while {scene.count(item.table)} are looked up",
                    f'op.create_foreign_key("{item.name}", "{item.table}", …, postgresql_not_valid=True)\n'
                    f'# next revision\nop.execute("ALTER TABLE {item.table} VALIDATE CONSTRAINT {item.name}")',
                )


def _validated_now(scene: Scene, seen: Observation, table: str) -> bool:
    said = any("validating foreign key constraint" in line for line in seen.notices)
    return (said and bool(scene.rows.get(table))) or any(name == table for name, *_ in scene.scans(seen))


def _validate(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for item in seen.changes.constraints_validated:
            lock = _blocking(seen, item.table)
            if lock and scene.rows.get(item.table):
                yield Match(
                    at,
                    f"VALIDATE of {item.name} ran in the transaction that still holds {lock.words} on {item.table}",
                    f"{kept_out(lock)} while {scene.count(item.table)} are read",
                    "give VALIDATE a revision of its own: each revision is a transaction of its own",
                )


def _blocking(seen: Observation, table: str) -> Lock | None:
    return next((lock for lock in seen.held if lock.relation == table and lock.standing and lock.blocks_writes), None)


def _unique(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        built = dict(scene.builds(seen))
        for item in seen.changes.constraints_added:
            short = item.name if "." not in item.table else f"{item.table.rsplit('.', 1)[0]}.{item.name}"
            if item.kind in "up" and short in built:
                yield Match(
                    at,
                    f"{item.name} built its index on {item.table}",
                    f"{kept_out(built[short])} while an index over {scene.count(item.table)} is built",
                    f"with op.get_context().autocommit_block():\n"
                    f'    op.create_index("{item.name}", "{item.table}", [...], unique=True, '
                    "postgresql_concurrently=True)\n"
                    f'# next revision\nop.execute("ALTER TABLE {item.table} ADD CONSTRAINT {item.name} '
                    f'{"PRIMARY KEY" if item.kind == "p" else "UNIQUE"} USING INDEX {item.name}")',
                )


def _primary_key(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        if any(item.kind == "p" for item in seen.changes.constraints_added) and not dict(scene.builds(seen)):
            for table, count, lock in scene.scans(seen):
                yield Match(
                    at,
                    f"the primary key of {table} made a column NOT NULL, and read every row for it",
                    f"{kept_out(lock)} while {count:,} rows are read",
                    "make the column NOT NULL first, by a CHECK that was validated (see not-null-scans-table)",
                )


def _exclude(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        built = dict(scene.builds(seen))
        for item in seen.changes.constraints_added:
            if item.kind == "x" and item.name in built:
                yield Match(
                    at,
                    f"EXCLUDE {item.name} built its index on {item.table}",
                    f"{kept_out(built[item.name])} while an index over {scene.count(item.table)} is built",
                    "PostgreSQL builds it no other way: put it on a new table and move the rows there in batches",
                )


def _domain(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        if seen.kind != "AlterDomainStmt":
            continue
        locks = [lock for lock in seen.taken if lock.standing and lock.blocks_writes and scene.rows.get(lock.relation)]
        if locks:
            total = sum(scene.rows[lock.relation] for lock in locks)
            yield Match(
                at,
                f"the domain's rule was checked in {', '.join(lock.relation for lock in locks)}",
                f"{' and '.join(map(kept_out, locks))} while {total:,} rows are read",
                'op.execute("ALTER DOMAIN … ADD CONSTRAINT … NOT VALID")\n'
                '# next revision\nop.execute("ALTER DOMAIN … VALIDATE CONSTRAINT …")',
            )


RULES = (
    Rule(
        "not-null-scans-table", "error", "SET NOT NULL that reads every row",
        "PostgreSQL looks at every row under ACCESS EXCLUSIVE, unless a validated CHECK (… IS NOT NULL) proves that "
        "there is nothing to look for.",
        bad='op.alter_column("orders", "code", nullable=False)',
        good=(
            'op.create_check_constraint("code_there", "orders", "code IS NOT NULL", postgresql_not_valid=True)',
            'op.execute("ALTER TABLE orders VALIDATE CONSTRAINT code_there")',
            'op.alter_column("orders", "code", nullable=False)\nop.drop_constraint("code_there", "orders")',
        ),
        check=_not_null,
    ),
    Rule(
        "check-scans-table", "error", "A CHECK that reads every row",
        "Added as it stands, a CHECK is verified under ACCESS EXCLUSIVE. As NOT VALID it holds for new rows at once; "
        "VALIDATE looks at the old ones later and blocks nobody.",
        bad='op.create_check_constraint("amount_known", "orders", "amount IS NOT NULL")',
        good=(
            'op.create_check_constraint("amount_known", "orders", "amount IS NOT NULL", postgresql_not_valid=True)',
            'op.execute("ALTER TABLE orders VALIDATE CONSTRAINT amount_known")',
        ),
        check=_check,
    ),
    Rule(
        "foreign-key-scans-table", "error", "A foreign key that looks up every row",
        "Added as it stands, it keeps writers out of both tables while every row is looked up.",
        bad='op.create_foreign_key("fk_orders_buyer", "orders", "customers", ["buyer_id"], ["id"])',
        good=(
            'op.create_foreign_key("fk_orders_buyer", "orders", "customers", ["buyer_id"], ["id"], '
            "postgresql_not_valid=True)",
            'op.execute("ALTER TABLE orders VALIDATE CONSTRAINT fk_orders_buyer")',
        ),
        check=_foreign_key,
        setup="ALTER TABLE orders ADD COLUMN buyer_id bigint; CREATE INDEX ON orders (buyer_id)",
    ),
    Rule(
        "validate-under-lock", "error", "VALIDATE in the transaction that added the constraint",
        "VALIDATE blocks nobody, but the lock that ADD CONSTRAINT … NOT VALID took is held until the transaction ends.",
        bad='op.create_check_constraint("amount_known", "orders", "amount IS NOT NULL", postgresql_not_valid=True)\n'
        'op.execute("ALTER TABLE orders VALIDATE CONSTRAINT amount_known")',
        good=(
            'op.create_check_constraint("amount_known", "orders", "amount IS NOT NULL", postgresql_not_valid=True)',
            'op.execute("ALTER TABLE orders VALIDATE CONSTRAINT amount_known")',
        ),
        check=_validate,
    ),
    Rule(
        "unique-builds-index", "error", "A unique constraint or primary key that builds its index under the lock",
        "The index is built under ACCESS EXCLUSIVE. Built CONCURRENTLY first, it is taken over at once.",
        bad='op.create_unique_constraint("uq_orders_code", "orders", ["code"])',
        good=(
            "with op.get_context().autocommit_block():\n"
            '    op.create_index("uq_orders_code", "orders", ["code"], unique=True, postgresql_concurrently=True)',
            'op.execute("ALTER TABLE orders ADD CONSTRAINT uq_orders_code UNIQUE USING INDEX uq_orders_code")',
        ),
        check=_unique,
    ),
    Rule(
        "primary-key-scans-table", "error", "A primary key on a column that may be NULL",
        "USING INDEX spares the build, but the column is made NOT NULL on the way, which reads every row.",
        bad='op.execute("ALTER TABLE events ADD PRIMARY KEY USING INDEX events_number")',
        good=(
            'op.create_check_constraint("number_there", "events", "number IS NOT NULL", postgresql_not_valid=True)',
            'op.execute("ALTER TABLE events VALIDATE CONSTRAINT number_there")',
            'op.alter_column("events", "number", nullable=False)',
            'op.execute("ALTER TABLE events ADD PRIMARY KEY USING INDEX events_number")',
        ),
        check=_primary_key,
        setup="CREATE TABLE events (number bigint, what text); CREATE UNIQUE INDEX events_number ON events (number)",
    ),
    Rule(
        "exclude-builds-index", "error", "An EXCLUDE constraint on a table in use",
        "It can be neither NOT VALID nor built CONCURRENTLY.",
        bad='op.execute("ALTER TABLE orders ADD CONSTRAINT one_code EXCLUDE (code WITH =)")',
        good=(
            'op.execute("CREATE TABLE bookings (id bigint PRIMARY KEY, code text, EXCLUDE (code WITH =))")',
        ),
        check=_exclude,
    ),
    Rule(
        "domain-scans-tables", "error", "A rule of a domain that reads every table that uses it",
        "ALTER DOMAIN … ADD CONSTRAINT takes SHARE on every table with a column of the domain and reads them all.",
        bad='op.execute("ALTER DOMAIN price ADD CONSTRAINT positive CHECK (VALUE > 0)")',
        good=(
            'op.execute("ALTER DOMAIN price ADD CONSTRAINT positive CHECK (VALUE > 0) NOT VALID")',
        ),
        check=_domain,
        setup="CREATE DOMAIN price AS integer; CREATE TABLE goods (id bigint PRIMARY KEY, costs price)",
    ),
)  # fmt: skip
