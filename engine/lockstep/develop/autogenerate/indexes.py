"""Indexes: steps that make or drop an index on a table in use, and block nobody.

CREATE INDEX takes SHARE and holds every write of the table for the whole build; DROP INDEX takes
ACCESS EXCLUSIVE. The CONCURRENTLY forms block neither, and cannot run in a transaction.
"""

from collections.abc import Iterator

from alembic.operations import ops

from lockstep.develop.autogenerate.refusal import Refusal
from lockstep.develop.autogenerate.scene import NAME_BYTES, Scene, shown
from lockstep.develop.autogenerate.step import Phase, Step, autocommit, execute


def made(op: ops.CreateIndexOp, scene: Scene) -> Iterator[Step]:
    """CREATE INDEX CONCURRENTLY, alone."""
    _refuse_partitioned(op, scene)
    build = concurrent(op)
    yield Step(
        Phase.INDEX,
        f"add index {op.index_name}",
        up=(autocommit(build),),
        down=(autocommit(_drop(build)),),
        review=_uniqueness(op),
    )


def dropped(op: ops.DropIndexOp, scene: Scene) -> Iterator[Step]:
    """DROP INDEX CONCURRENTLY, alone; the way back builds it concurrently."""
    build = concurrent(op.reverse())
    if scene.is_partitioned(op.schema, op.table_name):
        # there is no concurrent form for the index of a partitioned table
        yield Step(Phase.DROP_INDEX, f"drop index {op.index_name}", (op,), (op.reverse(),))
        return
    yield Step(
        Phase.DROP_INDEX,
        f"drop index {op.index_name}",
        up=(autocommit(_drop(build)),),
        down=(autocommit(build),),
    )


def replaced(old: ops.DropIndexOp, new: ops.CreateIndexOp, scene: Scene) -> Iterator[Step]:
    """Build the new index under another name, drop the old one, rename: never a time without one."""
    _refuse_partitioned(new, scene)
    name = str(new.index_name)
    interim = interim_name(name)
    build = concurrent(new, name=interim)
    yield Step(
        Phase.INDEX,
        f"build new {name}",
        up=(autocommit(build),),
        down=(autocommit(_drop(build)),),
        review=_uniqueness(new),
    )
    rebuild = concurrent(old.reverse())
    yield Step(
        Phase.INDEX,
        f"drop old {name}",
        up=(autocommit(_drop(rebuild)),),
        down=(autocommit(rebuild),),
    )
    rename = "ALTER INDEX {} RENAME TO {}"
    yield Step(
        Phase.INDEX,
        f"rename {name}",
        up=(execute(rename.format(scene.quote(new.schema, interim), scene.quote(name))),),
        down=(execute(rename.format(scene.quote(new.schema, name), scene.quote(interim))),),
    )


def concurrent(op: ops.CreateIndexOp, name: str | None = None) -> ops.CreateIndexOp:
    """Return the same index, built without blocking writes."""
    return ops.CreateIndexOp(
        name or op.index_name,
        op.table_name,
        op.columns,
        schema=op.schema,
        unique=op.unique,
        **{**op.kw, "postgresql_concurrently": True},
    )


def interim_name(name: str) -> str:
    """Return a name for the time until the wanted one is free, no longer than PostgreSQL takes."""
    suffix = "_new"
    return name.encode()[: NAME_BYTES - len(suffix)].decode(errors="ignore") + suffix


def _drop(build: ops.CreateIndexOp) -> ops.DropIndexOp:
    return ops.DropIndexOp(
        build.index_name,
        build.table_name,
        schema=build.schema,
        postgresql_concurrently=True,
        _reverse=build,
    )


def _uniqueness(op: ops.CreateIndexOp) -> tuple[str, ...]:
    if not op.unique:
        return ()
    table = shown(op.schema, op.table_name)
    return (f"{table}: {op.index_name} fails, and has to be built again, if two rows have the same values now",)


def _refuse_partitioned(op: ops.CreateIndexOp, scene: Scene) -> None:
    if scene.is_partitioned(op.schema, op.table_name):
        raise Refusal(
            f"index {op.index_name}: {shown(op.schema, op.table_name)} is partitioned, and PostgreSQL "
            "builds no index of a partitioned table concurrently.",
            "Write it by hand: CREATE INDEX ... ON ONLY the parent, CREATE INDEX CONCURRENTLY on each "
            "partition, then ALTER INDEX ... ATTACH PARTITION for each.",
        )
