"""Enums: what alembic-postgresql-enum found in, plain SQL out.

Its own operations are known only where it is installed, and the migrator's image does not hold it: a
revision that named them could not be applied. So they are read by name here and never imported.
"""

from collections.abc import Iterator, Sequence

from alembic.operations import ops

from lockstep.develop.autogenerate.refusal import Refusal
from lockstep.develop.autogenerate.scene import EnumColumn, Scene
from lockstep.develop.autogenerate.step import NoteOp, Phase, Step, execute

FOUND = frozenset({"create_enum", "drop_enum", "add_enum_value", "change_enum_variants"})


def is_enum_change(op: ops.MigrateOperation) -> bool:
    """Whether the operation came from alembic-postgresql-enum."""
    return getattr(op, "operation_name", None) in FOUND


def create_type(op: ops.MigrateOperation, scene: Scene) -> str:
    """Return the SQL that makes the enum."""
    return _create(scene, op.schema, op.name, op.enum_values)


def steps(op: ops.MigrateOperation, scene: Scene) -> Iterator[Step]:
    """CREATE TYPE, DROP TYPE and ADD VALUE; a label taken away or moved is refused."""
    if op.operation_name == "create_enum":
        make, drop = create_type(op, scene), f"DROP TYPE {_name(scene, op.schema, op.name)}"
        yield Step(
            Phase.TYPE, f"add type {op.name}", (execute(make),), (execute(drop),), group="types", joins_next=True
        )
    elif op.operation_name == "drop_enum":
        make, drop = create_type(op, scene), f"DROP TYPE {_name(scene, op.schema, op.name)}"
        review = (f"type {op.name} is dropped: no model uses it any more",)
        yield Step(Phase.DROP_TYPE, f"drop type {op.name}", (execute(drop),), (execute(make),), review, group="types")
    elif op.operation_name == "add_enum_value":
        yield _labels(op, scene)
    else:
        gone = [label for label in op.old_values if label not in op.new_values]
        what = f"loses {', '.join(gone)}" if gone else "has its labels in another order"
        raise Refusal(
            f"enum {op.name} {what}: PostgreSQL can neither drop nor move a label, and making the type anew "
            "rewrites every table that holds it.",
            "Leave the label in the models and stop writing it; or add a column of a new enum, copy the rows "
            "over in batches, and drop the old column in a later release.",
        )


def _labels(op: ops.MigrateOperation, scene: Scene) -> Step:
    name = _name(scene, op.schema, op.name)
    up: list[ops.MigrateOperation] = []
    for place, label in enumerate(op.new_values):
        if label in op.old_values:
            continue
        where = f"AFTER {_literal(op.new_values[place - 1])}" if place else f"BEFORE {_literal(op.old_values[0])}"
        up.append(execute(f"ALTER TYPE {name} ADD VALUE {_literal(label)} {where}"))
    added = ", ".join(label for label in op.new_values if label not in op.old_values)
    return Step(
        Phase.LABEL,
        f"add {op.name} {added}",
        tuple(up),
        tuple(_remade(op, scene)),
        review=(f"enum {op.name}: a release that does not know {added} fails when it reads a row that holds it",),
    )


def _remade(op: ops.MigrateOperation, scene: Scene) -> Iterator[ops.MigrateOperation]:
    """Make the type anew without the label, which is the one way PostgreSQL has; it rewrites the tables."""
    name, old = _name(scene, op.schema, op.name), f"{op.name[:59]}_old"
    columns = scene.enum_columns(op.schema, op.name)
    yield NoteOp("PostgreSQL drops no label: the type is made anew, which fails while a row holds the label.")
    yield execute(f"ALTER TYPE {name} RENAME TO {scene.quote(old)}")
    yield execute(_create(scene, op.schema, op.name, op.old_values))
    for column in columns:
        yield from (execute(statement) for statement in _retyped(column, name, scene))
    yield execute(f"DROP TYPE {_name(scene, op.schema, old)}")


def _retyped(column: EnumColumn, name: str, scene: Scene) -> Iterator[str]:
    table = f"ALTER TABLE {_name(scene, column.schema, column.table)}"
    field, array = scene.quote(column.column), "[]" if column.is_array else ""
    if column.default is not None:
        yield f"{table} ALTER COLUMN {field} DROP DEFAULT"
    yield f"{table} ALTER COLUMN {field} TYPE {name}{array} USING {field}::text{array}::{name}{array}"
    if column.default is not None:
        yield f"{table} ALTER COLUMN {field} SET DEFAULT {column.default}"


def _create(scene: Scene, schema: str, name: str, labels: Sequence[str]) -> str:
    return f"CREATE TYPE {_name(scene, schema, name)} AS ENUM ({', '.join(map(_literal, labels))})"


def _name(scene: Scene, schema: str, name: str) -> str:
    # the default schema stays unnamed, as in every other statement Alembic writes
    return scene.quote(schema if schema != scene.dialect.default_schema_name else None, name)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
