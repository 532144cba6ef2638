"""From Python: the verbs for a program that has an Alembic Config, as `alembic.command` has its own.

What the program puts into `config.attributes` is there for env.py, a connection too. Each function returns what the
command prints with `--json`. Where the command would print one line and end, it raises MigratorError, which holds the
exit code.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lockstep import settings
from lockstep.project import env_ask
from lockstep.report import Report

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["check", "downgrade", "plan", "rehearse", "status", "upgrade"]


def upgrade(config: Config, revision: str = "head", **given: str) -> dict[str, Any]:
    """Apply what is pending; `given` are settings by name, as the command line takes them, and `database_url`."""
    return _run("upgrade", config, [revision], given)


def downgrade(config: Config, revision: str, *, yes: bool = False, **given: str) -> dict[str, Any]:
    """Take revisions back; `yes`: although the app is in session."""
    return _run("downgrade", config, ["--yes"] if yes else [], given, last=[revision])


def plan(config: Config, revision: str = "head", **given: str) -> dict[str, Any]:
    """Return the pending revisions in order, with their SQL."""
    return _run("plan", config, [revision], given)


def status(config: Config, **given: str) -> dict[str, Any]:
    """Return where the database is, and what is pending."""
    return _run("status", config, [], given)


def check(config: Config, **given: str) -> dict[str, Any]:
    """Check models, heads, seals, and that the migrations lead to the models."""
    return _run("check", config, [], given)


def rehearse(config: Config, **given: str) -> dict[str, Any]:
    """Run pending revisions on a throw-away PostgreSQL."""
    return _run("rehearse", config, [], given)


def _run(verb: str, config: Config, words: list[str], given: dict[str, str], last: list[str] | None = None) -> Any:
    from lockstep import cli  # noqa: PLC0415 - it is what reads the arguments

    arguments = cli.parser().parse_args([verb, *words, *(["--", *last] if last else [])])
    own = {"config": config.config_file_name, "section": config.config_ini_section, **given}
    chosen = settings.load(own, alembic=config)
    if url := given.get("database_url") or _url(config):
        chosen = chosen._replace(database_url=url, url_source="the Config that was given")
    report = Report(quiet=True, as_json=False)
    report.verb = verb
    importlib.import_module(f"lockstep.verbs.{verb}").main(env_ask.completed(chosen), report, arguments)
    return report.data


def _url(config: Config) -> str:
    """Return the URL of the connection, or the one that the program has set; '' where it has neither."""
    connection = config.attributes.get("connection")
    if connection is not None:
        return str(connection.engine.url.render_as_string(hide_password=False))
    url = config.get_main_option("sqlalchemy.url") or ""
    return "" if url.startswith("driver://") else url
