"""Constraint steps: statements that settle a constraint or an index that differs and block nobody, or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.develop.autogenerate import table_sql as to
from lockstep.develop.autogenerate.indexes import interim_name
from lockstep.develop.autogenerate.refusal import HAND, Refusal
from lockstep.develop.autogenerate.scene import Scene, shown
from lockstep.develop.autogenerate.step import Phase, Step, autocommit, execute, run_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.operations import ops

    from lockstep.develop.autogenerate.definitions import Thing
    from lockstep.develop.autogenerate.differences import Difference


def constraint(one: Difference, scene: Scene) -> Iterator[Step]:
    """Yield the steps of a constraint; raise Refusal for one that no steps make safe."""
    key, table, where = one.key, to.quoted(one.key.schema, one.key.table), shown(one.key.schema, one.key.table)
    if one.aspects == ("comment",):
        up, down = (
            to.comment("CONSTRAINT", f"{to.quoted(key.name)} ON {table}", thing.get("comment"))
            for thing in (one.wanted, one.now)
        )
        yield Step(Phase.ALTER, f"change {key.name}", run_all([up]), run_all([down]), group=where)
        return
    drop = execute(to.dropped_constraint(key))
    old = run_all(list(to.constraint(key, one.now))) if one.now else ()
    if one.wanted is None:
        phase = Phase.DROP_FOREIGN_KEY if one.now.get("type") == "f" else Phase.ALTER
        yield Step(phase, f"drop {key.name}", (drop,), old, group=None if one.now.get("type") == "f" else where)
        return
    replaces = (drop,) if one.now else ()
    match one.wanted.get("type"):
        case "c" | "f":
            yield from _validated(one, scene, replaces, old)
        case "u":
            yield from _unique(one, scene, replaces, old)
        case "p":
            raise Refusal(
                f"{where}: the primary key changes from {_columns(one.now)} to {_columns(one.wanted)}: its index is "
                "built while nobody can read or write the table.",
                "Write it by hand: a unique index CONCURRENTLY on the new columns, each of them NOT NULL, then in one "
                "revision DROP CONSTRAINT and ADD PRIMARY KEY USING INDEX.",
            )
        case _:
            raise Refusal(
                f"{where}: the exclusion constraint {key.name} {'changes' if one.now else 'is new'}: its index is "
                "built while nobody can read or write the table.",
                HAND + f"{next(to.constraint(key, one.wanted))}, at a time when nobody needs the table.",
            )


def _columns(thing: Thing | None) -> str:
    return thing.get("definition").removeprefix("PRIMARY KEY ") if thing else "none"


def _validated(
    one: Difference, scene: Scene, replaces: tuple[ops.MigrateOperation, ...], old: tuple[ops.MigrateOperation, ...]
) -> Iterator[Step]:
    key, table, where = one.key, to.quoted(one.key.schema, one.key.table), shown(one.key.schema, one.key.table)
    is_key = one.wanted.get("type") == "f"
    if is_key and scene.is_partitioned(key.schema, key.table):
        refuse_key_of_partitioned(where, key.name)
    definition = one.wanted.get("definition").removesuffix(" NOT VALID")
    unchecked = run_all(
        list(
            to.constraint(
                key, one.wanted._replace(aspects=(*one.wanted.aspects, ("definition", f"{definition} NOT VALID")))
            )
        )
    )
    drop = execute(to.dropped_constraint(key))
    phase = Phase.FOREIGN_KEY if is_key else Phase.CHECK
    yield Step(
        phase, f"add {key.name}", replaces + unchecked, (drop, *old),
        (f"{where}: writes that break {key.name} fail from now on, the old release's too",),
    )  # fmt: skip
    if one.wanted.get("definition").endswith((" NOT VALID", " NOT ENFORCED")):
        return
    yield Step(
        phase, f"validate {key.name}", run_all([f"ALTER TABLE {table} VALIDATE CONSTRAINT {to.quoted(key.name)}"]),
        (drop, *unchecked),
        (f"{where}: validating {key.name} fails if rows break it now; put them right first",),
    )  # fmt: skip


def _unique(
    one: Difference, scene: Scene, replaces: tuple[ops.MigrateOperation, ...], old: tuple[ops.MigrateOperation, ...]
) -> Iterator[Step]:
    key, table, where = one.key, to.quoted(one.key.schema, one.key.table), shown(one.key.schema, one.key.table)
    if scene.is_partitioned(key.schema, key.table):
        raise Refusal(
            f"unique constraint {key.name}: {where} is partitioned, and its index cannot be built concurrently.",
            "Write it by hand: a unique index CONCURRENTLY on each partition, the constraint on each by USING INDEX, "
            "then the parent's constraint, which takes them over.",
        )
    definition = one.wanted.get("definition")
    columns_, _, deferral = definition.removeprefix("UNIQUE ").partition(" DEFERRABLE")
    nulls, columns_ = columns_.startswith("NULLS NOT DISTINCT "), columns_.removeprefix("NULLS NOT DISTINCT ")
    name = interim_name(key.name) if one.now else key.name
    build = execute(
        f"CREATE UNIQUE INDEX CONCURRENTLY {to.quoted(name)} ON {table} {columns_}"
        + (" NULLS NOT DISTINCT" if nulls else "")
    )
    drop = execute(f"DROP INDEX CONCURRENTLY {to.quoted(key.schema, name)}")
    attach = execute(
        f"ALTER TABLE {table} ADD CONSTRAINT {to.quoted(key.name)} UNIQUE USING INDEX {to.quoted(name)}"
        + (f" DEFERRABLE{deferral}" if " DEFERRABLE" in definition else "")
    )
    review = f"{where}: {key.name} fails, and has to be built again, if two rows have the same values now"
    yield Step(Phase.INDEX, f"build unique index {key.name}", (autocommit(build),), (autocommit(drop),), (review,))
    back = (execute(to.dropped_constraint(key)), *old, autocommit(build))
    comment = run_all(list(to.constraint(key, one.wanted))[1:])
    yield Step(Phase.INDEX, f"add constraint {key.name}", (*replaces, attach, *comment), back)


def index(one: Difference, scene: Scene) -> Iterator[Step]:
    """Yield the steps of an index: built and dropped concurrently, and replaced under another name."""
    key, where = one.key, shown(one.key.schema, one.key.table)
    if scene.is_partitioned(key.schema, key.table):
        refuse_index_of_partitioned(where, key.name)

    def build(thing: Thing, name: str = key.name) -> ops.MigrateOperation:
        return autocommit(execute(to.index(key, thing, concurrently=True, name=name)))

    def drop(name: str = key.name) -> ops.MigrateOperation:
        return autocommit(execute(f"DROP INDEX CONCURRENTLY {to.quoted(key.schema, name)}"))

    def rename(old: str, new: str) -> ops.MigrateOperation:
        return execute(f"ALTER INDEX {to.quoted(key.schema, old)} RENAME TO {to.quoted(new)}")

    unique = (one.wanted or one.now).get("definition").startswith("CREATE UNIQUE")
    review = (f"{where}: {key.name} fails, and has to be built again, if two rows have the same values now",)
    if one.wanted is None:
        yield Step(Phase.DROP_INDEX, f"drop index {key.name}", (drop(),), (build(one.now),))
        return
    review = review if unique else ()
    if one.now is None:
        yield Step(Phase.INDEX, f"add index {key.name}", (build(one.wanted),), (drop(),), review)
        return
    interim = interim_name(key.name)
    yield Step(Phase.INDEX, f"build new {key.name}", (build(one.wanted, interim),), (drop(interim),), review)
    yield Step(Phase.INDEX, f"drop old {key.name}", (drop(),), (build(one.now),))
    yield Step(Phase.INDEX, f"rename {key.name}", (rename(interim, key.name),), (rename(key.name, interim),))


def refuse_index_of_partitioned(where: str, name: str) -> None:
    """Raise the refusal of an index that is to be made, or dropped, on a partitioned table."""
    raise Refusal(
        f"index {name}: {where} is partitioned, and PostgreSQL builds no index of a partitioned table concurrently.",
        "Write it by hand: CREATE INDEX ... ON ONLY the parent, CREATE INDEX CONCURRENTLY on each partition, then "
        "ALTER INDEX ... ATTACH PARTITION for each.",
    )


def refuse_key_of_partitioned(where: str, name: str) -> None:
    """Raise the refusal of a foreign key of a partitioned table: NOT VALID is taken by 18 and newer only."""
    raise Refusal(
        f"foreign key {name}: {where} is partitioned, and PostgreSQL before 18 takes no NOT VALID there: adding the "
        "key checks every row under lock.",
        "Write it by hand: the key NOT VALID on each partition, VALIDATE it there in revisions of their own, then the "
        "same key on the parent, which takes those over.",
    )
