"""Declare: `op.backfill(…)` in a revision, which writes a row into the ledger; in --sql, one statement.

The revision itself stays short: what it declares is done afterwards, in batches, by `upgrade` or `migrator backfill`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation, Operations

from lockstep.backfill import target
from lockstep.errors import Refused
from lockstep.postgres.statements import quoted, unbound

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCH_SIZE = 100  # the first batch; what follows is a matter of time, not of rows
ON_ERROR = ("stop", "set aside")
NEEDS = "-- needs backfill "  # how a rendered revision says so

_THERE = "SELECT state, revision FROM migrator.backfill WHERE name = :name"
DECLARED = "migrator.backfill"  # in the connection's info: the revision that runs has declared one
_INSERT = """
INSERT INTO migrator.backfill
    (name, namespace, relation, assignments, predicate, search_path, batch_size, before_serving, on_error)
VALUES (:name, :namespace, :relation, CAST(:assignments AS jsonb), :predicate, current_setting('search_path'),
        :batch_size, :before_serving, :on_error)"""


@Operations.register_operation("backfill")
class BackfillOp(MigrateOperation):
    """A change of the rows that fulfil a predicate; the change makes it false, so doing it twice changes nothing."""

    def __init__(
        self,
        table: str,
        assignments: Mapping[str, Any],
        where: Any,
        *,
        schema: str | None = None,
        name: str | None = None,
        batch_size: int = BATCH_SIZE,
        before_serving: bool = False,
        on_error: str = "stop",
    ) -> None:
        """Hold what is to be set, in which rows of which table."""
        self.table, self.schema = table, schema
        self.assignments, self.where = dict(assignments), where
        self.name = name or "_".join([table, *self.assignments])
        self.batch_size, self.before_serving, self.on_error = batch_size, before_serving, on_error

    @classmethod
    def backfill(
        cls,
        operations: Operations,
        table: str,
        *,
        set: Mapping[str, Any],  # noqa: A002 - as in UPDATE … SET
        where: Any,
        schema: str | None = None,
        name: str | None = None,
        batch_size: int = BATCH_SIZE,
        before_serving: bool = False,
        on_error: str = "stop",
    ) -> None:
        """Set columns of the rows that fulfil `where`, in batches, once this revision is applied.

        `set` and `where` are SQL, or SQLAlchemy expressions. `before_serving`: this release is not served before it
        is finished. `on_error`: "stop" at a row that fails, or "set aside" such rows.
        """
        operations.invoke(
            cls(
                table, set, where, schema=schema, name=name, batch_size=batch_size, before_serving=before_serving,
                on_error=on_error,
            )
        )  # fmt: skip

    def statement(self, dialect: Any) -> str:
        """Return the one UPDATE it stands for."""
        values, where = self.texts(dialect)
        sets = ", ".join(f"{quoted(column)} = {value}" for column, value in values.items())
        place = ".".join(quoted(part) for part in (self.schema, self.table) if part)
        return f"UPDATE {place} SET {sets} WHERE {where}"  # noqa: S608 - the revision's own SQL

    def texts(self, dialect: Any) -> tuple[dict[str, str], str]:
        """Return the assignments and the predicate as SQL."""
        return {column: _sql(value, dialect) for column, value in self.assignments.items()}, _sql(self.where, dialect)

    def to_diff_tuple(self) -> tuple[str, str]:
        """Itself, as `alembic check` lists operations."""
        return ("backfill", self.name)


@Operations.register_operation("needs_backfill")
class NeedsBackfillOp(MigrateOperation):
    """A word to the migrator that a revision waits for a backfill that its own SQL does not show it needs."""

    def __init__(self, name: str) -> None:
        """Hold the backfill's name."""
        self.name = name

    @classmethod
    def needs_backfill(cls, operations: Operations, name: str) -> None:
        """Hold this revision back until the backfill of that name is finished."""
        operations.invoke(cls(name))


@Operations.implementation_for(NeedsBackfillOp)
def _needs(operations: Operations, operation: NeedsBackfillOp) -> None:
    if operations.migration_context.as_sql:
        operations.impl.static_output(f"{NEEDS}{operation.name}")


@Operations.implementation_for(BackfillOp)
def _backfill(operations: Operations, operation: BackfillOp) -> None:
    context = operations.migration_context
    _check(operation)
    if context.as_sql:
        operations.impl.static_output(
            f"-- backfill {operation.name}: `migrator upgrade` and `migrator backfill` do this in batches by key"
        )
        operations.execute(sa.text(unbound(operation.statement(context.dialect))))
        return
    connection = operations.get_bind()
    if connection.exec_driver_sql("SELECT to_regclass('migrator.backfill') IS NULL").scalar():
        # A throw-away database, or Alembic without the migrator: no ledger, nobody to do it later.
        operations.execute(sa.text(unbound(operation.statement(context.dialect))))
        return
    _record(connection, operation)


def _record(connection: sa.Connection, operation: BackfillOp) -> None:
    found = connection.execute(sa.text(_THERE), {"name": operation.name}).one_or_none()
    if found and found.revision is not None:
        if found.state in ("new", "running", "paused", "failed"):
            raise Refused(
                f"backfill {operation.name} of revision {found.revision} is not finished",
                'give this one another name: op.backfill(…, name="…")',
            )
        connection.execute(sa.text("DELETE FROM migrator.backfill WHERE name = :name"), {"name": operation.name})
    connection.info[DECLARED] = True
    values, where = operation.texts(connection.dialect)
    namespace, relation = target.found(connection, operation.schema, operation.table)
    target.check(connection, namespace, relation, tuple(values))
    connection.exec_driver_sql("EXPLAIN " + operation.statement(connection.dialect).replace("%", "%%"))
    connection.execute(
        sa.text(_INSERT),
        {
            "name": operation.name, "namespace": namespace, "relation": relation,
            "assignments": json.dumps(values), "predicate": where, "batch_size": operation.batch_size,
            "before_serving": operation.before_serving, "on_error": operation.on_error,
        },
    )  # fmt: skip


def _check(operation: BackfillOp) -> None:
    if not operation.assignments:
        raise Refused(f"backfill {operation.name} sets nothing", 'write op.backfill(…, set={"column": "value"})')
    if operation.on_error not in ON_ERROR:
        raise Refused(f"backfill {operation.name}: on_error is {operation.on_error!r}", "it is 'stop' or 'set aside'")
    if operation.batch_size < 1:
        raise Refused(f"backfill {operation.name}: batch_size is {operation.batch_size}", "give at least 1")


def _sql(value: Any, dialect: Any) -> str:
    """Return SQL text as it is, an expression of SQLAlchemy rendered with its values in it, a plain value as one."""
    if isinstance(value, str):
        return value
    if hasattr(value, "__clause_element__"):
        value = value.__clause_element__()
    if not isinstance(value, sa.ClauseElement):
        value = sa.literal(value)
    rendered = str(value.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    # Drivers that format with percent signs get them doubled; this text meets no driver's formatting.
    return rendered.replace("%%", "%") if dialect.paramstyle in ("format", "pyformat") else rendered
