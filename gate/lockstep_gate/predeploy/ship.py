"""`ship`: deploys the app of a commit whose migrator has succeeded, and follows the deploy to its end; CI runs it last.

For the road with no API key on Render: the key is CI's, and the app's own pre-deploy only waits for the gate.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from lockstep_gate import bugs, exits, settings
from lockstep_gate.predeploy import settings as predeploy_settings
from lockstep_gate.predeploy.deadline import Deadline
from lockstep_gate.predeploy.endings import Ending, Refused, Unreachable, Unusable
from lockstep_gate.predeploy.render_api import Api, NotAccepted, Uncertain
from lockstep_gate.predeploy.trigger import UNDER_WAY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lockstep_gate.predeploy.render_api import Deploy

CONFLICT = 409


@bugs.told("ship")
def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Deploy a commit of the app and follow it; the exit code says whether it serves."""
    signal.signal(signal.SIGTERM, _terminate)
    _parser().parse_args(arguments)
    try:
        given = predeploy_settings.read(environ)
        service = _service(environ, given)
    except settings.SettingsError as error:
        _say("\n".join(f"ship: {line}" for line in str(error).splitlines()))
        return exits.USAGE.code
    deadline = Deadline.after(given.deadline_s)
    api = Api(given, deadline, _say)
    try:
        deploy = follow(api, given, deadline, service, ask(api, given, deadline, service))
    except Ending as ending:
        _say(f"ship       no: {ending} (exit {ending.code})")
        return ending.code
    except (KeyboardInterrupt, SystemExit) as ending:
        code = (exits.INTERRUPTED if isinstance(ending, KeyboardInterrupt) else exits.TERMINATED).code
        _say(f"ship       stopped; a deploy that was asked for goes on alone (exit {code})")
        return code
    finally:
        api.close()
    _say(f"ship       yes: {deploy.id} of commit {given.commit[:12]} is {deploy.status} (exit 0)")
    return 0


def ask(api: Api, given: predeploy_settings.Settings, deadline: Deadline, service: str) -> str:
    """Ask for the deploy, once, and return its id: one that was not there before."""
    before = {deploy.id for deploy in api.deploys(service)}
    asked_s = deadline.left()
    asked = False
    while True:
        if not asked:
            try:
                api.deploy(service, given.commit)
                asked = True
            except Uncertain as fault:
                _say(f"waiting    {fault.message}; looking whether the deploy was begun")
            except NotAccepted as fault:
                if fault.status != CONFLICT:
                    raise Unusable(fault.message, "see that APP_SERVICE_ID is the app's service") from None
        for deploy in api.deploys(service):
            if deploy.id not in before and deploy.commit == given.commit:
                return deploy.id
        if asked_s - deadline.left() > given.patience_s and not asked:
            raise Unreachable("Render's API does not begin a deploy", "see status.render.com, then run this again")
        # Not begun yet: it stands in the queue behind another one.
        deadline.sleep(given.poll_s, "the deploy to begin")


def follow(api: Api, given: predeploy_settings.Settings, deadline: Deadline, service: str, wanted: str) -> Deploy:
    """Return the deploy once it serves; raise Refused if it ends otherwise."""
    said = ""
    while True:
        deploy = next((one for one in api.deploys(service) if one.id == wanted), None)
        if deploy is None:
            raise Refused(f"deploy {wanted} is gone", "run this again")
        if deploy.status != said:
            said = deploy.status
            _say(f"deploy     {deploy.id} {said}")
        if said in ("live", "deactivated"):
            return deploy
        if said not in UNDER_WAY:
            raise Refused(f"deploy {deploy.id} ended as {said}", "see its log; the release that served keeps serving")
        deadline.sleep(given.poll_s, f"deploy {deploy.id} ({said}), which goes on alone")


def _service(environ: Mapping[str, str], given: predeploy_settings.Settings) -> str:
    service = environ.get("APP_SERVICE_ID", "").strip()
    if not (service and given.api_key and given.commit):
        raise settings.SettingsError("set APP_SERVICE_ID, RENDER_API_KEY and IMAGE_COMMIT (or RENDER_GIT_COMMIT)")
    return service


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m lockstep_gate ship",
        description="Deploy this commit of the app on Render (APP_SERVICE_ID, RENDER_API_KEY), and follow it.",
    )


def _say(line: str) -> None:
    print(line, flush=True)


def _terminate(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(exits.TERMINATED.code)


if __name__ == "__main__":
    sys.exit(main())
