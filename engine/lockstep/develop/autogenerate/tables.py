"""Tables: the steps for the tables that one script makes, drops or changes."""

from collections.abc import Iterator

from alembic.operations import ops
from sqlalchemy.schema import ForeignKeyConstraint

from lockstep.develop.autogenerate import columns, constraints, indexes
from lockstep.develop.autogenerate.scene import Scene, shown
from lockstep.develop.autogenerate.step import NoteOp, Phase, Step


def made(op: ops.MigrateOperation) -> Step:
    """Make a new table, or what belongs on one: nobody uses it yet, so it stays as it is."""
    return Step(Phase.CREATE, f"create {op.table_name}", (op,), (op.reverse(),), group="created")


def late_key(op: ops.CreateForeignKeyOp) -> Step:
    """Add a foreign key of a new table once the tables that it refers to are there."""
    return Step(Phase.CREATE_KEY, f"add {op.constraint_name}", (op,), (op.reverse(),), group="created")


def dropped(op: ops.DropTableOp, belongings: ops.ModifyTableOps | None) -> Iterator[Step]:
    """Foreign keys one by one, for each locks another table too; then the table with all it holds."""
    create = op.reverse()
    # told apart by type first: `==` between columns is SQL
    others = [part for part in create.columns if isinstance(part, ForeignKeyConstraint) and not _points_home(part, op)]
    kept = [part for part in create.columns if not any(part is other for other in others)]
    for foreign_key in sorted(others, key=lambda each: str(each.name)):
        yield from constraints.dropped(ops.DropConstraintOp.from_constraint(foreign_key))
    bare = ops.CreateTableOp(
        op.table_name,
        kept,
        schema=op.schema,
        _namespace_metadata=create._namespace_metadata,  # noqa: SLF001 -- the same operation, less a part
        _constraints_included=create._constraints_included,  # noqa: SLF001 -- as above
        comment=create.comment,
        info=create.info,
        prefixes=create.prefixes,
        **create.kw,
    )
    indexes_back = () if belongings is None else tuple(belongings.reverse().ops)
    table = shown(op.schema, op.table_name)
    yield Step(
        Phase.DROP_TABLE,
        f"drop table {table}",
        (op,),
        (NoteOp("The rows are gone: the table comes back empty."), bare, *indexes_back),
        review=(f"{table}: its rows are lost; if this is a rename, add the new table, copy, then drop",),
    )


def changed(op: ops.ModifyTableOps, scene: Scene) -> Iterator[list[Step] | Iterator[Step]]:
    """Yield the steps of each change of a table that is there, so that each can be refused alone."""
    for each in op.ops:
        _tidy(each)
    drops = [each for each in op.ops if isinstance(each, ops.DropColumnOp)]
    implied = _implied(op.ops, drops, scene)
    pairs = _replacements(op.ops, implied)
    taken = {id(each) for each in (*drops, *implied, *pairs.values())}
    for each in op.ops:
        if id(each) not in taken:
            yield _change(each, pairs.get(id(each)), scene)
    if drops:
        yield columns.removed(drops, implied)


def _change(op: ops.MigrateOperation, old: ops.MigrateOperation | None, scene: Scene) -> Iterator[Step]:  # noqa: PLR0911 -- a table
    match op:
        case ops.AddColumnOp():
            return columns.added(op, scene)
        case ops.AlterColumnOp():
            return columns.changed(op, scene)
        case ops.CreateIndexOp():
            return indexes.replaced(old, op, scene) if old else indexes.made(op, scene)
        case ops.DropIndexOp():
            return indexes.dropped(op, scene)
        case ops.CreateUniqueConstraintOp():
            return constraints.unique(op, scene, old)
        case ops.CreateForeignKeyOp():
            return constraints.foreign_key(op, scene, old)
        case ops.CreateCheckConstraintOp():
            return constraints.check(op, scene, old)
        case ops.DropConstraintOp():
            return constraints.dropped(op)
        case _:  # a comment: metadata only
            table = shown(op.schema, op.table_name)
            return iter([Step(Phase.ALTER, f"change {table}", (op,), (op.reverse(),), group=table)])


def _tidy(op: ops.MigrateOperation) -> None:
    """Leave out the options that reflection names though they are off: an older server does not know them."""
    for kw in (getattr(op, "kw", {}), getattr(getattr(op, "_reverse", None), "kw", {})):
        for name in [name for name, value in kw.items() if name.startswith("postgresql_") and value in (False, [])]:
            del kw[name]


def _implied(
    all_ops: list[ops.MigrateOperation], drops: list[ops.DropColumnOp], scene: Scene
) -> list[ops.MigrateOperation]:
    """Return the indexes and unique constraints that go with the columns, unless the new release trips over them."""
    if not drops:
        return []
    defaulted = {op.column_name for op in drops if op.to_column().server_default is not None}
    going: set[str] = set()
    in_the_way: set[str] = set()
    for rest in scene.rests_on(drops[0].schema, drops[0].table_name, [op.column_name for op in drops]):
        going.add(rest.name)
        # a release that leaves the column out gives every row its default, which is unique once only
        if rest.kind in "uI" and (rest.column in defaulted or rest.nulls_collide):
            in_the_way.add(rest.name)
    return [
        op
        for op in all_ops
        if (isinstance(op, ops.DropIndexOp) and str(op.index_name) in going - in_the_way)
        or (
            isinstance(op, ops.DropConstraintOp)
            and op.constraint_type == "unique"
            and str(op.constraint_name) in going - in_the_way
        )
    ]


def _replacements(
    all_ops: list[ops.MigrateOperation], implied: list[ops.MigrateOperation]
) -> dict[int, ops.MigrateOperation]:
    """Return what is dropped and made anew under one name, by the one that is made."""
    leaving = {id(op) for op in implied}
    drops = {(_kind(op), _object_name(op)): op for op in all_ops if _is_drop(op) and id(op) not in leaving}
    makes = [op for op in all_ops if isinstance(op, (ops.CreateIndexOp, ops.AddConstraintOp))]
    found = ((op, drops.get((_kind(op), _object_name(op)))) for op in makes)
    return {id(op): old for op, old in found if old is not None}


def _is_drop(op: ops.MigrateOperation) -> bool:
    return isinstance(op, (ops.DropIndexOp, ops.DropConstraintOp))


def _kind(op: ops.MigrateOperation) -> str | None:
    if isinstance(op, (ops.CreateIndexOp, ops.DropIndexOp)):
        return "index"
    return op.constraint_type


def _object_name(op: ops.MigrateOperation) -> str:
    return str(op.index_name if isinstance(op, (ops.CreateIndexOp, ops.DropIndexOp)) else op.constraint_name)


def _points_home(foreign_key: ForeignKeyConstraint, op: ops.DropTableOp) -> bool:
    target = foreign_key.elements[0].target_fullname.rsplit(".", 1)[0]
    return target == shown(op.schema, op.table_name)
