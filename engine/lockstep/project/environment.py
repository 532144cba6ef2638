"""Environment: an alembic.ini in, its env.py run as it is, and the MigrationContext that it configured handed to us.

Both ways lead here. The engine's verbs run env.py through `inside`; the stock `alembic` command runs the project's own
env.py, which calls `run`. Either way `context.run_migrations()` ends in `work(context, fn, arguments)` of the engine,
which plans and applies; a foreign env.py does not notice.
"""

from __future__ import annotations

import configparser
import contextlib
import functools
import logging
import re
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import alembic.context
import alembic.op
import psycopg2
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from lockstep.errors import Busy, MigratorError, Refused, StepFailed, Unreachable, Usage
from lockstep.postgres.limits import LEDGER_OUT_OF_SEARCH_PATH
from lockstep.project import lazy_revisions, manifest, seal
from lockstep.stop import watchdog
from lockstep_gate import sqlstate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from lockstep.project.manifest import Manifest
    from lockstep.settings import Settings

    Work = Callable[[Any, dict[str, Any]], None]

COMPARE = "lockstep.compare"  # config.attributes: set by `check`, which compares without a command of Alembic's
CONNECT = "lockstep.connect"  # config.attributes: how the engine's own env.py gets its connection


@dataclass(frozen=True)
class Project:
    """One Alembic project: its configuration, its script directory, and the manifest that was believed, if one was."""

    config: Config
    script: ScriptDirectory
    manifested: Manifest | None = None

    @property
    def models(self) -> Path | None:
        """Return the models file named in alembic.ini (`models = …`), if there is one."""
        value = self.config.get_main_option("models")
        return Path(value) if value else None


def load(settings: Settings, manifested: Manifest | None = None) -> Project:
    """Return the project of a configuration; raise Usage when Alembic cannot read it, Refused for a revision file.

    With the manifest of its files as they are now, each revision is loaded only when it is to be run.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)  # the engine reports each step itself
    # A connection that broke cannot be reset: the pool's traceback of that says nothing that our own error does not.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        toml = Path(settings.config).with_name("pyproject.toml")  # where Alembic's pyproject template keeps the rest
        config = Config(settings.config, toml_file=toml if toml.is_file() else None)
        config.attributes["configure_logger"] = False
        if settings.database_url:
            config.set_main_option("sqlalchemy.url", _for_env(settings.database_url).replace("%", "%%"))
        script = ScriptDirectory.from_config(config)
    except (CommandError, OSError, ValueError, KeyError, ImportError, configparser.Error) as error:
        raise Usage(f"{Path(settings.config).name} cannot be used: {_one_line(error)}", "correct it") from None
    seal.know(manifest.sealed(settings.config))
    if manifested:
        beside = Path(settings.config).parent
        lazy_revisions.put_in(script, manifested.revisions, beside, functools.partial(_load_one, script))
    _read_revisions(script)
    return Project(config, script, manifested)


def point(project: Project, url: str) -> None:
    """Let the project's env.py connect to another database: sqlalchemy.url is where it looks."""
    project.config.set_main_option("sqlalchemy.url", _for_env(url).replace("%", "%%"))


def _read_revisions(script: ScriptDirectory) -> None:
    """Load every revision file now, so that one that cannot be used is a clear line and not an error of env.py."""
    with _errors_of_files(script), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        script.get_heads()
    # Alembic only warns where two files have one id, or a parent is missing, and goes on with half of the history.
    for warning in caught:
        text = _one_line(warning.message)
        if text.startswith("Revision "):
            raise Refused(text, "correct revision and down_revision in the files")
    for name in script.revision_map._revision_map:  # noqa: SLF001 - already read; Alembic takes any text for an id
        if name and not (isinstance(name, str) and name.isprintable()):
            raise Refused(f"the revision id {name!r} is not a text of one line", "give the file another id")


def _load_one(script: ScriptDirectory, path: Path) -> ModuleType:
    with _errors_of_files(script):
        return lazy_revisions.of_file(path)


@contextlib.contextmanager
def _errors_of_files(script: ScriptDirectory) -> Iterator[None]:
    """Turn what revision files raise when they are loaded into one clear line."""
    try:
        yield
    except CommandError as error:
        raise Refused(_one_line(error), "correct the revision files") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a file may raise anything
        places = [
            f"{Path(frame.filename).name}:{frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).is_relative_to(script.dir)
        ]
        if isinstance(error, SyntaxError) and error.filename:
            places.append(f"{Path(error.filename).name}:{error.lineno}")
        where = places[-1] if places else script.versions
        text = error.msg if isinstance(error, SyntaxError) else _one_line(error)
        raise Refused(f"{where} cannot be loaded: {type(error).__name__}: {text}", "correct the file") from error


def _one_line(error: object) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())


def _for_env(url: str) -> str:
    """Return the URL as a foreign env.py is to see it: unnamed, the driver of SQLAlchemy 2.1 would be psycopg 3."""
    return re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql+psycopg2://", url)


def inside(project: Project, work: Work, *, connect: Callable[[], Any] | None = None, reads: bool = False) -> None:
    """Run env.py; where it calls run_migrations, `work(context, arguments)` is called instead.

    `reads` keeps Alembic from making its version table where there is none.

    Wraps `configure` of an EnvironmentContext instance: a subclass would lose Alembic's module proxy.
    """
    project.config.attributes[CONNECT] = connect
    environment = EnvironmentContext(project.config, project.script, fn=lambda *_: [], dont_mutate=reads)
    called = _wrap(environment, work)
    with environment, _errors_of_env(project):
        project.script.run_env()
    if not called:
        raise Refused(
            "env.py never called context.run_migrations()",
            "asynchronous templates and ones for several databases are not supported; run Alembic itself on them",
        )


def _wrap(environment: EnvironmentContext, work: Work) -> list[Any]:
    original = environment.configure
    called: list[Any] = []

    def configure(*positional: Any, **options: Any) -> None:
        if called or options.get("upgrade_token", "upgrades") != "upgrades":
            raise Refused(
                "env.py configures more than one database", "the template for several databases is not supported"
            )
        original(*positional, **(options | {"transaction_per_migration": True}))
        context = environment.get_context()
        take_over(context, lambda arguments: (called.append(context), work(context, arguments))[1])

    environment.configure = configure  # type: ignore[method-assign]
    return called


def take_over(context: Any, work: Callable[[dict[str, Any]], None]) -> None:
    """Let `work(arguments)` stand in for the context's run_migrations, once; check that it can."""
    if context.as_sql:
        return
    if context.dialect.name != "postgresql":
        raise Refused(f"env.py connects to {context.dialect.name}", "the migrator works on PostgreSQL alone")
    if context.dialect.is_async:
        raise Refused("env.py uses an asynchronous driver", "give env.py a synchronous engine (postgresql+psycopg2://)")
    if context._in_external_transaction:  # noqa: SLF001 - Alembic keeps it private, and silently gives up its own transactions
        raise Refused(
            "env.py hands over a connection that is already in a transaction",
            "call context.configure() before anything runs on it: each revision needs a transaction of its own",
        )
    watchdog.note(context.connection.connection.dbapi_connection)  # env.py may have made it itself
    context.connection.exec_driver_sql(LEDGER_OUT_OF_SEARCH_PATH)
    context.connection.commit()
    alembic_run = context.run_migrations

    def run_migrations(**arguments: Any) -> None:
        context.run_migrations = alembic_run
        work(arguments)

    context.run_migrations = run_migrations


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Let the block run another environment inside this one.

    Alembic's module proxies know only the last one entered and forget it on leaving; ours are put back.
    """
    proxies = [proxy for module in (alembic.context, alembic.op) if (proxy := getattr(module, "_proxy", None))]
    try:
        yield
    finally:
        for proxy in proxies:
            proxy._install_proxy()  # noqa: SLF001 - Alembic has no public way to nest


@contextlib.contextmanager
def _errors_of_env(project: Project) -> Iterator[None]:
    """Turn what env.py or Alembic raise into one clear line."""
    try:
        yield
    except MigratorError:
        raise
    except CommandError as error:
        raise StepFailed(_one_line(error), "see the project's env.py and revision files") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # env.py may raise anything
        place = Path(project.script.dir) / "env.py"
        if _is_asynchronous(error, place):
            raise Refused(
                "env.py is asynchronous, and the migrator needs a connection of psycopg2's own",
                "give env.py a synchronous engine (postgresql+psycopg2://), or run Alembic itself on it",
            ) from error
        if isinstance(getattr(error, "orig", error), psycopg2.OperationalError) and not sqlstate.of(error):
            raise Unreachable(
                f"env.py cannot connect: {_one_line(error)}",
                "check that the database runs and can be reached from here",
            ) from error
        if isinstance(getattr(error, "orig", error), psycopg2.InterfaceError):  # what a broken connection says later
            raise Unreachable(
                f"the connection was lost; the server rolls back what was open ({_one_line(error)})",
                "the next run goes on from what the ledger shows as applied",
            ) from error
        if sqlstate.of(error) == sqlstate.INSUFFICIENT_PRIVILEGE:
            raise Refused(
                f"this role may not do that: {error.orig.diag.message_primary}",  # type: ignore[union-attr]
                "run the migrator with the role that owns the database and its schema",
            ) from error
        if sqlstate.of(error) == sqlstate.LOCK_NOT_AVAILABLE:
            raise Busy(
                f"a lock was not got in time outside of a revision: {_one_line(error)}", "see who holds it (pg_locks)"
            ) from error
        raise StepFailed(
            f"{place.name} failed: {type(error).__name__}: {_one_line(error)}", f"correct {place}"
        ) from error


def _is_asynchronous(error: BaseException, place: Path) -> bool:
    """Tell whether env.py failed for want of an asynchronous driver: SQLAlchemy says so in several ways."""
    text = str(error)
    if not any(word in text for word in ("asyncio", "greenlet", "asyncpg", "async")):
        return False
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return "async" in place.read_text(encoding="utf-8")
    return False
