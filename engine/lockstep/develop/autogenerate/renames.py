"""Renames: hints that something dropped and something added may be one thing.

Autogenerate compares names, so a rename looks like a loss and a new start; only a person can tell.
"""

from collections.abc import Iterable, Iterator

from alembic.operations import ops
from sqlalchemy.schema import Column

from lockstep.develop.autogenerate.scene import Scene, shown, type_name

CURE = "if so, add the new one, write both, copy, and drop the old one in a later release"


def hints(found: list[ops.MigrateOperation], scene: Scene) -> Iterator[str]:
    """One line for each pair that looks like a rename."""
    made = [op for op in found if isinstance(op, ops.CreateTableOp)]
    gone = [op for op in found if isinstance(op, ops.DropTableOp)]
    for old in gone:
        for new in made:
            if _column_names(old.to_table().columns) & _column_names(new.columns) - {"id"}:
                yield f"is {_name(new)} the renamed {_name(old)}? {CURE}"
    for op in found:
        if isinstance(op, ops.ModifyTableOps):
            yield from _columns(op, scene)


def _columns(op: ops.ModifyTableOps, scene: Scene) -> Iterator[str]:
    made = [each.column for each in op.ops if isinstance(each, ops.AddColumnOp)]
    gone = [each.to_column() for each in op.ops if isinstance(each, ops.DropColumnOp)]
    for old in gone:
        for new in made:
            if _type(old, scene) == _type(new, scene):
                yield f"{_name(op)}: is {new.name} the renamed {old.name}? {CURE}"


def _type(column: Column, scene: Scene) -> str:
    return type_name(scene.dialect, column.type)


def _column_names(parts: Iterable[object]) -> set[str]:
    return {part.name for part in parts if isinstance(part, Column)}


def _name(op: ops.MigrateOperation) -> str:
    return shown(op.schema, op.table_name)
