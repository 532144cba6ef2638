"""Offline: SQL as Alembic writes it down instead of running it, put right so that it says what would be run.

Alembic writes four spaces in place of each tab, also inside of literals.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.ddl.impl import DefaultImpl
from sqlalchemy.schema import ExecutableDDLElement

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def verbatim() -> Iterator[None]:
    """Have statements written in the block keep their tabs."""
    run = DefaultImpl._exec  # noqa: SLF001 - where Alembic writes them

    def written(impl: Any, construct: Any, *arguments: Any, **options: Any) -> Any:
        if not impl.as_sql or options.get("multiparams") is not None or options.get("params"):
            return run(impl, construct, *arguments, **options)
        clause = sa.text(construct) if isinstance(construct, str) else construct
        literal = impl.literal_binds and not isinstance(clause, ExecutableDDLElement)
        compiled = clause.compile(
            dialect=impl.dialect, **({"compile_kwargs": {"literal_binds": True}} if literal else {})
        )
        # SQLAlchemy indents the parts of a CREATE TABLE by a tab, which is no literal's.
        text = (
            re.sub(r"^\t+", lambda found: "    " * len(found[0]), str(compiled), flags=re.MULTILINE)
            if not literal
            else str(compiled)
        )
        impl.static_output(text.strip() + impl.command_terminator)
        return None

    DefaultImpl._exec = written  # type: ignore[method-assign]  # noqa: SLF001
    try:
        yield
    finally:
        DefaultImpl._exec = run  # type: ignore[method-assign]  # noqa: SLF001
