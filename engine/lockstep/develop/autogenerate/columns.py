"""Columns: steps that add, change or remove a column on a table in use, or a refusal.

What PostgreSQL does in its catalog alone stays as it is; what would read or rewrite the table under
ACCESS EXCLUSIVE is taken apart, and where no taking apart is right without knowing the data, refused.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy.schema import Column

from lockstep.backfill.declare import BackfillOp
from lockstep.develop.autogenerate import trial
from lockstep.develop.autogenerate.refusal import Refusal
from lockstep.develop.autogenerate.scene import NAME_BYTES, Scene, plain, shown, type_name
from lockstep.develop.autogenerate.step import NoteOp, Phase, Step, autocommit, execute
from lockstep.develop.autogenerate.table_sql import literal
from lockstep.postgres.statements import unbound

BY_COPY = (
    "Write it in steps: add a column of the new kind under another name (nullable), write both in the app, "
    "copy the old rows over in batches, then make the new one NOT NULL and let the models name it alone; "
    "the old one is dropped when no release uses it."
)


def added(op: ops.AddColumnOp, scene: Scene) -> Iterator[Step]:
    """ADD COLUMN where that is metadata only; a volatile default is set afterwards; else a refusal."""
    column, where = op.column, shown(op.schema, op.table_name, op.column.name)
    if not column.nullable and column.server_default is None:
        raise Refusal(
            f"{where} is new, NOT NULL and has no server default: the rows that are there have no value for it, "
            "and a release that does not know it can no longer insert.",
            "Give it a constant server_default, which costs nothing; or write it nullable=True now, fill the "
            "rows in batches, and make it nullable=False in a later release: the steps for that are "
            "written then.",
        )
    group = shown(op.schema, op.table_name)
    if not _rewrites_when_added(op, scene):
        yield Step(Phase.ALTER, f"add {where}", (op,), (op.reverse(),), group=group)
        return
    _refuse_filled_column(column, where, scene)
    default = column.server_default
    bare = column._copy()  # noqa: SLF001 -- a column belongs to one table
    bare.server_default = None
    add = ops.AddColumnOp(op.table_name, bare, schema=op.schema)
    set_default = ops.AlterColumnOp(
        op.table_name,
        column.name,
        schema=op.schema,
        existing_type=column.type,
        existing_nullable=True,
        modify_server_default=default,
    )
    note = "Rows that are there keep NULL: giving each a value here would rewrite the table under lock."
    yield Step(
        Phase.ALTER,
        f"add {where}",
        (NoteOp(note), add, set_default),
        (add.reverse(),),
        review=(f"{where}: the rows that are there keep NULL; fill them in batches if they need a value",),
        group=group,
    )


def changed(op: ops.AlterColumnOp, scene: Scene) -> Iterator[Step]:
    """ALTER COLUMN, one step for what is metadata only and further ones for NOT NULL."""
    where, group = shown(op.schema, op.table_name, op.column_name), shown(op.schema, op.table_name)
    review: tuple[str, ...] = ()
    if op.modify_type is not None:
        _refuse_type_change(op, scene, where)
    if op.modify_server_default is not False and op.modify_server_default is None:
        review = (f"{where}: loses its default; a release that leaves it out on INSERT depends on it",)
    tightens = op.modify_nullable is False
    plain = _without_nullable(op) if tightens else op
    if plain.has_changes():
        yield Step(Phase.ALTER, f"change {where}", (plain,), (plain.reverse(),), review, group=group)
    if tightens:
        yield from not_null(op, scene)


def removed(drops: list[ops.DropColumnOp], implied: list[ops.MigrateOperation]) -> Iterator[Step]:
    """Write a revision that makes the columns optional, and one that drops them with what rests on them.

    `implied` are the indexes and unique constraints that PostgreSQL drops with a column: dropped earlier,
    the release that still uses the column would be without them until the column goes.
    """
    for op in drops:
        column = op.to_column()
        if not column.nullable and column.server_default is None:
            yield _made_optional(op, column)
    back: list[ops.MigrateOperation] = []
    for op in reversed(drops):
        column = op.to_column()._copy()  # noqa: SLF001 -- as above
        column.nullable = column.nullable or column.server_default is None
        back.append(ops.AddColumnOp(op.table_name, column, schema=op.schema))
    first = drops[0]
    back += [each.reverse() for each in implied if isinstance(each, ops.DropConstraintOp)]
    indexes = [each.reverse() for each in implied if isinstance(each, ops.DropIndexOp)]
    for index in indexes:
        index.kw["postgresql_concurrently"] = True
    if indexes:
        back.append(autocommit(*indexes))
    names = ", ".join(op.column_name for op in drops)
    table = shown(first.schema, first.table_name)
    yield Step(
        Phase.DROP_COLUMN,
        f"drop {table} {names}",
        tuple(drops),
        (NoteOp("The values are gone: the column comes back empty."), *back),
        review=(f"{table}: the values of {names} are lost; if this is a rename, add the new column, copy, then drop",),
    )


def _rewrites_when_added(op: ops.AddColumnOp, scene: Scene) -> bool:
    like = scene.quote(op.schema, op.table_name)
    where = shown(op.schema, op.table_name, op.column.name)
    try:
        return trial.added(scene.connection, like, op.column, scene.prelude)
    except (sa.exc.DBAPIError, trial.UntriedError) as error:
        raise Refusal(
            f"{where} cannot be added: {first_line(error)}",
            "Put the models right, or first write by hand what the column needs (`migrator revision` "
            "without autogenerate).",
        ) from None


def _refuse_filled_column(column: Column, where: str, scene: Scene) -> None:
    if isinstance(column.server_default, sa.Computed):
        raise Refusal(
            f"{where} is a stored generated column: adding it rewrites the table while nobody can read it.",
            "Add a plain nullable column and a trigger that keeps it, and fill the old rows in batches; or "
            "compute it on reading (PostgreSQL 18: Computed(..., persisted=False) costs nothing).",
        )
    if isinstance(column.server_default, sa.Identity):
        raise Refusal(
            f"{where} is an identity column: adding it rewrites the table while nobody can read it.",
            "Add a nullable BigInteger, give it a sequence as its default by hand, number the old rows in "
            "batches, then make it nullable=False and an Identity.",
        )
    if not column.nullable:
        raise Refusal(
            f"{where} is NOT NULL and its default gives each row a value of its own: adding it rewrites the "
            "table while nobody can read it.",
            "Write it nullable=True with that default now, fill the old rows in batches, and make it "
            "nullable=False in a later release: the steps for that are written then.",
        )
    if column.server_default is None:
        type_ = type_name(scene.dialect, column.type)
        raise Refusal(
            f"{where}: its type {type_} makes PostgreSQL rewrite the table while nobody can read it.",
            "Use the plain type the domain is made of, and a CHECK, which is added without a rewrite.",
        )


def _refuse_type_change(op: ops.AlterColumnOp, scene: Scene, where: str) -> None:
    old, new = (type_name(scene.dialect, type_) for type_ in (op.existing_type, op.modify_type))
    change = f"{where} changes from {old} to {new}"
    like = scene.quote(op.schema, op.table_name)
    try:
        rewrites = trial.altered(scene.connection, like, op, scene.prelude)
    except (sa.exc.DBAPIError, trial.UntriedError) as error:
        raise Refusal(f"{change}, and PostgreSQL refuses: {first_line(error)}", BY_COPY) from None
    if rewrites:
        raise Refusal(f"{change}: PostgreSQL rewrites the table, or an index, while nobody can read it.", BY_COPY)
    refuse_checked(scene, op.schema, op.table_name, op.column_name, change)


def refuse_checked(scene: Scene, schema: str | None, table: str, column: str, change: str) -> None:
    """Raise Refusal where a change of type makes PostgreSQL check the rows anew."""
    checks = [rest.name for rest in scene.rests_on(schema, table, [column]) if rest.kind == "c"]
    if checks:
        raise Refusal(
            f"{change}: PostgreSQL checks every row against {', '.join(sorted(checks))} anew while nobody can read.",
            "Take the check out of the models first, change the type in the next revision, and put the check "
            "back in the one after: it is then validated without blocking.",
        )


def not_null(op: ops.AlterColumnOp, scene: Scene) -> Iterator[Step]:
    """CHECK NOT VALID, VALIDATE, and SET NOT NULL, which the valid check saves from reading the table.

    PostgreSQL 18 has NOT NULL NOT VALID of its own; this way is as cheap and is one and the same on every
    server, so that a revision written here runs on an older production.
    """
    where = shown(op.schema, op.table_name, op.column_name)
    table = scene.quote(op.schema, op.table_name)
    proof, unproved = _proof(op, scene), _proof(op, scene, postgresql_not_valid=True)
    drop = unproved.reverse()
    nullable = ops.AlterColumnOp(
        op.table_name,
        op.column_name,
        schema=op.schema,
        existing_type=op.modify_type or op.existing_type,
        existing_nullable=True,
        modify_nullable=False,
    )
    fill, look = _fill(op, scene, where)
    validate = f"ALTER TABLE {table} VALIDATE CONSTRAINT {scene.quote(proof.constraint_name)}"
    yield Step(
        Phase.TIGHTEN,
        f"refuse null in {where}",
        (unproved, fill),
        (drop,),
        (f"{where}: a release that still writes NULL to it fails from here on", look),
    )
    yield Step(Phase.TIGHTEN, f"validate {where} not null", (execute(validate),), (drop, unproved))
    yield Step(Phase.TIGHTEN, f"set {where} not null", (nullable, drop), (proof, nullable.reverse()))


def _proof(op: ops.AlterColumnOp, scene: Scene, **options: Any) -> ops.CreateCheckConstraintOp:
    name = sa.schema.conv(_proof_name(op.table_name, op.column_name))  # a naming convention leaves it as it is
    condition = unbound(f"{scene.quote(op.column_name)} IS NOT NULL")
    return ops.CreateCheckConstraintOp(name, op.table_name, condition, schema=op.schema, **options)


def _fill(op: ops.AlterColumnOp, scene: Scene, where: str) -> tuple[ops.MigrateOperation, str]:
    """Fill old rows with the column's default, in batches; without one, show how. With it, what to look at."""
    column = scene.quote(op.column_name)
    given = op.modify_server_default if op.modify_server_default is not False else op.existing_server_default
    argument = getattr(given, "arg", given)
    undone = f"{column} IS NULL"
    if not isinstance(argument, str | sa.ClauseElement):
        shown_call = f'op.backfill({op.table_name!r}, set={{{op.column_name!r}: "…"}}, where={undone!r})'
        note = f"Rows that hold NULL have to be filled before the next revision: {shown_call}"
        return NoteOp(note), f"{where}: validating fails while a row holds NULL; say in the revision what to fill in"
    # As SQLAlchemy has it: a plain string is a value, text() is SQL.
    value = literal(argument) if isinstance(argument, str) else plain(scene.dialect, _sql(argument, scene))
    fill = BackfillOp(op.table_name, {op.column_name: value}, undone, schema=op.schema)
    return fill, f"{where}: rows that hold NULL are filled with {value}; change the revision if that is not right"


def _sql(clause: sa.ClauseElement, scene: Scene) -> str:
    return str(clause.compile(dialect=scene.dialect, compile_kwargs={"literal_binds": True}))


def _proof_name(table: str, column: str) -> str:
    name = f"ck_{table}_{column}_not_null"
    if len(name.encode()) <= NAME_BYTES:
        return name
    return f"ck_{sha256(name.encode()).hexdigest()[:16]}_not_null"


def _made_optional(op: ops.DropColumnOp, column: Column) -> Step:
    where = shown(op.schema, op.table_name, op.column_name)
    relax = ops.AlterColumnOp(
        op.table_name,
        op.column_name,
        schema=op.schema,
        existing_type=column.type,
        existing_nullable=False,
        modify_nullable=True,
    )
    note = f"Fails while a row holds NULL in {op.column_name}: fill those first."
    return Step(
        Phase.ALTER,
        f"make {where} optional",
        (relax,),
        (NoteOp(note), relax.reverse()),
        group=shown(op.schema, op.table_name),
    )


def _without_nullable(op: ops.AlterColumnOp) -> ops.AlterColumnOp:
    return type(op)(
        op.table_name,
        op.column_name,
        schema=op.schema,
        existing_type=op.existing_type,
        existing_server_default=op.existing_server_default,
        existing_nullable=op.existing_nullable,
        existing_comment=op.existing_comment,
        modify_nullable=None,
        modify_comment=op.modify_comment,
        modify_server_default=op.modify_server_default,
        modify_name=op.modify_name,
        modify_type=op.modify_type,
        **op.kw,
    )


def first_line(error: Exception) -> str:
    """Return what the server said, in one line."""
    return str(getattr(error, "orig", error)).splitlines()[0]
