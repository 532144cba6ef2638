"""Environment: run a project's env.py as it is, and get hold of the MigrationContext that it configures.

Both ways lead here. The engine's verbs run env.py through `inside`; the stock `alembic` command runs the project's own
env.py, which calls `run`. Either way `context.run_migrations()` ends in the engine's `work(context, arguments)`,
which plans and applies; an env.py that knows nothing of the engine does not notice.
"""

from __future__ import annotations

import configparser
import contextlib
import functools
import logging
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import alembic.context
import alembic.op
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from lockstep.errors import Refused, Usage
from lockstep.project import (
    alembic_config,
    env_connections,
    env_errors,
    env_url,
    flask_app,
    lazy_revisions,
    manifest,
    seal,
)
from lockstep.project.env_errors import one_line
from lockstep.project.env_substitution import SEVERAL, Counting, Substitution, loops
from lockstep.settings import Settings, project_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from alembic.config import Config

    from lockstep.project.manifest import Manifest

    Work = Callable[[Any, dict[str, Any]], None]

_NOTHING_SET = Settings()
SETTINGS = "lockstep.settings"  # config.attributes: the settings of the run, for the engine's own env.py
COMPARE = "lockstep.compare"  # config.attributes: set by `check`, which compares without a command of Alembic's
CONNECT = "lockstep.connect"  # config.attributes: how the engine's own env.py gets its connection
READS = "reads"  # a value of COMPARE: what is found is told, and nothing written from it
LONGEST_ID = 32  # alembic_version.version_num is VARCHAR(32)


@dataclass(frozen=True)
class Project:
    """One Alembic project: its configuration, its script directory, and the manifest that was believed, if one was."""

    config: Config
    script: ScriptDirectory
    manifested: Manifest | None = None
    settings: Settings = _NOTHING_SET
    configured: dict[str, Any] = field(default_factory=dict)  # what env.py gave to configure() when it last ran

    @property
    def models(self) -> Path | None:
        """Return the models file (`models = …`), if the project names one."""
        value = self.settings.models
        return Path(value) if value and not project_options.is_attribute(value) else None


def load(settings: Settings, manifested: Manifest | None = None) -> Project:
    """Return the project of a configuration; raise Usage when Alembic cannot read it, Refused for a revision file.

    With the manifest of its files as they are now, each revision is loaded only when it is to be run.
    """
    seal.know(manifest.sealed(settings.config))
    logging.getLogger("alembic").setLevel(logging.WARNING)  # the engine reports each step itself
    # A connection that broke cannot be reset: the pool's traceback of that says nothing that our own error does not.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        config = alembic_config.made(settings)
        config.attributes[SETTINGS] = settings
        if settings.database_url:
            _set_url(config, settings.database_url)
        script = ScriptDirectory.from_config(config)
    except (CommandError, OSError, ValueError, KeyError, ImportError, configparser.Error) as error:
        raise Usage(f"{Path(settings.config).name} cannot be used: {one_line(error)}", "correct it") from None
    if manifested:
        beside = Path(settings.config).parent
        lazy_revisions.put_in(script, manifested.revisions, beside, functools.partial(_load_one, script))
    _read_revisions(script)
    return Project(config, script, manifested, settings)


def point(project: Project, url: str) -> None:
    """Let the project's env.py connect to another database: sqlalchemy.url is where it looks."""
    _set_url(project.config, url)


def _set_url(config: Config, url: str) -> None:
    config.set_main_option("sqlalchemy.url", env_url.for_env(url, config).replace("%", "%%"))


def _read_revisions(script: ScriptDirectory) -> None:
    """Load every revision file now, so that one that cannot be used is a clear line and not an error of env.py."""
    with _errors_of_files(script), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        script.get_heads()
    # Alembic only warns where two files have one id, or a parent is missing, and goes on with half of the history.
    for warning in caught:
        text = one_line(warning.message)
        if text.startswith("Revision "):
            raise Refused(text, "correct revision and down_revision in the files")
    for name in script.revision_map._revision_map:  # noqa: SLF001 - already read; Alembic takes any text for an id
        if name and not (isinstance(name, str) and name.isprintable()):
            raise Refused(f"the revision id {name!r} is not a text of one line", "give the file another id")
        if name and len(name) > LONGEST_ID:
            raise Refused(
                f"the revision id {name!r} has {len(name)} characters, and Alembic's version table takes {LONGEST_ID}",
                "give the file a shorter id",
            )


def _load_one(script: ScriptDirectory, path: Path) -> ModuleType:
    with _errors_of_files(script):
        return lazy_revisions.of_file(path)


@contextlib.contextmanager
def _errors_of_files(script: ScriptDirectory) -> Iterator[None]:
    """Turn what revision files raise when they are loaded into one clear line."""
    try:
        yield
    except CommandError as error:
        raise Refused(one_line(error), "correct the revision files") from None
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
        text = error.msg if isinstance(error, SyntaxError) else one_line(error)
        raise Refused(f"{where} cannot be loaded: {type(error).__name__}: {text}", "correct the file") from error


def inside(
    project: Project, work: Work, *, connect: Callable[[], Any], reads: bool = False, redirect: str = ""
) -> None:
    """Run env.py; where it calls run_migrations, `work(context, arguments)` is called instead, on a connection of ours.

    `reads` keeps Alembic from making its version table where there is none, and what env.py begins is not kept.
    `redirect` is the URL of a throw-away database, to which all that env.py connects to is led.
    """
    if loops(_env_py(project)):
        _require_one(project, redirect)
    project.config.attributes[CONNECT] = connect
    environment = EnvironmentContext(project.config, project.script, fn=lambda *_: [], dont_mutate=reads)
    run = _substitution(project, environment, work, connect)
    run.redirect, run.reads = redirect, reads
    run.install(environment.configure)
    try:
        with (
            env_errors.translated(_env_py(project), run.failed, _places(project)),
            _around(project, redirect),
            environment,
        ):
            project.script.run_env()
            if run.failed:  # env.py took it for its own affair
                raise run.failed[0]
    finally:
        run.close()
    if not run.called:
        raise Refused(
            "env.py never called context.run_migrations()",
            "let it configure one database, then call context.run_migrations(), as Alembic's templates do",
        )


def command(
    project: Project,
    ask: Callable[[], Any],
    *,
    connect: Callable[[], Any] | None,
    redirect: str = "",
    compared: Callable[[Any, dict[str, Any]], dict[str, Any]] | None = None,
) -> Any:
    """Run a command of Alembic's own, whose env.py then works on a connection of ours too; return what it returns.

    `compared(connection, options)` gives what env.py's configure() is to have besides, where that is for a revision.
    """
    made: list[Substitution] = []
    original = EnvironmentContext.configure

    def configure(environment: EnvironmentContext, *positional: Any, **options: Any) -> None:
        run = _substitution(
            project, environment, lambda context, given: context.run_migrations(**given), connect, compared
        )
        run.redirect = redirect
        made.append(run)
        run.install(original.__get__(environment))
        environment.configure(*positional, **options)

    project.config.attributes[CONNECT] = connect
    errors = env_errors.translated(_env_py(project), (), _places(project)) if connect else contextlib.nullcontext()
    EnvironmentContext.configure = configure  # type: ignore[method-assign, assignment] - the command makes the instance
    try:
        with errors, _around(project, redirect):
            return ask()
    finally:
        EnvironmentContext.configure = original  # type: ignore[method-assign]
        for run in made:
            run.close()


def asked_url(project: Project) -> str:
    """Return the URL that env.py would connect to by itself; '' where that cannot be told. Nothing is changed."""
    environment = EnvironmentContext(project.config, project.script, fn=lambda *_: [], dont_mutate=True)
    environment.configure = env_connections.tell  # type: ignore[method-assign]
    try:
        with env_connections.met(asks=True), _in_application(project), environment:
            project.script.run_env()
    except env_connections.Asked as asked:
        return asked.url
    except (Exception, SystemExit):  # noqa: BLE001 - what is wrong with env.py is said when it is run for good
        return ""
    return ""


def _substitution(
    project: Project,
    environment: EnvironmentContext,
    work: Work,
    connect: Any,
    compared: Callable[[Any, dict[str, Any]], dict[str, Any]] | None = None,
) -> Substitution:
    def more(connection: Any, options: dict[str, Any]) -> dict[str, Any]:
        is_revision = getattr(environment.context_opts.get("fn"), "__qualname__", "").startswith("revision.")
        return compared(connection, options) if compared and is_revision else {}

    return Substitution(environment, work, connect, project.configured, more)


def _places(project: Project) -> tuple[Path, ...]:
    return tuple(Path(place).resolve() for place in project.script._version_locations)  # noqa: SLF001 - all of them


def _env_py(project: Project) -> Path:
    return Path(project.script.dir) / "env.py"


@contextlib.contextmanager
def _around(project: Project, redirect: str) -> Iterator[None]:
    """Be where env.py is to run: in Flask's application, if it needs one; what it connects to is met."""
    with env_connections.met(redirect), _in_application(project):
        yield


def _in_application(project: Project) -> contextlib.AbstractContextManager[None]:
    return flask_app.context(_env_py(project), project.config, project.settings.app)


def _require_one(project: Project, redirect: str) -> None:
    """Refuse an env.py that configures more than once, before anything is changed for the first."""
    environment = EnvironmentContext(project.config, project.script, fn=lambda *_: [], dont_mutate=True)
    counting = Counting(environment)
    counting.install()
    # What is wrong with env.py is said when it is run for good.
    with contextlib.suppress(Exception, SystemExit), _around(project, redirect), environment:
        project.script.run_env()
    if counting.runs > 1:
        raise Refused(SEVERAL.message, SEVERAL.cure)


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
