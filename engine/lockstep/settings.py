"""Settings: environment and flags in, one frozen and checked object out."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from lockstep.errors import Usage
from lockstep_gate import durations

if TYPE_CHECKING:
    from collections.abc import Mapping

# As text: pathlib costs milliseconds, and a load of a checkpoint needs it for nothing else.
OWN_CONFIG = os.path.join(os.path.dirname(os.path.realpath(__file__)), "alembic.ini")  # noqa: PTH118, PTH120

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
    kind: str = "text"  # text | duration | switch

    @property
    def flag(self) -> str:
        """Return the command-line flag, `--lock-wait`."""
        return "--" + self.name.removesuffix("_ms").replace("_", "-")

    @property
    def variable(self) -> str:
        """Return the environment variable, `MIGRATOR_LOCK_WAIT`; the retention's name is shared with the app's docs."""
        return _NAMES.get(self.name) or "MIGRATOR_" + self.name.removesuffix("_ms").upper()


_NAMES = {"retention_ms": "RELEASE_RETENTION"}

# One table for the parser, the help, the environment and the docs.
OPTIONS = (
    Option("config", "", "path of an alembic.ini; default: the project's own"),
    Option("wait_ms", "60s", "how long to wait for the database to answer", "duration"),
    Option("deadline_ms", "20min", "one bound on the whole run; keep it below the platform's", "duration"),
    Option("lock_wait_ms", "2min", "how long to wait for another migrator to finish", "duration"),
    Option("lock_timeout_ms", "50ms", "the longest a single try may make clients queue behind it", "duration"),
    Option("statement_timeout_ms", "5min", "the longest one statement that blocks clients may run", "duration"),
    Option("idle_timeout_ms", "60s", "the server ends a transaction of ours that idles longer", "duration"),
    Option("terminate_blockers_after_ms", "0", "end sessions that hold a needed lock this long; 0: never", "duration"),
    Option("app_role", "app", "the app's database role, granted rows and nothing else where it exists"),
    Option("app_schema", "", "the schema of the app's tables, made by the first run; default: the search path's first"),
    Option("retention_ms", "15min", "a release is live while a report of it is younger than this", "duration"),
    Option("no_unknown_release", "", "an app that never reported is not taken to be live", "switch"),
    Option("strict", "", "what may break a live release counts as if it did", "switch"),
    Option("ignore_live_releases", "", "apply what breaks live releases; takes the reason, which the ledger keeps"),
    Option("exposed_schemas", "public", "schemas that a Data API serves, by commas; none: it is off"),
    Option("tls_ca", "", "a PEM file of the authorities to trust; the server's certificate is then checked"),
    Option("require_tls", "", "refuse a connection that is not encrypted", "switch"),
    Option("checkpoint", "", "what an empty database is loaded from; default: checkpoint.sql beside env.py; or none"),
    Option("commit", "", "the commit of this release; default: the one baked into the image"),
)


_SECRET = ("database_url", "app_password")


class Settings(NamedTuple):
    """What one run goes by. Secrets are kept out of repr."""

    database_url: str = ""
    url_source: str = "MIGRATOR_DATABASE_URL"
    app_password: str = ""
    config: str = OWN_CONFIG
    wait_ms: int = 60_000
    deadline_ms: int = 1_200_000
    lock_wait_ms: int = 120_000
    lock_timeout_ms: int = 50
    statement_timeout_ms: int = 300_000
    idle_timeout_ms: int = 60_000
    terminate_blockers_after_ms: int = 0
    app_role: str = "app"
    app_schema: str = ""
    retention_ms: int = 900_000
    no_unknown_release: bool = False
    strict: bool = False
    ignore_live_releases: str = ""
    exposed_schemas: str = "public"
    tls_ca: str = ""
    require_tls: bool = False
    checkpoint: str = ""
    commit: str = "unknown"
    run_id: str = ""  # the name the caller gave this run; `upgrade` sets it

    def __repr__(self) -> str:
        """Show no secret."""
        shown = (f"{name}={value!r}" for name, value in self._asdict().items() if name not in _SECRET)
        return f"Settings({', '.join(shown)})"

    @property
    def is_own_project(self) -> bool:
        """Tell whether the run is on the project's own alembic.ini and env.py."""
        return self.config == OWN_CONFIG


def load(flags: Mapping[str, str | None] | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """Return the settings: a flag wins over its variable, a variable over the default; raise Usage."""
    env = os.environ if env is None else env
    flags = flags or {}
    values: dict[str, object] = {}
    for option in OPTIONS:
        text = flags.get(option.name) or env.get(option.variable) or option.default
        source = option.flag if flags.get(option.name) else option.variable
        values[option.name] = _READ[option.kind](text, source)
    values["config"] = _config(str(values["config"]))
    if values["config"] != OWN_CONFIG and not (flags.get("app_role") or env.get("MIGRATOR_APP_ROLE")):
        values["app_role"] = ""  # rights in somebody else's database are granted to whom the operator names, only
    values["commit"] = values["commit"] or commit(env)
    url, source = _url(env, values["config"])
    settings = Settings(
        database_url=url,
        url_source=source,
        app_password=env.get("MIGRATOR_APP_PASSWORD", ""),
        **values,  # type: ignore[arg-type]
    )
    _check(settings)
    return settings


_READ = {
    "text": lambda text, _source: text,
    "duration": duration_ms,
    "switch": lambda text, _source: is_on(text),
}


def is_on(text: str) -> bool:
    """Tell whether a switch's text means yes."""
    return text.strip().lower() in {"1", "true", "yes", "on"}


def commit(env: Mapping[str, str]) -> str:
    """Return the commit of this process: baked into the image, else the platform's, else 'unknown'."""
    return env.get("IMAGE_COMMIT") or env.get("RENDER_GIT_COMMIT") or "unknown"


def _url(env: Mapping[str, str], config: str) -> tuple[str, str]:
    """Return the database's URL and what named it: a variable, or the alembic.ini of a project that keeps it there."""
    for variable in ("MIGRATOR_DATABASE_URL", "DATABASE_URL"):
        if url := env.get(variable, "").strip():
            return url, variable
    if config != OWN_CONFIG:
        import configparser  # noqa: PLC0415 - of use for somebody else's project only
        from pathlib import Path  # noqa: PLC0415

        parser = configparser.ConfigParser({"here": str(Path(config).parent)})
        with contextlib.suppress(configparser.Error, OSError, UnicodeDecodeError):
            parser.read(config, encoding="utf-8")
            url = parser.get("alembic", "sqlalchemy.url", fallback="").strip()
            if not url.startswith("driver://"):  # what `alembic init` writes for somebody to fill in
                return url, f"sqlalchemy.url in {Path(config).name}"
    return "", "MIGRATOR_DATABASE_URL"


def _config(text: str) -> str:
    path = os.path.realpath(text) if text else OWN_CONFIG
    if not os.path.isfile(path):  # noqa: PTH113 - nor where the name is longer than any may be
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
