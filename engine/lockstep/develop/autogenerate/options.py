"""Options: what env.py hands to Alembic's `context.configure` for the choices of the project."""

from typing import Any

import sqlalchemy as sa
from alembic.runtime.plugins import Plugin

from lockstep.develop.autogenerate import column_proposals, rewrite, scope, verbatim

LEDGER_SCHEMA = "migrator"

Plugin.setup_plugin_from_module(column_proposals, column_proposals.NAME)


def options(
    connection: sa.Connection | None = None,
    *,
    schemas: tuple[str, ...] = (),
    ledger_schema: str = LEDGER_SCHEMA,
    safe: bool = True,
) -> dict[str, Any]:
    """Keyword arguments for `context.configure`; `safe=False` leaves what Alembic found as it is.

    `schemas` are those beside the default one; no other schema is looked at, the ledger's never.
    """
    if connection is not None:
        verbatim.reflect(connection.dialect)
    chosen: dict[str, Any] = {
        "compare_type": True,
        "compare_server_default": True,
        "include_schemas": True,
        "include_name": scope.name_filter(connection, schemas, ledger_schema),
        "autogenerate_plugins": ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
        "lockstep_schemas": schemas,
    }
    if safe:
        chosen["process_revision_directives"] = rewrite.safe
        chosen["autogenerate_plugins"] += [column_proposals.NAME]
    return chosen


def beside(connection: sa.Connection, given: dict[str, object]) -> dict[str, object]:
    """Return what any env.py is to configure besides, so that safe steps are written; its own names win."""
    own = dict(options(connection))
    connection.rollback()
    if given.get("include_name") or given.get("include_schemas"):
        own = {name: value for name, value in own.items() if name not in ("include_name", "include_schemas")}
    return own
