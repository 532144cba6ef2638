"""Doctor: prints what only the live platform can tell, secrets masked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lockstep_gate import connections, drivers, faults, masking, verdict
from lockstep_gate.predeploy import revisions
from lockstep_gate.predeploy.deadline import Deadline
from lockstep_gate.predeploy.endings import Ending

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lockstep_gate import settings
    from lockstep_gate.connections import Connections
    from lockstep_gate.predeploy import settings as predeploy_settings
    from lockstep_gate.release import Release

PLATFORM = ("RENDER", "IS_PULL_REQUEST", "PORT", "MIGRATOR_SERVICE", "PREDEPLOY_")
SHORT_S = 60.0


def main(
    own: settings.Settings,
    given: predeploy_settings.Settings,
    build: Release,
    last: tuple[str, ...] | None,
    environ: Mapping[str, str],
) -> int:
    """Print every finding, change nothing, and answer with the gate's exit code."""
    _say("argv", " ".join(sys.orig_argv))
    for name in sorted(environ):
        if name.startswith(PLATFORM):
            _say("variable", f"{name}={masking.variable(name, environ[name])}")
    _say("commit", f"baked in {environ.get('IMAGE_COMMIT') or 'none'}, given {given.platform_commit or 'none'}")
    _say("release", str(build))
    _say("database", own.database_url.render_as_string(hide_password=True).partition("?")[0])
    for line in _api(given):
        _say("api", line)
    through = connections.of(
        drivers.engine(own.database_url, statement_timeout_s=own.statement_timeout_s, commit=own.commit)
    )
    answer = verdict.ask_through(through, build)
    _say("revisions", _revisions(through, last))
    _say("gate", str(answer))
    return verdict.EXIT_CODES[answer.state]


def _revisions(through: Connections, last: tuple[str, ...] | None) -> str:
    """Return the last revisions of this commit, and which of them no run has taken up here."""
    if last is None:
        return "not known in this image"
    try:
        missing = revisions.missing(through, last)
    except Exception as error:
        if not faults.is_of_database(error):
            raise
        return faults.first_line(error)
    return f"up to {', '.join(last)}; {'not applied here: ' + ', '.join(missing) if missing else 'applied here'}"


def _api(given: predeploy_settings.Settings) -> list[str]:
    """Return what the API says of both services, by reading only."""
    if not given.api_key:
        return ["RENDER_API_KEY is not set: the API is not asked"]
    from lockstep_gate.predeploy.render_api import Api  # noqa: PLC0415

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
