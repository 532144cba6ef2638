"""Enums: plain SQL for a type that the models gained, lost or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.develop.autogenerate.refusal import Refusal
from lockstep.develop.autogenerate.step import NoteOp, Phase, Step, execute
from lockstep.develop.autogenerate.table_sql import literal as _literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alembic.operations import ops

    from lockstep.develop.autogenerate.definitions import Key, Thing
    from lockstep.develop.autogenerate.scene import EnumColumn, Scene


def labels(thing: Thing) -> tuple[str, ...]:
    """Return the labels of an enum in their order."""
    return tuple(label for label, _ in thing.aspects)


def create_type(key: Key, thing: Thing, scene: Scene) -> str:
    """Return the SQL that makes the enum."""
    return _create(scene, key.schema, key.name, labels(thing))


def steps(key: Key, now: Thing | None, wanted: Thing | None, scene: Scene) -> Iterator[Step]:
    """CREATE TYPE, DROP TYPE and ADD VALUE; a label taken away or moved is refused."""
    drop = f"DROP TYPE {_name(scene, key.schema, key.name)}"
    if now is None:
        make = create_type(key, wanted, scene)
        yield Step(
            Phase.TYPE, f"add type {key.name}", (execute(make),), (execute(drop),), group="types", joins_next=True
        )
    elif wanted is None:
        make = create_type(key, now, scene)
        review = (f"type {key.name} is dropped: no model uses it any more",)
        yield Step(Phase.DROP_TYPE, f"drop type {key.name}", (execute(drop),), (execute(make),), review, group="types")
    elif [label for label in labels(wanted) if label in labels(now)] == list(labels(now)):
        yield _labels(key, labels(now), labels(wanted), scene)
    else:
        gone = [label for label in labels(now) if label not in labels(wanted)]
        what = f"loses {', '.join(gone)}" if gone else "has its labels in another order"
        raise Refusal(
            f"enum {key.name} {what}: PostgreSQL can neither drop nor move a label, and making the type anew "
            "rewrites every table that holds it.",
            "Leave the label in the models and stop writing it; or add a column of a new enum, copy the rows "
            "over in batches, and drop the old column in a later release.",
        )


def _labels(key: Key, old: tuple[str, ...], new: tuple[str, ...], scene: Scene) -> Step:
    name = _name(scene, key.schema, key.name)
    up: list[ops.MigrateOperation] = []
    for place, label in enumerate(new):
        if label in old:
            continue
        where = f"AFTER {_literal(new[place - 1])}" if place else f"BEFORE {_literal(old[0])}"
        up.append(execute(f"ALTER TYPE {name} ADD VALUE {_literal(label)} {where}"))
    added = ", ".join(label for label in new if label not in old)
    return Step(
        Phase.LABEL,
        f"add {key.name} {added}",
        tuple(up),
        tuple(_remade(key, old, scene)),
        review=(f"enum {key.name}: a release that does not know {added} fails when it reads a row that holds it",),
    )


def _remade(key: Key, labels_: tuple[str, ...], scene: Scene) -> Iterator[ops.MigrateOperation]:
    """Make the type anew without the label, which is the one way PostgreSQL has; it rewrites the tables."""
    name, old = _name(scene, key.schema, key.name), f"{key.name[:59]}_old"
    columns = scene.enum_columns(key.schema or scene.dialect.default_schema_name or "public", key.name)
    yield NoteOp("PostgreSQL drops no label: the type is made anew, which fails while a row holds the label.")
    yield execute(f"ALTER TYPE {name} RENAME TO {scene.quote(old)}")
    yield execute(_create(scene, key.schema, key.name, labels_))
    for column in columns:
        yield from (execute(statement) for statement in _retyped(column, name, scene))
    yield execute(f"DROP TYPE {_name(scene, key.schema, old)}")


def _retyped(column: EnumColumn, name: str, scene: Scene) -> Iterator[str]:
    table = f"ALTER TABLE {_name(scene, column.schema, column.table)}"
    field, array = scene.quote(column.column), "[]" if column.is_array else ""
    if column.default is not None:
        yield f"{table} ALTER COLUMN {field} DROP DEFAULT"
    yield f"{table} ALTER COLUMN {field} TYPE {name}{array} USING {field}::text{array}::{name}{array}"
    if column.default is not None:
        yield f"{table} ALTER COLUMN {field} SET DEFAULT {column.default}"


def _create(scene: Scene, schema: str | None, name: str, labels_: Sequence[str]) -> str:
    return f"CREATE TYPE {_name(scene, schema, name)} AS ENUM ({', '.join(map(_literal, labels_))})"


def _name(scene: Scene, schema: str | None, name: str) -> str:
    # the default schema stays unnamed, as in every other statement Alembic writes
    return scene.quote(schema if schema != scene.dialect.default_schema_name else None, name)
