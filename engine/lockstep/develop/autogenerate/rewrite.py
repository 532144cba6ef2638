"""Rewrite: the one script autogenerate found in, a chain of scripts that block nobody out.

Each script is one transaction of the migrator, in the order of `step.Phase`.
"""

import logging
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import replace

import sqlalchemy as sa
from alembic.config import Config
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from alembic.util import rev_id

from lockstep.develop.autogenerate import enums, renames, tables
from lockstep.develop.autogenerate.refusal import Refusal
from lockstep.develop.autogenerate.scene import Scene, key, shown
from lockstep.develop.autogenerate.step import NoteOp, Phase, Step, WrittenOp, chain

REVIEW = "autogenerate_review"

log = logging.getLogger("alembic.autogenerate.review")  # which `alembic init` shows

NOT_COMPARED = (
    "not compared, write by hand: sequences, exclusion constraints, computed expressions, views, functions, "
    "triggers, policies, grants"
)


def safe(context: MigrationContext, _revision: object, directives: list[ops.MigrationScript]) -> None:
    """Alembic's `process_revision_directives`: the safe revisions in place of the one that was found."""
    call = context.opts.get("revision_context")
    if call is None or not call.command_args.get("autogenerate") or _is_check(context):
        return
    if not directives:  # a hook before this one has left an empty revision out
        return
    script = directives[-1]
    if len(script.upgrade_ops_list) > 1 or context.connection is None:
        return
    found = script.upgrade_ops.ops
    scene = _scene(context, found)
    steps = chain(_steps(context, found, scene))
    if not steps:
        # an empty revision says nothing; Alembic's own cookbook leaves it out this way
        directives[:] = []
        return
    review = [line for step in steps for line in step.review]
    review += [*renames.hints(found, scene), NOT_COMPARED]
    for line in dict.fromkeys(review):
        log.info(line)
    if context.config is not None:
        context.config.attributes[REVIEW] = tuple(dict.fromkeys(review))
    directives[:] = _scripts(context, script, steps)


def review(config: Config) -> tuple[str, ...]:
    """Return what a person should look at in the revisions that were just written with this config."""
    return config.attributes.get(REVIEW, ())


def _is_check(context: MigrationContext) -> bool:
    # `alembic check` runs the same hook, and has to see what was found, not what would be written
    return getattr(context.opts.get("fn"), "__qualname__", "").startswith("check.")


def _scene(context: MigrationContext, found: list[ops.MigrateOperation]) -> Scene:
    dialect = context.connection.dialect
    created = frozenset(key(dialect, op) for op in found if isinstance(op, ops.CreateTableOp))
    scene = Scene(context.connection, created)
    types = (op for op in found if getattr(op, "operation_name", None) == "create_enum")
    return replace(scene, prelude=tuple(enums.create_type(op, scene) for op in types))


def _steps(context: MigrationContext, found: list[ops.MigrateOperation], scene: Scene) -> list[Step]:
    steps, refusals = [], list(_primary_keys(context, scene))
    for change in _changes(found, scene):
        try:
            steps.extend(change)
        except Refusal as refusal:
            refusals.append(refusal)
    if refusals:
        raise Refusal.of(refusals)
    return steps


def _changes(found: list[ops.MigrateOperation], scene: Scene) -> Iterator[Iterable[Step]]:
    inspector = sa.inspect(scene.connection)
    schemas = {schema for schema, _ in scene.created if schema} - set(inspector.get_schema_names())
    for schema in sorted(schemas):
        yield [tables.schema_made(schema, scene)]
    going = {key(scene.dialect, op): op for op in found if isinstance(op, ops.DropTableOp)}
    belongings = {key(scene.dialect, op): op for op in found if isinstance(op, ops.ModifyTableOps)}
    for op in found:
        if isinstance(op, ops.CreateTableOp):
            yield [tables.made(op)]
        elif isinstance(op, ops.ModifyTableOps):
            if key(scene.dialect, op) in scene.created:
                yield [tables.made(op)]
            elif key(scene.dialect, op) not in going:
                yield from tables.changed(op, scene)
        elif enums.is_enum_change(op):
            yield enums.steps(op, scene)
        elif not isinstance(op, ops.DropTableOp):
            yield [_foreign(op)]
    for table in sorted(going, key=lambda each: shown(*each)):
        yield tables.dropped(going[table], belongings.get(table))


def _foreign(op: ops.MigrateOperation) -> Step:
    """Leave as it is what another plugin of Alembic's found, in a revision of its own."""
    try:
        back = op.reverse()
    except NotImplementedError:
        back = NoteOp("Nobody knows the way back: write it, if there is one.")
    return Step(Phase.ALTER, type(op).__name__, (op,), (back,))


def _primary_keys(context: MigrationContext, scene: Scene) -> Iterator[Refusal]:
    """Alembic does not compare primary keys: a change of one would be lost without a word."""
    metadata = context.opts["target_metadata"]
    default = scene.dialect.default_schema_name
    inspector = sa.inspect(scene.connection)
    schemas = {table.schema for table in metadata.tables.values()} & {None, *inspector.get_schema_names()}
    current = {}
    for schema in schemas:
        current |= inspector.get_multi_pk_constraint(schema=schema)
    for table in metadata.sorted_tables:
        known = current.get((table.schema, table.name))
        if known is None:
            continue
        now = known["constrained_columns"]
        wanted = [column.name for column in table.primary_key.columns]
        if now != wanted:
            name = shown(table.schema if table.schema != default else None, table.name)
            yield Refusal(
                f"{name}: the primary key changes from ({', '.join(now)}) to ({', '.join(wanted)}), which "
                "Alembic does not write.",
                "Write it by hand: a unique index CONCURRENTLY on the new columns, each of them NOT NULL, then in "
                "one revision DROP CONSTRAINT and ADD PRIMARY KEY USING INDEX.",
            )


def _scripts(context: MigrationContext, first: ops.MigrationScript, steps: list[Step]) -> list[ops.MigrationScript]:
    scripts: list[ops.MigrationScript] = []
    for step in steps:
        up = ops.UpgradeOps([WrittenOp(list(step.up))], upgrade_token=context.opts["upgrade_token"])
        down = ops.DowngradeOps([WrittenOp(list(step.down))], downgrade_token=context.opts["downgrade_token"])
        if not scripts:
            first.upgrade_ops, first.downgrade_ops = up, down
            first.message = first.message or step.title
            scripts.append(first)
            continue
        previous = scripts[-1]
        scripts.append(
            ops.MigrationScript(
                _next_id(previous.rev_id),
                up,
                down,
                message=step.title,
                head=previous.rev_id,
                version_path=first.version_path,
            )
        )
    return scripts


def _next_id(previous: str) -> str:
    """Return an id that sorts after the previous one, so that the files of one command lie in their order."""
    try:
        number = int(previous, 16) + 1 + secrets.randbelow(2**36)
    except ValueError:
        return rev_id()
    return f"{number:0{len(previous)}x}" if number < 16 ** len(previous) else rev_id()
