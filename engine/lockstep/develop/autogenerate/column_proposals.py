"""Column proposals: propose a change of type and default for a column, whatever its type.

Always one, for what is equal in both catalogs is sifted out afterwards. Alembic's own comparison of types overlooks
lengths and arrays, and that of defaults asks `select <one> = <other>`, which ends the transaction where a type has no
equality, or an enum no such label yet.
"""

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy.schema import Column, Computed, Identity

NAME = "lockstep.develop.autogenerate.column_proposals"


def setup(plugin: Plugin) -> None:
    """Register with Alembic, ahead of its own comparisons."""
    for what, propose in (("type", _type), ("server_default", _default)):
        plugin.add_autogenerate_comparator(propose, "column", what, priority=DispatchPriority.FIRST)


def _type(
    _context: AutogenContext, change: ops.AlterColumnOp, _schema: str | None, _table: str, _column: str, now: Column,
    wanted: Column,
) -> PriorityDispatchResult:  # fmt: skip
    change.existing_type, change.modify_type = now.type, wanted.type
    return PriorityDispatchResult.STOP


def _default(
    _context: AutogenContext, change: ops.AlterColumnOp, _schema: str | None, _table: str, _column: str, now: Column,
    wanted: Column,
) -> PriorityDispatchResult:  # fmt: skip
    change.existing_server_default = now.server_default
    if not isinstance(now.server_default, (Computed, Identity)) and not isinstance(
        wanted.server_default, (Computed, Identity)
    ):
        change.modify_server_default = wanted.server_default
    return PriorityDispatchResult.STOP
