"""Ownership: whether a table is the project's own to compare, make and drop.

Read from `[lockstep]` of alembic.ini, or `[tool.lockstep]` of pyproject.toml. Whatever an env.py leaves out by
`include_name` or `include_object` is not ours either, nor what the seed of the throw-away database made.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

import sqlalchemy as sa

from lockstep.develop.sandbox.throwaway_seed import SEEDED
from lockstep.project import lockstep_section
from lockstep.project.lockstep_section import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.runtime.migration import MigrationContext

    Ours = Callable[[str | None, str], bool]


def schemas(context: MigrationContext) -> tuple[str, ...]:
    """Return the schemas to compare beside the default one: those named, and those that the models are in."""
    default = context.connection.dialect.default_schema_name if context.connection is not None else None
    named = set(words(lockstep_section.read(context.config).get("schemas"))) | set(
        context.opts.get("lockstep_schemas", ())
    )
    named |= {table.schema for metadata in metadatas(context) for table in metadata.tables.values() if table.schema}
    return tuple(sorted(named - {default, "migrator"}))


def metadatas(context: MigrationContext) -> tuple[sa.MetaData, ...]:
    """Return what env.py gave as `target_metadata`: one MetaData or several."""
    given = context.opts.get("target_metadata")
    if given is None:
        return ()
    return tuple(given) if isinstance(given, (list, tuple)) else (given,)


def of(context: MigrationContext) -> Ours:
    """Return the question whether a table is the project's own."""
    options = lockstep_section.read(context.config)
    ours, not_ours = words(options.get("tables")), words(options.get("not_ours"))
    seeded = context.config.attributes.get(SEEDED, frozenset()) if context.config else frozenset()
    tables = {
        (table.schema, table.name): table for metadata in metadatas(context) for table in metadata.tables.values()
    }
    default = context.connection.dialect.default_schema_name if context.connection is not None else None
    known: dict[tuple[str | None, str], bool] = {}

    def is_ours(schema: str | None, name: str) -> bool:
        place = (schema, name)
        if place not in known:
            table = tables.get(place)
            if table is None and schema is None:
                table = tables.get((default, name))
            known[place] = (
                ((schema or default, name) not in seeded)
                and not _matches(not_ours, schema, name)
                and (not ours or _matches(ours, schema, name))
                and _included(context, schema, name, table)
            )
        return known[place]

    return is_ours


def _matches(patterns: tuple[str, ...], schema: str | None, name: str) -> bool:
    whole = f"{schema}.{name}" if schema else name
    return any(fnmatch.fnmatchcase(whole, pattern) or fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _included(context: MigrationContext, schema: str | None, name: str, table: sa.Table | None) -> bool:
    """Ask what env.py has been given to say so, as Alembic asks it."""
    parents = {"schema_name": schema, "schema_qualified_table_name": f"{schema}.{name}" if schema else name}
    include_name = context.opts.get("include_name")
    if include_name is not None and not include_name(name, "table", parents):
        return False
    include_object = context.opts.get("include_object")
    if include_object is None:
        return True
    reflected = table is None
    thing = table if table is not None else sa.Table(name, sa.MetaData(), schema=schema)
    return bool(include_object(thing, name, "table", reflected, None))
