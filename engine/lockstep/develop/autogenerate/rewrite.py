"""Rewrite: turn the one script that autogenerate found into a chain of scripts that block nobody.

Each script is one transaction of the migrator, in the order of `step.Phase`.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from alembic.operations import ops
from alembic.util import rev_id

from lockstep.develop.autogenerate import by_definition, comparison, enums, proposals, renames, tables
from lockstep.develop.autogenerate.refusal import Refusal
from lockstep.develop.autogenerate.scene import Scene, key, shown
from lockstep.develop.autogenerate.step import DifferenceOp, NoteOp, Phase, Step, WrittenOp, chain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext

    from lockstep.develop.autogenerate.differences import Difference

_FIRST = ("schema", "sequence", "enum", "domain")  # what a column may need, in the order that it can be made
REVIEW = "autogenerate_review"
COMPARED = "lockstep.compared"  # config.attributes: what was compared, and how it differs

log = logging.getLogger("alembic.autogenerate.review")  # which `alembic init` shows


def hook(context: MigrationContext, revision: object, directives: list[ops.MigrationScript]) -> None:
    """Do what `safe` does, for a project whose env.py does not ask for it; once, where it does."""
    if context.opts.get("process_revision_directives") is not safe:
        safe(context, revision, directives)


def safe(context: MigrationContext, _revision: object, directives: list[ops.MigrationScript]) -> None:
    """Alembic's `process_revision_directives`: the safe revisions in place of the one that was found."""
    call = context.opts.get("revision_context")
    if call is None or not call.command_args.get("autogenerate"):
        return
    if not directives:  # a hook before this one has left an empty revision out
        return
    script = directives[-1]
    if len(script.upgrade_ops_list) > 1 or context.connection is None:
        return
    compared = comparison.made(context)
    if context.config is not None:
        context.config.attributes[COMPARED] = compared
    scene = _scene(context, script.upgrade_ops.ops, compared)
    sifted = proposals.sift(script.upgrade_ops.ops, list(compared.differences), compared.exact, scene)
    if _is_check(context):  # it has to see what differs, not what would be written
        differs = [DifferenceOp(str(one.key)) for one in (*sifted.unclaimed, *compared.renamed)]
        script.upgrade_ops.ops = [*sifted.ops, *sifted.late_keys, *differs]
        return
    steps = chain(_steps(sifted, compared, scene))
    if not steps:
        # an empty revision says nothing; Alembic's own cookbook leaves it out this way
        directives[:] = []
        return
    review = [line for step in steps for line in step.review]
    review += renames.hints(sifted.ops, scene)
    for line in dict.fromkeys(review):
        log.info(line)
    if context.config is not None:
        context.config.attributes[REVIEW] = tuple(dict.fromkeys(review))
    directives[:] = _scripts(context, script, steps)


def review(config: Config) -> tuple[str, ...]:
    """Return what a person should look at in the revisions that were just written with this config."""
    return config.attributes.get(REVIEW, ())


def _is_check(context: MigrationContext) -> bool:
    return getattr(context.opts.get("fn"), "__qualname__", "").startswith("check.")


def _scene(context: MigrationContext, found: list[ops.MigrateOperation], compared: comparison.Comparison) -> Scene:
    dialect = context.connection.dialect
    created = frozenset(key(dialect, op) for op in found if isinstance(op, ops.CreateTableOp))
    scene = Scene(context.connection, created)
    new = [one for one in compared.differences if one.now is None and one.key.kind in _FIRST]
    made = (
        enums.create_type(one.key, one.wanted, scene) if one.key.kind == "enum" else by_definition.made_first(one)
        for one in sorted(new, key=lambda each: _FIRST.index(each.key.kind))
    )
    return replace(scene, prelude=tuple(made))


def _steps(sifted: proposals.Sifted, compared: comparison.Comparison, scene: Scene) -> list[Step]:
    steps, refusals = [], []
    for change in _changes(sifted, compared, scene):
        try:
            steps.extend(change)
        except Refusal as refusal:
            refusals.append(refusal)
    if refusals:
        raise Refusal.of(refusals)
    return steps


def _changes(  # noqa: C901 - one branch a kind
    sifted: proposals.Sifted, compared: comparison.Comparison, scene: Scene
) -> Iterator[Iterable[Step]]:
    found = sifted.ops
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
        elif not isinstance(op, ops.DropTableOp):
            yield [_foreign(op)]
    for op in sifted.late_keys:
        yield [tables.late_key(op)]
    for table in sorted(going, key=lambda each: (-compared.now.generation(*each), shown(*each))):
        yield tables.dropped(going[table], belongings.get(table))
    for one in sorted(sifted.unclaimed, key=lambda each: _generation(each, compared)):
        yield by_definition.steps(one, compared.now, compared.wanted, scene)
    for one in compared.renamed:
        yield [by_definition.renamed(one)]


def _generation(one: Difference, compared: comparison.Comparison) -> int:
    """Put parents before children where they are made, and after them where they are dropped."""
    if one.wanted is None:
        return -compared.now.generation(one.key.schema, one.key.table)
    return compared.wanted.generation(one.key.schema, one.key.table)


def _foreign(op: ops.MigrateOperation) -> Step:
    """Leave as it is what another plugin of Alembic's found, in a revision of its own."""
    try:
        back = op.reverse()
    except NotImplementedError:
        back = NoteOp("Nobody knows the way back: write it, if there is one.")
    return Step(Phase.ALTER, type(op).__name__, (op,), (back,))


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
