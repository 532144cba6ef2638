"""Rendering: write operations as the text of a revision that means what the models mean.

Alembic writes SQL into `sa.text()` and `op.execute()`, where a colon before a word is a bind parameter; SQLAlchemy
doubles percent signs for drivers that format with them, and Alembic writes the doubled ones down, to be doubled again;
and a type of the project's own, or of a package's, is written by a name that is not there where the revision runs.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from alembic.autogenerate.render import _repr_type
from sqlalchemy import Enum
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.dialects.postgresql import ENUM as PG_ENUM
from sqlalchemy.types import TypeDecorator

from lockstep.postgres.statements import unbound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.autogenerate.api import AutogenContext


@contextlib.contextmanager
def as_meant(context: AutogenContext) -> Iterator[None]:
    """Have what is rendered in the block keep its colons, backslashes, percent signs and types."""
    impl, quoting = context.migration_context.impl, context.dialect.identifier_preparer
    given, doubles = context.opts.get("render_item"), quoting._double_percents  # noqa: SLF001 - nothing public turns it off
    render = impl.render_ddl_sql_expr

    def expression(clause: Any, is_server_default: bool = False, is_index: bool = False, **kw: Any) -> str:
        sql = render(clause, is_server_default=is_server_default, is_index=is_index, **kw)
        return sql if is_index else unbound(sql)  # an index's is a literal_column, which knows no bind parameters

    def item(kind: str, thing: Any, autogen: AutogenContext) -> str | bool:
        rendered = given(kind, thing, autogen) if given else False
        return _type(thing, autogen) if rendered is False and kind == "type" else rendered

    impl.render_ddl_sql_expr = expression  # type: ignore[method-assign]
    context.opts["render_item"] = item
    quoting._double_percents = False  # noqa: SLF001
    try:
        yield
    finally:
        del impl.render_ddl_sql_expr
        context.opts["render_item"] = given
        quoting._double_percents = doubles  # noqa: SLF001


def _type(type_: Any, context: AutogenContext) -> str | bool:
    """Return a type as what it is in the database; False where Alembic's own way is right."""
    if isinstance(type_, TypeDecorator):
        return _repr_type(type_.load_dialect_impl(context.dialect), context)
    if isinstance(type_, (Enum, PG_ENUM)) and (isinstance(type_, PG_ENUM) or type_.native_enum):
        context.imports.add("from sqlalchemy.dialects import postgresql")
        labels = "".join(f"{label!r}, " for label in type_.enums)
        schema = f", schema={type_.schema!r}" if type_.schema else ""
        return f"postgresql.ENUM({labels}name={str(type_.name)!r}{schema}, create_type=False)"
    if isinstance(type_, Enum):
        return f"sa.String(length={type_.length})"  # its CHECK, if it has one, is one of the table's
    if isinstance(type_, DOMAIN):
        context.imports.add("from sqlalchemy.dialects import postgresql")
        schema = f", schema={type_.schema!r}" if type_.schema else ""
        data_type = _repr_type(type_.data_type, context)
        return f"postgresql.DOMAIN({str(type_.name)!r}, {data_type}{schema}, create_type=False)"
    return False
