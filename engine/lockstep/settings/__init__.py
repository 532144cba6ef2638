"""Settings: read flags, environment and project options into one frozen and checked object."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from lockstep.errors import Usage
from lockstep.settings import find_project, project_options
from lockstep_gate import durations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLAIN_NAME = r"[a-z_][a-z0-9_]{0,62}"
_NOT_OURS = ("migrator", "information_schema")
_MAX_MS = 2_147_483_647  # PostgreSQL keeps its timeouts in a signed 32-bit number of milliseconds.


def duration_ms(text: str, name: str) -> int:
    """Parse '50ms', '20min', '90' (seconds) into milliseconds; raise Usage naming the setting."""
    try:
        milliseconds = int(durations.milliseconds(text))
    except ValueError:
        raise Usage(f"{name}: {text!r} is not a duration", "write it like 50ms, 30s, 20min or 2h") from None
    if milliseconds > _MAX_MS:
        raise Usage(f"{name}: {text!r} is more than PostgreSQL can hold (24 days)", "choose a shorter time")
    return milliseconds


class Option(NamedTuple):
    """One setting: its field, flag, variable, default as a person would write it, and what it means."""

    name: str
    default: str
    help: str
    kind: str = "text"  # text | duration | switch | pairs
    short: str = ""

    @property
    def flag(self) -> str:
        """Return the command-line flag, `--lock-wait`."""
        return "--" + self.name.removesuffix("_ms").replace("_", "-")

    @property
    def variable(self) -> str:
        """Return the environment variable, `MIGRATOR_LOCK_WAIT`; the retention's name is shared with the app's docs."""
        return _NAMES.get(self.name) or "MIGRATOR_" + self.name.removesuffix("_ms").upper()


_NAMES = {"retention_ms": "RELEASE_RETENTION", "app": "FLASK_APP"}

# One table for the parser, the help, the environment and the docs.
OPTIONS = (
    Option("config", "", "an alembic.ini or pyproject.toml; default: the nearest upwards, else migrator/alembic.ini"),
    Option("section", "alembic", "the section of the alembic.ini to take", short="-n"),
    Option(
        "x",
        "",
        "KEY=VALUE for env.py's get_x_argument(), as often as need be; several in the variable: by spaces",
        "pairs",
        "-x",
    ),
    Option("app", "", "Flask's application, where env.py stands on it: shop.py, shop:app, shop:create_app"),
    Option("wait_ms", "60s", "how long to wait for the database to answer", "duration"),
    Option("deadline_ms", "20min", "one bound on the whole run; keep it below the platform's", "duration"),
    Option("lock_wait_ms", "2min", "how long to wait for another migrator to finish", "duration"),
    Option("lock_timeout_ms", "50ms", "the longest a single try may make clients queue behind it", "duration"),
    Option("statement_timeout_ms", "5min", "the longest one statement that blocks clients may run", "duration"),
    Option("idle_timeout_ms", "60s", "the server ends a transaction of ours that idles longer", "duration"),
    Option("terminate_blockers_after_ms", "0", "end sessions that hold a needed lock this long; 0: never", "duration"),
    Option("models", "", "a models file, or package.module:Base; default: target_metadata of env.py"),
    Option("models_source", "", "the app's models file, which `models` is a copy of"),
    Option("contract", "", "a contract.json that was written when the image was built; wins over the models"),
    Option("app_role", "", "the app's database role, granted rows and nothing else where it exists"),
    Option("app_schema", "", "the schema of the app's tables, made by the first run; default: the search path's first"),
    Option("retention_ms", "15min", "a release is live while a report of it is younger than this", "duration"),
    Option("no_unknown_release", "", "an app that never reported is not taken to be live", "switch"),
    Option("strict", "", "what may break a live release counts as if it did", "switch"),
    Option("ignore_live_releases", "", "apply what breaks live releases; takes the reason, which the ledger keeps"),
    Option("exposed_schemas", "public", "schemas that a Data API serves, by commas; none: it is off"),
    Option("tls_ca", "", "a PEM file of the authorities to trust; the server's certificate is then checked"),
    Option("require_tls", "", "refuse a connection that is not encrypted", "switch"),
    Option("safe_autogenerate", "", "`revision` writes steps that block nobody, whatever env.py configures", "switch"),
    Option("no_temporary_tables", "", "nobody but who is granted it may make temporary tables", "switch"),
    Option("checkpoint", "", "what an empty database is loaded from; default: checkpoint.sql beside env.py; or none"),
    Option("commit", "", "the commit of this release; default: the one baked into the image"),
)


_OPTION = {option.name: option for option in OPTIONS}
_SECRET = ("database_url", "app_password", "x", "alembic")


class Settings(NamedTuple):
    """What one run goes by. Secrets are kept out of repr."""

    database_url: str = ""
    url_source: str = "MIGRATOR_DATABASE_URL"
    app_password: str = ""
    config: str = ""
    section: str = "alembic"
    x: tuple[str, ...] = ()
    app: str = ""
    wait_ms: int = 60_000
    deadline_ms: int = 1_200_000
    lock_wait_ms: int = 120_000
    lock_timeout_ms: int = 50
    statement_timeout_ms: int = 300_000
    idle_timeout_ms: int = 60_000
    terminate_blockers_after_ms: int = 0
    models: str = ""
    models_source: str = ""
    contract: str = ""
    app_role: str = ""
    app_schema: str = ""
    retention_ms: int = 900_000
    no_unknown_release: bool = False
    strict: bool = False
    ignore_live_releases: str = ""
    exposed_schemas: str = "public"
    tls_ca: str = ""
    require_tls: bool = False
    safe_autogenerate: bool = False
    no_temporary_tables: bool = False
    checkpoint: str = ""
    commit: str = "unknown"
    run_id: str = ""  # the name the caller gave this run; `upgrade` sets it
    alembic: Any = None  # a Config that a caller in Python made itself: its attributes are env.py's

    def __repr__(self) -> str:
        """Show no secret."""
        shown = (f"{name}={value!r}" for name, value in self._asdict().items() if name not in _SECRET)
        return f"Settings({', '.join(shown)})"


def load(
    flags: Mapping[str, str | None] | None = None, env: Mapping[str, str] | None = None, alembic: Any = None
) -> Settings:
    """Return the settings; raise Usage.

    A flag wins over its variable, a variable over what the project says of itself, and that over the default.
    """
    env = os.environ if env is None else env
    flags = flags or {}
    config, section = (flags.get(name) or env.get(_OPTION[name].variable) or "" for name in ("config", "section"))
    config = _config(config) if config or alembic is None else ""  # one made in Python may have no file
    section = section or _OPTION["section"].default
    of_project = project_options.read(config, section)._asdict()
    values: dict[str, Any] = {}
    for option in OPTIONS:
        given = flags.get(option.name) or env.get(option.variable)
        if not given and (declared := of_project.get(option.name)):
            values[option.name] = declared
            continue
        source = option.flag if flags.get(option.name) else option.variable
        values[option.name] = _READ[option.kind](given or option.default, source)
    values |= {"config": config, "section": section}
    values["commit"] = values["commit"] or commit(env)
    url, source = _url(env, config, section)
    settings = Settings(
        database_url=url,
        url_source=source,
        app_password=env.get("MIGRATOR_APP_PASSWORD", ""),
        alembic=alembic,
        **values,
    )
    _check(settings)
    return settings


def joined(pairs: Sequence[str] | None) -> str:
    """Return arguments for env.py as one text, as a shell would take it apart."""
    if not pairs:
        return ""
    import shlex  # noqa: PLC0415 - few have any

    return shlex.join(pairs)


def _pairs(text: str, source: str) -> tuple[str, ...]:
    """Return the arguments for env.py, which a shell would have taken apart."""
    if not text:
        return ()
    import shlex  # noqa: PLC0415 - few have any

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise Usage(f"{source}: {error}", "write KEY=VALUE, several by spaces, quoted as in a shell") from None


_READ = {
    "text": lambda text, _source: text,
    "duration": duration_ms,
    "switch": lambda text, _source: is_on(text),
    "pairs": _pairs,
}


def is_on(text: str) -> bool:
    """Tell whether a switch's text means yes."""
    return text.strip().lower() in {"1", "true", "yes", "on"}


def commit(env: Mapping[str, str]) -> str:
    """Return the commit of this process: baked into the image, else the platform's, else 'unknown'."""
    return env.get("IMAGE_COMMIT") or env.get("RENDER_GIT_COMMIT") or "unknown"


def _url(env: Mapping[str, str], config: str, section: str) -> tuple[str, str]:
    """Return the database's URL and what named it: a variable, or the alembic.ini of a project that keeps it there."""
    for variable in ("MIGRATOR_DATABASE_URL", "DATABASE_URL"):
        if url := env.get(variable, "").strip():
            return url, variable
    if url := project_options.database_url(config, section):
        return url, f"sqlalchemy.url in {os.path.basename(config)}"  # noqa: PTH119 - pathlib costs milliseconds
    return "", "MIGRATOR_DATABASE_URL"


def _config(given: str) -> str:
    path = find_project.configuration(given)
    if path and not os.path.isfile(path):  # noqa: PTH113 - nor where the name is longer than any may be
        raise Usage(f"no Alembic configuration at {path[:300]}", "give the path of an alembic.ini with --config")
    return path


def _check(settings: Settings) -> None:
    if settings.lock_timeout_ms < 1:
        raise Usage("--lock-timeout is 0: a try would wait for ever", "give at least 1ms")
    schema = settings.app_schema
    if schema and not (re.fullmatch(_PLAIN_NAME, schema) and not schema.startswith("pg_") and schema not in _NOT_OURS):
        raise Usage(
            f"MIGRATOR_APP_SCHEMA: {schema[:63]!r} is not a schema for the app's tables",
            "use a name of lower-case letters, digits and _, and neither migrator nor one of PostgreSQL's own",
        )
    # When they are equal PostgreSQL reports the statement timeout, and a lock wait is not recognised as one.
    if 0 < settings.statement_timeout_ms <= settings.lock_timeout_ms:
        raise Usage(
            "--lock-timeout has to be shorter than --statement-timeout",
            f"now {settings.lock_timeout_ms} ms and {settings.statement_timeout_ms} ms",
        )
    if settings.deadline_ms < 1:
        raise Usage("--deadline is 0: the run would have no time", "give it below the platform's limit, e.g. 20min")
