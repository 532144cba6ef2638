"""Comparison: the database that autogenerate is connected to, and what the models make, held against each other.

The one place that both are read. On a throw-away database the models' tables are made in place of what is there, in a
transaction that is rolled back; for any other one, on a throw-away server.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from lockstep.develop.autogenerate import definitions, differences, models_database, models_fault, ownership

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.runtime.migration import MigrationContext

    from lockstep.develop.autogenerate.definitions import Definitions, Key
    from lockstep.develop.autogenerate.differences import Difference, Renamed

OWN_GROUND = "lockstep.own_ground"  # config.attributes: the database is a throw-away one
EXACT = "lockstep.exact"  # config.attributes: what a draft did not lead to, to be written by definition
WANTED = "lockstep.wanted"  # config.attributes: what the models make, where it was read before
SEQUENCES = "lockstep.sequences"  # config.attributes: sequences that revisions of autogenerate's made


@dataclass(frozen=True)
class Comparison:
    """Both sides, and in what they differ."""

    now: Definitions
    wanted: Definitions
    differences: tuple[Difference, ...]
    renamed: tuple[Renamed, ...]
    kept: tuple[Key, ...]  # partitions and inheritance children: their parents'
    exact: frozenset[Key]
    ours: ownership.Ours

    def lines(self) -> tuple[str, ...]:
        """Return each difference with both definitions."""
        found = [line for one in self.differences for line in one.lines()]
        found += [f"{one.key} is to be called {one.name}" for one in self.renamed]
        return tuple(found)

    def __bool__(self) -> bool:
        return bool(self.differences or self.renamed)


def read(context: MigrationContext) -> Definitions:
    """Return what there is in the database that the context is connected to."""
    return definitions.read(context.connection, ownership.schemas(context), _version_table(context))


def _version_table(context: MigrationContext) -> tuple[str | None, str]:
    schema = context.version_table_schema
    return (schema if schema != context.connection.dialect.default_schema_name else None), context.version_table


def made(context: MigrationContext, *, wanted: Definitions | None = None) -> Comparison:
    """Compare; `wanted` is what the models make, where it is known already."""
    connection = context.connection
    schemas, ours, metadatas = ownership.schemas(context), ownership.of(context), ownership.metadatas(context)
    attributes = context.config.attributes if context.config else {}
    wanted = wanted or attributes.get(WANTED)
    with _transaction(connection):
        now = read(context)
        if wanted is None and attributes.get(OWN_GROUND):
            with models_fault.told(context):
                wanted = models_database.make(
                    connection, metadatas, now, ours=ours, schemas=schemas,
                    leftovers=attributes.get(SEQUENCES, frozenset()), version_table=_version_table(context),
                )  # fmt: skip
    if wanted is None:
        wanted = _elsewhere(context, schemas, ours)
    named = models_database.named(metadatas, connection.dialect)
    found, renamed, kept = differences.find(now, wanted, named, ours)
    return Comparison(now, wanted, tuple(found), tuple(renamed), tuple(kept), attributes.get(EXACT, frozenset()), ours)


@contextlib.contextmanager
def _transaction(connection: sa.Connection) -> Iterator[None]:
    """Let the block do what it likes: nothing of it stays."""
    transaction = connection.begin_nested() if connection.in_transaction() else connection.begin()
    try:
        yield
    finally:
        transaction.rollback()


def _elsewhere(context: MigrationContext, schemas: tuple[str, ...], ours: ownership.Ours) -> Definitions:
    """Make what the models make on a throw-away server, with the extensions that the database has."""
    from lockstep.develop.sandbox import throwaway  # noqa: PLC0415 - on a throw-away database nothing else is needed

    extensions = context.connection.exec_driver_sql(
        "SELECT extname, nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
        "WHERE extname <> 'plpgsql'"
    ).all()
    default = context.connection.dialect.default_schema_name
    with throwaway.database() as url:
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)
        with engine.connect() as connection:
            _dress(connection, extensions, default)
            empty = definitions.Definitions({}, 0)
            with models_fault.told(context):
                return models_database.make(connection, ownership.metadatas(context), empty, ours=ours, schemas=schemas)


def _dress(connection: sa.Connection, extensions: list[tuple[str, str]], default: str | None) -> None:
    """Give an empty database the extensions, and the default schema, of the one it is compared with."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    if default and default != "public":
        connection.exec_driver_sql(f"CREATE SCHEMA {quote(default)}")
        connection.exec_driver_sql(f"SET search_path = {quote(default)}")
        connection.dialect.default_schema_name = default
    for name, schema in extensions:
        savepoint = connection.begin_nested()
        try:
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}")
            connection.exec_driver_sql(f"CREATE EXTENSION {quote(name)} SCHEMA {quote(schema)} CASCADE")
        except sa.exc.DBAPIError:  # not there on this server: the models say whether they need it
            savepoint.rollback()
        else:
            savepoint.commit()
