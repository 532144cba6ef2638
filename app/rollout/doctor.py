"""Doctor: the process as the platform made it in, what only the live platform can tell out, secrets masked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from app import gate
from app.rollout import revisions
from app.rollout.clock import Deadline
from app.rollout.endings import Ending
from app.storage import engine as storage
from app.storage import faults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from app import settings
    from app.release import Release
    from app.rollout import settings as rollout_settings

SECRET = ("KEY", "PASSWORD", "SECRET", "TOKEN", "URL", "DSN")
PLATFORM = ("RENDER", "IS_PULL_REQUEST", "PORT", "MIGRATOR_SERVICE", "PREDEPLOY_")
PUBLIC = ("RENDER_EXTERNAL_URL",)
SHORT_S = 60.0


def main(own: settings.Settings, given: rollout_settings.Settings, build: Release, environ: Mapping[str, str]) -> int:
    """Print every finding, change nothing, and answer with the gate's exit code."""
    _say("argv", " ".join(sys.orig_argv))
    for name in sorted(environ):
        if name.startswith(PLATFORM):
            _say("variable", f"{name}={shown(name, environ[name])}")
    _say("commit", f"baked in {environ.get('IMAGE_COMMIT') or 'none'}, given {given.platform_commit or 'none'}")
    _say("release", str(build))
    _say("database", own.database_url.render_as_string(hide_password=True).partition("?")[0])
    for line in _api(given):
        _say("api", line)
    engine = storage.make(own)
    verdict = gate.ask(engine, build.digest)
    _say("revisions", _revisions(engine))
    _say("gate", str(verdict))
    return gate.EXIT_CODES[verdict.state]


def shown(name: str, value: str) -> str:
    """Return a variable's value, or that it is set where it may hold a secret."""
    hidden = name not in PUBLIC and any(word in name for word in SECRET)
    return f"(set, {len(value)} characters)" if hidden and value else value


def _revisions(engine: Engine) -> str:
    """Return the last revisions of this commit, and which of them no run has taken up here."""
    try:
        last = revisions.of_this_build()
        if last is None:
            return "not known in this image"
        missing = revisions.missing(engine, last)
    except (Ending, SQLAlchemyError) as error:
        return str(error) if isinstance(error, Ending) else faults.first_line(error)
    return f"up to {', '.join(last)}; {'not applied here: ' + ', '.join(missing) if missing else 'applied here'}"


def _api(given: rollout_settings.Settings) -> list[str]:
    """Return what the API says of both services, by reading only."""
    if not given.api_key:
        return ["RENDER_API_KEY is not set: the API is not asked"]
    from app.rollout.render import Api  # noqa: PLC0415

    lines: list[str] = []
    api = Api(given, Deadline.after(SHORT_S), lines.append)
    try:
        own = api.service(given.service_id) if given.service_id else None
        if own:
            lines.append(f"this service: {own.id} {own.kind} of {own.repo} ({own.branch}), workspace {own.owner}")
        found = (
            [api.service(given.migrator_id)]
            if given.migrator_id
            else api.services(given.migrator_name, "cron_job", own.owner if own else "")
        )
        for one in found:
            newest = next(api.deploys(one.id), None)
            last = f"newest deploy {newest.id}, {newest.commit[:12]}, {newest.status}" if newest else "no deploy yet"
            lines.append(f"migrator: {one.id} {one.kind} of {one.repo} ({one.branch}); {last}")
        if not found:
            lines.append(f"migrator: no cron job named {given.migrator_name}")
    except Ending as ending:
        lines.append(str(ending))
    finally:
        api.close()
    return lines


def _say(what: str, text: str) -> None:
    print(f"{what:<10} {text}", flush=True)
