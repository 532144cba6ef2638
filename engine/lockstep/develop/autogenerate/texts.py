"""Texts: a CHECK or a partial index as it is and as the models have it in, whether its expression differs out.

Alembic compares a CHECK by its name, takes one without a name for a stranger, and leaves the predicate of
an index out. Here PostgreSQL writes the models' expression in its own words on a throw-away copy of the
table, and texts are compared.
"""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority
from sqlalchemy.schema import CheckConstraint, Index, Table

from lockstep.develop.autogenerate import scene, trial

NAME = "lockstep.develop.autogenerate.texts"

_CHECKS = sa.text(
    """
    select conname, pg_get_expr(conbin, conrelid)
    from pg_constraint where contype = 'c' and conrelid = to_regclass(:table)
    """
)
_PREDICATES = sa.text(
    """
    select c.relname, pg_get_expr(i.indpred, i.indrelid)
    from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = to_regclass(:table)
    """
)
_TRIED = "lockstep_trial_text"

Change = list[ops.MigrateOperation]


def setup(plugin: Plugin) -> None:
    """Register with Alembic, after what it compares itself."""
    plugin.add_autogenerate_comparator(_compare, "table", "texts", priority=DispatchPriority.LAST)


def _compare(
    context: AutogenContext,
    change: ops.ModifyTableOps,
    schema: str | None,
    table: str,
    now: Table | None,
    wanted: Table | None,
) -> None:
    if now is None or wanted is None:
        return
    like = scene.Scene(context.connection, frozenset()).quote(schema, table)
    checks = _read(context, _CHECKS, like)
    known = _unnamed(context, like, wanted, checks)
    change.ops[:] = [op for op in change.ops if not (_drops_check(op) and str(op.constraint_name) in known)]
    touched = {str(getattr(op, "constraint_name", getattr(op, "index_name", None))) for op in change.ops}
    for pair in (*_checks(context, like, now, wanted, checks), *_predicates(context, like, now, wanted)):
        if str(getattr(pair[0], "constraint_name", getattr(pair[0], "index_name", None))) not in touched:
            change.ops += pair


def _checks(context: AutogenContext, like: str, now: Table, wanted: Table, checks: dict[str, str]) -> Iterator[Change]:
    for check in _sorted(each for each in wanted.constraints if isinstance(each, CheckConstraint)):
        name = _name(context, check)
        if name not in checks:
            continue
        text = _tried(context, like, f"alter table {trial.COPY} add constraint {_TRIED} check ({{}})", check.sqltext)
        if text is not None and text != checks[name]:
            old = CheckConstraint(checks[name], name=sa.schema.conv(name), table=now)
            yield [ops.DropConstraintOp.from_constraint(old), ops.AddConstraintOp.from_constraint(check)]


def _predicates(context: AutogenContext, like: str, now: Table, wanted: Table) -> Iterator[Change]:
    predicates = _read(context, _PREDICATES, like)
    current = {str(index.name): index for index in now.indexes}
    for index in _sorted(wanted.indexes):
        name = str(index.name)
        if name not in current:
            continue
        where, text = index.dialect_options["postgresql"]["where"], None
        if where is not None:
            text = _tried(context, like, f"create index {_TRIED} on {trial.COPY} ((1)) where {{}}", where)
            if text is None:
                continue
        if text != predicates.get(name):
            yield [ops.DropIndexOp.from_index(current[name]), ops.CreateIndexOp.from_index(index)]


def _unnamed(context: AutogenContext, like: str, wanted: Table, checks: dict[str, str]) -> set[str]:
    """Return the names PostgreSQL gave the checks that have none in the models."""
    unnamed = [each for each in wanted.constraints if isinstance(each, CheckConstraint) and not _name(context, each)]
    statement = f"alter table {trial.COPY} add constraint {_TRIED} check ({{}})"
    texts = {_tried(context, like, statement, check.sqltext) for check in unnamed}
    return {name for name, text in checks.items() if text in texts}


def _tried(context: AutogenContext, like: str, statement: str, expression: sa.ColumnElement | str) -> str | None:
    """Return the expression as PostgreSQL writes it; None if it refuses it, as for a column yet to be."""
    clause = sa.text(expression) if isinstance(expression, str) else expression
    compiler = context.dialect.ddl_compiler(context.dialect, None).sql_compiler
    # percent signs are left doubled, as this way to the driver wants them
    sql = statement.format(compiler.process(clause, include_table=False, literal_binds=True))
    try:
        with trial.throw_away(context.connection, f"(like {like})"):
            context.connection.exec_driver_sql(sql)
            query = _PREDICATES if sql.startswith("create index") else _CHECKS
            return _read(context, query, f"pg_temp.{trial.COPY}")[_TRIED]
    except (sa.exc.DBAPIError, trial.UntriedError):
        return None


def _read(context: AutogenContext, query: sa.TextClause, table: str) -> dict[str, str]:
    return dict(context.connection.execute(query, {"table": table}).all())


def _name(context: AutogenContext, check: CheckConstraint) -> str | None:
    """Return the name the check has in the database, which a naming convention may have made."""
    if check.name is None:
        return None
    return context.dialect.identifier_preparer.format_constraint(check, _alembic_quote=False)


def _drops_check(op: ops.MigrateOperation) -> bool:
    return isinstance(op, ops.DropConstraintOp) and op.constraint_type == "check"


def _sorted(things: Iterator[CheckConstraint] | set[Index]) -> list:
    return sorted(things, key=lambda each: str(each.name))
