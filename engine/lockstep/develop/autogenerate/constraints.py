"""Constraints: steps that make or drop a constraint on a table in use, and check rows without blocking.

Adding a CHECK or a foreign key checks every row under its lock. NOT VALID checks new rows only and takes
the lock for an instant; VALIDATE then reads the old rows while clients read and write, if it is a
transaction of its own: in the same one it would run under the lock that NOT VALID took.
"""

from collections.abc import Iterator
from typing import Any

from alembic.operations import ops

from lockstep.develop.autogenerate import constraint_steps
from lockstep.develop.autogenerate.indexes import concurrent, interim_name
from lockstep.develop.autogenerate.refusal import Refusal
from lockstep.develop.autogenerate.scene import Scene, shown
from lockstep.develop.autogenerate.step import Phase, Step, autocommit, execute


def check(
    op: ops.CreateCheckConstraintOp, scene: Scene, replaces: ops.DropConstraintOp | None = None
) -> Iterator[Step]:
    """CHECK NOT VALID, then VALIDATE; a check of that name goes in the same transaction."""
    name = _named(op, op.table_name, scene)
    unchecked = ops.CreateCheckConstraintOp(
        op.constraint_name,
        op.table_name,
        op.condition,
        schema=op.schema,
        **{**op.kw, "postgresql_not_valid": True},
    )
    yield from _validated(Phase.CHECK, unchecked, op.schema, op.table_name, name, scene, replaces)


def foreign_key(
    op: ops.CreateForeignKeyOp, scene: Scene, replaces: ops.DropConstraintOp | None = None
) -> Iterator[Step]:
    """FOREIGN KEY NOT VALID, then VALIDATE; a foreign key of that name goes in the same transaction."""
    name = _named(op, op.source_table, scene)
    schema = op.kw.get("source_schema")
    if scene.is_partitioned(schema, op.source_table):
        constraint_steps.refuse_key_of_partitioned(shown(schema, op.source_table), str(op.constraint_name))
    unchecked = ops.CreateForeignKeyOp(
        op.constraint_name,
        op.source_table,
        op.referent_table,
        op.local_cols,
        op.remote_cols,
        **{**op.kw, "postgresql_not_valid": True},
    )
    yield from _validated(Phase.FOREIGN_KEY, unchecked, schema, op.source_table, name, scene, replaces)


def unique(
    op: ops.CreateUniqueConstraintOp, scene: Scene, replaces: ops.DropConstraintOp | None = None
) -> Iterator[Step]:
    """Build a unique index concurrently, then make it the constraint's, which takes an instant."""
    name = _named(op, op.table_name, scene)
    raw_name = str(op.to_constraint().name)
    table = shown(op.schema, op.table_name)
    if scene.is_partitioned(op.schema, op.table_name):
        raise Refusal(
            f"unique constraint {raw_name}: {table} is partitioned, and its index cannot be built concurrently.",
            "Write it by hand: a unique index CONCURRENTLY on each partition, the constraint on each by "
            "USING INDEX, then the parent's constraint, which takes them over.",
        )
    build = concurrent(_index_of(op, interim_name(raw_name) if replaces else op.constraint_name))
    drop = ops.DropIndexOp(
        build.index_name, build.table_name, schema=build.schema, postgresql_concurrently=True, _reverse=build
    )
    yield Step(
        Phase.INDEX,
        f"build unique index {raw_name}",
        up=(autocommit(build),),
        down=(autocommit(drop),),
        review=(f"{table}: {raw_name} fails, and has to be built again, if two rows have the same values now",),
    )
    attach = execute(
        f"ALTER TABLE {scene.quote(op.schema, op.table_name)} ADD CONSTRAINT {name} "
        f"UNIQUE USING INDEX {scene.index_name(build)}{_deferral(op)}"
    )
    # dropping a constraint drops its index, so the way back has to build that again
    back = (op.reverse(), *((replaces.reverse(),) if replaces else ()), autocommit(build))
    yield Step(
        Phase.INDEX,
        f"add constraint {raw_name}",
        up=((replaces,) if replaces else ()) + (attach,),
        down=back,
    )


def _index_of(op: ops.CreateUniqueConstraintOp, name: Any) -> ops.CreateIndexOp:
    options = {key: value for key, value in op.kw.items() if key.startswith("postgresql_")}
    return ops.CreateIndexOp(name, op.table_name, op.columns, schema=op.schema, unique=True, **options)


def dropped(op: ops.DropConstraintOp) -> Iterator[Step]:
    """Drop a constraint: metadata only, but a foreign key locks two tables and goes alone."""
    if op.constraint_type == "foreignkey":
        yield Step(Phase.DROP_FOREIGN_KEY, f"drop {op.constraint_name}", (op,), (op.reverse(),))
        return
    yield Step(
        Phase.ALTER,
        f"drop {op.constraint_name}",
        (op,),
        (op.reverse(),),
        group=shown(op.schema, op.table_name),
    )


def _validated(
    phase: Phase,
    unchecked: ops.AddConstraintOp,
    schema: str | None,
    table: str,
    name: str,
    scene: Scene,
    replaces: ops.DropConstraintOp | None,
) -> Iterator[Step]:
    raw_name = str(unchecked.to_constraint().name)
    drop = unchecked.reverse()
    yield Step(
        phase,
        f"add {raw_name}",
        up=((replaces,) if replaces else ()) + (unchecked,),
        down=(drop,) + ((replaces.reverse(),) if replaces else ()),
        review=(f"{shown(schema, table)}: writes that break {raw_name} fail from now on, the old release's too",),
    )
    yield Step(
        phase,
        f"validate {raw_name}",
        up=(execute(f"ALTER TABLE {scene.quote(schema, table)} VALIDATE CONSTRAINT {name}"),),
        # there is no way to un-validate but to make it anew
        down=(drop, unchecked),
        review=(f"{shown(schema, table)}: validating {raw_name} fails if rows break it now; put them right first",),
    )


def _named(op: ops.AddConstraintOp, table: str, scene: Scene) -> str:
    if op.to_constraint().name is None:
        raise Refusal(
            f"a constraint on {table} has no name, so nothing could drop or validate it later.",
            "Name it, or give the models' MetaData a naming_convention.",
        )
    return scene.constraint_name(op)


def _deferral(op: ops.CreateUniqueConstraintOp) -> str:
    text = " DEFERRABLE" if op.kw.get("deferrable") else ""
    return text + (f" INITIALLY {op.kw['initially'].upper()}" if op.kw.get("initially") else "")
