"""Defaults: a column as it is and as the models have it in, whether the server default differs out.

Alembic asks `select <one> = <other>`, which is never true of `gen_random_uuid()`, and ends the transaction
where the type has no equality or an enum no such label yet. Here PostgreSQL writes the models' default in
its own words, and texts are compared. A plugin of Alembic's, because its `compare_server_default` hook
fails on identity columns.
"""

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy.schema import Column, DefaultClause

from lockstep.develop.autogenerate import scene, trial

NAME = "lockstep.develop.autogenerate.defaults"


def setup(plugin: Plugin) -> None:
    """Register with Alembic, ahead of its own comparison."""
    plugin.add_autogenerate_comparator(_compare, "column", "server_default", priority=DispatchPriority.FIRST)


def _compare(
    context: AutogenContext,
    change: ops.AlterColumnOp,
    schema: str | None,
    table: str,
    column: str,
    now: Column,
    wanted: Column,
) -> PriorityDispatchResult:
    if not isinstance(now.server_default, DefaultClause) or not isinstance(wanted.server_default, DefaultClause):
        return PriorityDispatchResult.CONTINUE
    connection, dialect = context.connection, context.dialect
    expression = scene.plain(dialect, dialect.ddl_compiler(dialect, None).get_column_default_string(wanted))
    names = scene.Scene(connection, frozenset())
    change.existing_server_default = now.server_default
    # tried on the column as it is now: a change of type is found, and written, on its own
    try:
        default = trial.default_of(connection, names.quote(schema, table), names.quote(column), expression)
    except trial.UntriedError:
        return PriorityDispatchResult.CONTINUE
    if default != str(now.server_default.arg.text):
        change.modify_server_default = wanted.server_default
    return PriorityDispatchResult.STOP
