"""Verbatim: a dialect whose reflection gives SQL text that `sa.text()` leaves as it is.

What is read back of a table becomes `sa.text()` in SQLAlchemy, and from there the way down of a revision: a colon
before a word in a default, a CHECK or a predicate would be a bind parameter, and be written as NULL.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lockstep.postgres.statements import unbound

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect

# Alembic reads the name of a sequence out of such a default, and leaves the default out. It asks the server for the
# sequence by a text that an apostrophe in the name breaks: such a default is written so that it does not see it.
_OWNED = re.compile(r"nextval\('[^':]+'::regclass\)$")
_DONE = "_lockstep_verbatim"


def reflect(dialect: Dialect) -> None:
    """Have the dialect give what it reflects as text without bind parameters; once."""
    if getattr(dialect, _DONE, False):
        return
    setattr(dialect, _DONE, True)
    for name, change in (
        ("get_multi_columns", _column), ("get_multi_check_constraints", _check), ("get_multi_indexes", _index),
    ):  # fmt: skip
        setattr(dialect, name, _changed(getattr(dialect, name), change))


def _changed(ask: Any, change: Any) -> Any:
    def asked(*arguments: Any, **kw: Any) -> Any:
        return [(place, [change(dict(one)) for one in found]) for place, found in ask(*arguments, **kw)]

    return asked


def _column(one: dict[str, Any]) -> dict[str, Any]:
    default = one.get("default")
    if isinstance(default, str) and not _OWNED.match(default):
        one["default"] = unbound(default.replace("nextval('", "nextval( '", 1))
    if one.get("computed"):
        one["computed"] = one["computed"] | {"sqltext": unbound(one["computed"]["sqltext"])}
    return one


def _check(one: dict[str, Any]) -> dict[str, Any]:
    return one | {"sqltext": unbound(one["sqltext"])}


def _index(one: dict[str, Any]) -> dict[str, Any]:
    options = dict(one.get("dialect_options", {}))
    if isinstance(options.get("postgresql_where"), str):
        options["postgresql_where"] = unbound(options["postgresql_where"])
    expressions = {"expressions": [unbound(text) for text in one["expressions"]]} if "expressions" in one else {}
    return one | expressions | {"dialect_options": options}
