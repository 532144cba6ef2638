"""Trigger: when the gate is closed, run the migrator of this very commit as a one-off job, unless another opens it.

The job does the work and the gate says whether it counts: nothing here decides that a release may serve.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockstep_gate.predeploy.endings import Ending, Failed, Refused, Unreachable, Unusable
from lockstep_gate.predeploy.render_api import NotAccepted, Odd, Uncertain

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep_gate.predeploy.deadline import Deadline
    from lockstep_gate.predeploy.render_api import Api, Deploy, Job, Service
    from lockstep_gate.predeploy.settings import Settings

UNDER_WAY = ("created", "queued", "build_in_progress", "pre_deploy_in_progress", "update_in_progress")
BUILT = ("live", "deactivated")  # deactivated: it was live, and a newer one is now
JOB_BASES = ("web_service", "private_service", "background_worker", "cron_job")
OVER = ("succeeded", "failed", "canceled")
# What the job leaves of the time, to start in and for its last words to be read: a tenth, and a minute if it can be.
RESERVE = 0.1
RESERVE_S = 60.0
NOT_FOUND = 404
DETAILS = "the migrator's log says why"


@dataclass
class Followed:
    """What was set going, for the last words of a command that is ended from outside."""

    run_id: str = ""
    job: str = ""

    def __str__(self) -> str:
        if self.job:
            return f"job {self.job} goes on alone; what it does is in the ledger for the next deploy"
        if self.run_id:
            return f"a job with the run id {self.run_id} may have been started, and then goes on alone"
        return "no job was started"


class Trigger:
    """Has the migrator run, once, for one commit."""

    def __init__(
        self, api: Api, given: Settings, deadline: Deadline, is_open: Callable[[], bool], say: Callable[[str], None]
    ) -> None:
        """`is_open` asks the gate; `say` prints a line."""
        self._api, self._given, self._deadline, self._is_open, self._say = api, given, deadline, is_open, say
        self.followed = Followed()

    def run(self) -> Job | None:
        """Return the job once it is over, or None when the gate opened before one was needed; raise an Ending."""
        service = self._find()
        self._say(f"migrator   {service.name} ({service.id})")
        if not self._wait_for_its_deploy(service):
            return None
        job = self._start(service)
        return self._follow(service, job) if job else None

    def _find(self) -> Service:
        """Return the migrator's service; wait a while for one that a new Blueprint is still making."""
        own = self._own()
        grace = _Grace(self._deadline, self._given)
        while True:
            found = self._candidates(own)
            if len(found) == 1:
                break
            if len(found) > 1:
                raise Refused(
                    f"{len(found)} services are named {self._given.migrator_name}: "
                    f"{', '.join(sorted(one.id for one in found))}",
                    "set MIGRATOR_SERVICE_ID to the one that belongs to this app",
                )
            grace.sleep_or_raise(
                Refused(
                    f"no cron job named {self._given.migrator_name} of this repository is in the workspace",
                    "make it from render.yaml, or set MIGRATOR_SERVICE_ID or MIGRATOR_SERVICE_NAME",
                )
            )
        self._check(found[0], own)
        return found[0]

    def _own(self) -> Service | None:
        if not self._given.service_id:
            return None
        try:
            return self._api.service(self._given.service_id)
        except NotAccepted as error:
            raise Unusable(
                f"the key cannot see this app's own service {self._given.service_id} ({error.status})",
                "put a key of a user in this workspace into RENDER_API_KEY",
            ) from None

    def _candidates(self, own: Service | None) -> list[Service]:
        if self._given.migrator_id:
            try:
                return [self._api.service(self._given.migrator_id)]
            except NotAccepted as error:
                if error.status != NOT_FOUND:
                    raise
                raise Unusable(
                    f"there is no service {self._given.migrator_id}: it was deleted, or is in another workspace",
                    "correct MIGRATOR_SERVICE_ID, or take it away to have it found by name",
                ) from None
        found = self._api.services(self._given.migrator_name, "cron_job", own.owner if own else "")
        return [one for one in found if own is None or one.repo == own.repo]

    def _check(self, migrator: Service, own: Service | None) -> None:
        if migrator.suspended:
            raise Refused(f"the migrator's service {migrator.id} is suspended", "resume it, then deploy again")
        if migrator.kind not in JOB_BASES:
            raise Unusable(f"{migrator.id} is a {migrator.kind}, which runs no jobs", "correct MIGRATOR_SERVICE_ID")
        if own and (migrator.repo, migrator.owner) != (own.repo, own.owner):
            raise Unusable(
                f"{migrator.id} belongs to another repository or workspace than this app", "correct MIGRATOR_SERVICE_ID"
            )
        if own and migrator.branch != own.branch:
            raise Unusable(
                f"{migrator.id} deploys the branch {migrator.branch}, this app {own.branch}: "
                "the migrator never gets this commit",
                "set the same branch on both",
            )

    def _wait_for_its_deploy(self, service: Service) -> bool:
        """Return True once the migrator's deploy of our commit was live, False if the gate opened before."""
        grace = _Grace(self._deadline, self._given)
        said = ""
        while True:
            newest, ours = self._deploys(service)
            deploy = _telling(ours)
            if deploy and deploy.status in BUILT:
                self._say(f"migrator   {deploy.id} of this commit is {deploy.status}")
                return True
            if deploy and deploy.status not in UNDER_WAY:
                raise Refused(
                    f"the migrator's deploy {deploy.id} of this commit ended as {deploy.status}: nothing was migrated",
                    f"see its log ({service.page}), correct it and push, or deploy both services again",
                )
            if deploy:
                if deploy.status != said:
                    said = deploy.status
                    self._say(f"waiting    for the migrator's deploy {deploy.id} of this commit: {said}")
                grace = _Grace(self._deadline, self._given)
                self._deadline.sleep(self._given.poll_s, f"the migrator's deploy {deploy.id} ({said})")
            else:
                if not said:
                    said = "missing"
                    self._say("waiting    for the migrator's deploy of this commit to appear")
                grace.sleep_or_raise(self._no_deploy(newest))
            if self._is_open():
                return False

    def _deploys(self, service: Service) -> tuple[Deploy | None, list[Deploy]]:
        """Return the newest deploy, and those of our commit; read no further than that commit's."""
        newest: Deploy | None = None
        ours: list[Deploy] = []
        for deploy in self._api.deploys(service.id):
            newest = newest or deploy
            if deploy.commit == self._given.commit:
                ours.append(deploy)
            elif ours:
                break
        return newest, ours

    def _no_deploy(self, newest: Deploy | None) -> Refused:
        last = f"; its newest is of {newest.commit[:12] or 'no commit'}, {newest.status}" if newest else ""
        return Refused(
            f"the migrator has no deploy of this commit {self._given.commit[:12]} after {self._given.grace_s:g} s "
            f"(PREDEPLOY_GRACE){last}",
            "it was skipped (a [skip render] phrase, a build filter, auto-deploy off, or a newer push): "
            "deploy the newest commit on both services",
        )

    def _start(self, service: Service) -> Job | None:
        """Start the job, and never a second one for want of an answer; None if the gate opened before."""
        run_id = self.followed.run_id = f"run-{secrets.token_hex(8)}"
        grace = _Grace(self._deadline, self._given)
        patience = _Grace(self._deadline, self._given, self._given.patience_s)
        while True:
            try:
                job = self._api.start_job(service.id, self._command(run_id))
            except Uncertain as fault:
                self._say(f"waiting    {fault.message} to the start of the job; looking whether it was started")
                patience.sleep_or_raise(Unreachable(fault.message, "see status.render.com, then deploy again"))
                job = self._api.job_with(service.id, run_id)
            except NotAccepted as fault:
                # Not documented: what the API says before a service's first build is there to start a job from.
                self._say(f"waiting    {fault.message}")
                grace.sleep_or_raise(fault)
                job = None
            if job:
                self.followed.job = job.id
                self._say(f"job        {job.id} started: {job.command}")
                return job
            if self._is_open():
                return None

    def _command(self, run_id: str) -> str:
        left = self._deadline.left()
        seconds = int(left - min(max(RESERVE_S, left * RESERVE), left / 2))
        # Plain words: Render gives a container's command to no shell.
        return f"migrator upgrade --expect-commit {self._given.commit} --run-id {run_id} --deadline {max(1, seconds)}s"

    def _follow(self, service: Service, job: Job) -> Job:
        log = _Log(self._api, service.owner, job.id, self._say)
        said = ""
        while True:
            if job.status != said:
                said = job.status
                self._say(f"job        {job.id} {said}")
            self._api.waiting_for = f"job {job.id} ({said}), which goes on alone"
            log.show()
            if job.status in OVER:
                self.followed = Followed()
                return job
            self._deadline.sleep(self._given.poll_s, self._api.waiting_for)
            job = self._api.job(service.id, job.id)


class _Grace:
    """A wait for something that may still come."""

    def __init__(self, deadline: Deadline, given: Settings, seconds: float | None = None) -> None:
        self._deadline, self._poll_s = deadline, given.poll_s
        self._ends = deadline.left() - (given.grace_s if seconds is None else seconds)

    def sleep_or_raise(self, ending: Ending) -> None:
        """Sleep one poll; raise the ending once the wait is over."""
        if self._deadline.left() <= max(self._ends, 0):
            raise ending
        self._deadline.sleep(self._poll_s, ending.message)


class _Log:
    """A job's log, shown as it comes, where the API has it."""

    def __init__(self, api: Api, owner: str, job: str, say: Callable[[str], None]) -> None:
        self._api, self._owner, self._job, self._say = api, owner, job, say
        self._seen: set[str] = set()
        self._since = ""
        self._silent = False

    def show(self) -> None:
        """Show the lines that are new; a log that cannot be had is said once, and fails nothing."""
        if self._silent:
            return
        try:
            lines = self._api.log(self._owner, self._job, self._since)
        except (NotAccepted, Odd, Unusable) as error:
            self._silent = True
            self._say(f"job        its log is not to be had here ({error.message}); see it in the dashboard")
            return
        for line in lines:
            if line.id not in self._seen:
                self._seen.add(line.id)
                self._since = line.time
                self._say(f"  {line.text.rstrip()}")


def _telling(deploys: list[Deploy]) -> Deploy | None:
    """Return the deploy that tells: one that was live, else one under way, else the newest."""
    for statuses in (BUILT, UNDER_WAY):
        for deploy in deploys:
            if deploy.status in statuses:
                return deploy
    return deploys[0] if deploys else None


def failed(job: Job, last_words: tuple[int, str] | None) -> Failed:
    """Return the ending of a job that did not succeed; `last_words` are the ledger's of that run."""
    if last_words is None:
        return Failed(f"job {job.id} {job.status}, and the ledger holds no word of it", DETAILS)
    code, text = last_words
    return Failed(f"job {job.id} {job.status}: {text}", DETAILS, code=code)
