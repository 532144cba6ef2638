"""Stock Alembic: the `alembic` command, where env.py hands over to the engine; a run enters `line` at its stages."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from alembic.runtime.migration import RevisionStep
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from lockstep import settings
from lockstep.errors import MigratorError, masked
from lockstep.postgres import connect
from lockstep.postgres.address import address
from lockstep.project import env_substitution, environment, lockstep_section
from lockstep.report import Report
from lockstep.upgrade import app_schema, connected_run, line, run_lock
from lockstep.upgrade.job import Job, current_heads
from lockstep.upgrade.outcome import Outcome, explain
from lockstep.upgrade.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

LEDGER_SCHEMA = "migrator"


def enter(context: Any) -> None:
    """Serve env.py: configure Alembic with the project's options and run what the command at hand wants."""
    connect_for_engine = context.config.attributes.get(environment.CONNECT)
    if context.is_offline_mode():
        _offline(context)
    elif connect_for_engine:
        with connect_for_engine() as connection:
            context.configure(connection=connection, **options(context, connection))
            context.run_migrations()
    else:
        with _errors_as_alembic_prints_them():
            _stock(context)


def options(context: Any, connection: Any = None) -> dict[str, Any]:
    """Return what the project configures Alembic with, for every command that does not compare models."""
    chosen: dict[str, Any] = {
        "version_table_schema": _version_schema(connection),
        "transaction_per_migration": True,
        "render_as_batch": False,
    }
    if connection is not None and _compares(context):
        from lockstep.develop import autogenerate  # noqa: PLC0415 - models are loaded only where they are compared
        from lockstep.project import release_contract  # noqa: PLC0415 - models are loaded only where they are compared

        chosen["target_metadata"] = models = release_contract.compared(_settings(context))
        schemas = _schemas(context.config, models if isinstance(models, list) else [models])
        writes = context.config.attributes.get(environment.COMPARE) != environment.READS
        chosen |= autogenerate.options(connection, schemas=schemas, safe=writes)
        connection.rollback()
    return chosen


def _schemas(config: Any, models: list[Any]) -> tuple[str, ...]:
    """Return the schemas to compare beside the default one: those of `[lockstep]`, and those the models are in."""
    named = lockstep_section.words(lockstep_section.read(config).get("schemas"))
    return tuple(sorted({*named, *(table.schema for one in models for table in one.tables.values() if table.schema)}))


def _compares(context: Any) -> bool:
    """Tell whether the command at hand compares models with the database: revision --autogenerate, or check."""
    return _command(context) in ("revision", "check") or bool(context.config.attributes.get(environment.COMPARE))


def _command(context: Any) -> str:
    """Return the name of the stock command at hand: of the function that it gave to Alembic's environment."""
    return getattr(context._proxy.context_opts.get("fn"), "__qualname__", "").partition(".")[0]  # noqa: SLF001


def _settings(context: Any) -> settings.Settings:
    """Return the run's settings; those of the configuration that the stock command was started on."""
    config = context.config
    given = {"config": config.config_file_name, "section": config.config_ini_section}
    return config.attributes.get(environment.SETTINGS) or settings.load(given)


def _version_schema(connection: Any) -> str | None:
    """Return the schema of the version table: the ledger's, or the default one where Alembic made it there before."""
    if connection is None:
        return LEDGER_SCHEMA
    before = connection.exec_driver_sql("SELECT to_regclass('alembic_version') IS NOT NULL").scalar()
    connection.rollback()
    return None if before else LEDGER_SCHEMA


def _offline(context: Any) -> None:
    context.configure(
        dialect_name="postgresql", literal_binds=True, dialect_opts={"paramstyle": "named"}, **options(context)
    )
    with context.begin_transaction():
        if context.get_starting_revision_argument() is None:
            context.execute(f"CREATE SCHEMA IF NOT EXISTS {LEDGER_SCHEMA}")
        context.run_migrations()


def _stock(context: Any) -> None:
    """Run one command of the stock `alembic`: only one that moves the database needs the lock and the ledger."""
    own = _settings(context)
    if not own.database_url:
        own = own._replace(database_url=context.config.get_main_option("sqlalchemy.url") or "")
    if _command(context) == "upgrade" and own.app_schema:
        with connected_run.connected(own, Report()) as run:
            app_schema.ensure(run)
    engine = connect.migrating_engine(address(own.database_url), own)
    with engine.connect() as connection:
        context.configure(connection=connection, **options(context, connection))
        migration = context.get_context()
        env_substitution.take_over(migration, lambda arguments: _work(context.config, migration, arguments, own))
        context.run_migrations()


def _work(config: Any, migration: Any, arguments: dict[str, Any], own: settings.Settings) -> None:
    ask = migration._migrations_fn  # noqa: SLF001 - what the command at hand gave to Alembic
    heads = migration.get_current_heads()
    if getattr(ask, "__qualname__", "").startswith("ensure_version."):
        with (
            connected_run.connected(own, Report()) as run,
            run_lock.locked(run, "ensure_version", "alembic", Outcome()),
        ):
            ask(heads, migration)  # the schema of the version table is the ledger's, which is there now
            migration.connection.commit()
        return
    steps = list(ask(heads, migration))
    moves = steps and isinstance(steps[0], RevisionStep)
    if not steps and not migration.purge:
        return
    migration.connection.rollback()
    script = ScriptDirectory.from_config(config)
    with connected_run.connected(own, Report()) as run:
        outcome = Outcome()
        if moves:
            project = environment.Project(config, script, settings=own)
            verb = "upgrade" if steps[0].is_upgrade else "downgrade"
            with run_lock.locked(run, verb, "alembic", outcome) as locked:
                job = Job(locked, project, migration, arguments, verb, outcome)
                try:
                    line.stages(job, Request(verb, choose=lambda now: list(ask(now, migration))))
                except MigratorError as error:
                    explain(error, outcome)
                    raise
        else:
            with run_lock.locked(run, "stamp", "alembic", outcome):
                migration._migrations_fn = lambda *_: steps  # noqa: SLF001
                migration.run_migrations(**arguments)
                migration.connection.commit()
                outcome.heads_after = current_heads(migration)


@contextlib.contextmanager
def _errors_as_alembic_prints_them() -> Iterator[None]:
    try:
        yield
    except MigratorError as error:
        raise CommandError("\n  ".join((str(error), *error.details))) from None
    except DBAPIError as error:
        raise CommandError(masked(" ".join(str(error.orig).split()))) from None
