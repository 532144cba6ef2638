"""Proposals: what the two catalogs bear out of what Alembic found, and what Alembic left out.

Alembic compares models with what it reads back of tables, and each in its own way; PostgreSQL compares nothing, it
makes what it is told. So a proposal for what is equal in both catalogs is a false alarm, and a difference that nobody
proposed anything for is written by definition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy.types import TypeDecorator

from lockstep.develop.autogenerate.definitions import Key
from lockstep.develop.autogenerate.scene import key as place_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lockstep.develop.autogenerate.differences import Difference
    from lockstep.develop.autogenerate.scene import Scene

_ALL = frozenset({"*"})
_DEFAULTS = {"default", "serial", "identity", "identity options", "generated"}


@dataclass
class Sifted:
    """What is left of the proposals, keys that have to wait for all new tables, and what nobody proposed."""

    ops: list[ops.MigrateOperation] = field(default_factory=list)
    late_keys: list[ops.CreateForeignKeyOp] = field(default_factory=list)
    unclaimed: list[Difference] = field(default_factory=list)


def sift(
    found: Iterable[ops.MigrateOperation], differences: list[Difference], exact: frozenset[Key], scene: Scene
) -> Sifted:
    """Hold Alembic's proposals against the differences; what is of `exact` is left to be written by definition."""
    by_key = {one.key: one for one in differences}
    claimed: dict[Key, frozenset[str]] = {}
    sifted, later = Sifted(), _later(found, scene)
    for op in sorted(found, key=lambda each: isinstance(each, ops.ModifyTableOps)):
        if isinstance(op, ops.CreateTableOp):
            _created(op, by_key, claimed, exact, sifted, later.get(id(op), set()), scene)
        elif isinstance(op, ops.DropTableOp):
            place = place_of(scene.dialect, op)
            keys = {one for one in by_key if one[1:3] == place}
            if Key("table", *place, "") in by_key and not keys & exact and _expressible(op):
                claimed |= dict.fromkeys(keys, _ALL)
                sifted.ops.append(op)
        elif isinstance(op, ops.ModifyTableOps):
            whole = _made_or_gone(by_key.get(Key("table", *place_of(scene.dialect, op), "")), claimed)
            op.ops = [each for each in op.ops if not whole and _borne_out(each, by_key, claimed, exact, scene)]
            sifted.ops += [op] if op.ops else []
        elif getattr(op, "operation_name", None) not in _OF_ENUMS:
            sifted.ops.append(op)  # another plugin's: its own business
    going = _going(by_key, differences)
    for one in differences:
        rest = _rest(one, claimed.get(one.key, frozenset()))
        if rest is not None and one.key not in going:
            sifted.unclaimed.append(rest)
    return sifted


def _made_or_gone(table: Difference | None, claimed: dict[Key, frozenset[str]]) -> bool:
    """Whether a whole table is to be written by definition, with all that belongs to it."""
    return table is not None and None in (table.now, table.wanted) and table.key not in claimed


# What alembic-postgresql-enum finds, where a project has it: enums are compared here.
_OF_ENUMS = {"create_enum", "drop_enum", "add_enum_value", "change_enum_variants", "sync_enum_values"}


def _later(found: Iterable[ops.MigrateOperation], scene: Scene) -> dict[int, set[tuple[str | None, str]]]:
    """Return, for each new table, the new tables that are made after it: a key to one of those has to wait."""
    made = [op for op in found if isinstance(op, ops.CreateTableOp)]
    places = [place_of(scene.dialect, op) for op in made]
    return {id(op): set(places[number + 1 :]) for number, op in enumerate(made)}


def _created(
    op: ops.CreateTableOp, by_key: dict[Key, Difference], claimed: dict[Key, frozenset[str]], exact: frozenset[Key],
    sifted: Sifted, later: set[tuple[str | None, str]], scene: Scene,
) -> None:  # fmt: skip
    place = place_of(scene.dialect, op)
    keys = {one for one in by_key if one[1:3] == place}
    if Key("table", *place, "") not in by_key or keys & exact or not _expressible(op):
        return
    late = [part for part in op.columns if isinstance(part, sa.ForeignKeyConstraint) and _waits(part, later, scene)]
    if any(part.name is None for part in late):  # nothing could name it on the way back
        return
    kept = [_unbound_of_type(part) for part in op.columns if not any(part is one for one in late)]
    checks = [
        part._copy()  # noqa: SLF001 - it belongs to the column of the models
        for column in op.columns if isinstance(column, sa.Column)
        for part in column.constraints if isinstance(part, sa.CheckConstraint)
    ]  # fmt: skip
    op.columns = [*kept, *checks]
    op._constraints_included = True  # noqa: SLF001 - as Alembic's own comparison says
    sifted.late_keys += [ops.CreateForeignKeyOp.from_constraint(part) for part in late]
    claimed |= {key: _ALL for key in keys if key.kind != "index"}
    sifted.ops.append(op)


def _unbound_of_type(part: sa.schema.SchemaItem) -> sa.schema.SchemaItem:
    """Return the CHECK of an Enum or a Boolean as one of the table: the type is written without it."""
    if not isinstance(part, sa.CheckConstraint) or not part._type_bound:  # noqa: SLF001 - as Alembic asks
        return part
    return sa.CheckConstraint(part.sqltext, name=part.name)


def _waits(part: sa.ForeignKeyConstraint, later: set[tuple[str | None, str]], scene: Scene) -> bool:
    schema, _, name = part.elements[0].target_fullname.rpartition(".")[0].rpartition(".")
    default = scene.dialect.default_schema_name
    return bool(part.use_alter) or ((schema if schema and schema != default else None), name) in later


def _expressible(op: ops.CreateTableOp | ops.DropTableOp) -> bool:
    """Whether a revision can say the table in SQLAlchemy's words."""
    return all(expressible(column.type) for column in op.to_table().columns)


def expressible(type_: sa.types.TypeEngine) -> bool:
    """Whether the type is one of SQLAlchemy's own: another one's package is not there where revisions run."""
    while isinstance(type_, TypeDecorator):
        type_ = type_.impl_instance
    if isinstance(type_, sa.types.NullType) or not type(type_).__module__.startswith("sqlalchemy."):
        return False
    inner = getattr(type_, "item_type", None)
    return inner is None or expressible(inner)


def _borne_out(
    op: ops.MigrateOperation, by_key: dict[Key, Difference], claimed: dict[Key, frozenset[str]],
    exact: frozenset[Key], scene: Scene,
) -> bool:  # fmt: skip
    """Whether a proposal is for something that differs; what it settles is claimed."""
    key, aspects = _claim(op, scene)
    if key is None:
        return True
    one = by_key.get(key)
    if one is None or key in exact:
        return False
    if isinstance(op, ops.AlterColumnOp):
        aspects = _pruned(op, one)
        if not op.has_changes():
            return False
    if isinstance(op, ops.AddColumnOp) and not expressible(op.column.type):
        return False
    if isinstance(op, ops.DropColumnOp) and not expressible(op.to_column().type):
        return False
    claimed[key] = claimed.get(key, frozenset()) | aspects
    return True


def _claim(op: ops.MigrateOperation, scene: Scene) -> tuple[Key | None, frozenset[str]]:  # noqa: PLR0911 - a table
    schema, table = place_of(scene.dialect, op) if hasattr(op, "table_name") else (None, "")
    match op:
        case ops.AddColumnOp():
            return Key("column", schema, table, op.column.name), _ALL
        case ops.DropColumnOp() | ops.AlterColumnOp():
            return Key("column", schema, table, op.column_name), _ALL
        case ops.CreateIndexOp() | ops.DropIndexOp():
            return Key("index", schema, table, scene.raw_index_name(op)), _ALL
        case ops.CreateForeignKeyOp():
            schema = op.kw.get("source_schema")
            schema = schema if schema != scene.dialect.default_schema_name else None
            return Key("constraint", schema, op.source_table, scene.raw_constraint_name(op) or ""), _ALL
        case ops.AddConstraintOp() | ops.DropConstraintOp():
            return Key("constraint", schema, table, scene.raw_constraint_name(op) or ""), _ALL
        case ops.CreateTableCommentOp() | ops.DropTableCommentOp():
            return Key("table", schema, table, ""), frozenset({"comment"})
        case _:
            return None, frozenset()


def _pruned(op: ops.AlterColumnOp, one: Difference) -> frozenset[str]:
    """Leave of a change of a column what differs and Alembic writes as it should; return those aspects."""
    aspects = set(one.aspects)
    if "type" not in aspects or "collation" in aspects or not _both_expressible(op):
        op.modify_type = None
        op.kw.pop("postgresql_using", None)
    if aspects & _DEFAULTS != {"default"}:
        op.modify_server_default = False
    if "not null" not in aspects:
        op.modify_nullable = None
    if "comment" not in aspects:
        op.modify_comment = False
    kept = {
        "type": op.modify_type is not None, "default": op.modify_server_default is not False,
        "not null": op.modify_nullable is not None, "comment": op.modify_comment is not False,
    }  # fmt: skip
    return frozenset(name for name, is_kept in kept.items() if is_kept)


def _both_expressible(op: ops.AlterColumnOp) -> bool:
    return all(type_ is None or expressible(type_) for type_ in (op.modify_type, op.existing_type))


def _going(by_key: dict[Key, Difference], differences: list[Difference]) -> set[Key]:
    """Return the constraints and indexes that go with a column, or with a whole table: the server drops them along."""
    gone = {one.key for one in differences if one.wanted is None and one.key.kind in ("column", "table")}
    made = {one.key for one in differences if one.now is None and one.key.kind == "table"}
    going = set()
    for key, one in by_key.items():
        table = Key("table", *key[1:3], "")
        with_table = key.table and key.kind != "table" and table in gone | made
        columns = one.now.columns if one.now and one.wanted is None else ()
        if with_table or any(Key("column", *key[1:3], name) in gone for name in columns):
            going.add(key)
    return going


def _rest(one: Difference, claimed: frozenset[str]) -> Difference | None:
    """Return what of a difference is not claimed; None where all of it is."""
    if not claimed:
        return one
    if claimed == _ALL or one.now is None or one.wanted is None:
        return None
    rest = [name for name in one.aspects if name not in claimed]
    if not rest:
        return None
    settled = {name: one.wanted.get(name) or None for name in claimed}
    aspects = tuple((name, settled.get(name, value)) for name, value in one.now.aspects)
    return one._replace(now=one.now._replace(aspects=aspects))
