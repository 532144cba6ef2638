"""Decision: whether a release may be rolled out, and the migrator's job on Render where one is needed for that.

The gate is a fact in the database, the trigger is a job of the migrator's
service. The gate is asked first, and whether this commit's revisions have been taken up here: where both are so,
nothing else happens. After the job both are asked again: only their yes is a yes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import text

from lockstep_gate import connections, drivers, exits, faults, verdict
from lockstep_gate.masking import masked
from lockstep_gate.predeploy import revisions
from lockstep_gate.predeploy.endings import Ending, Refused, Unreachable, Unusable
from lockstep_gate.verdict import State, Verdict

if TYPE_CHECKING:
    from lockstep_gate import settings
    from lockstep_gate.predeploy import settings as predeploy_settings
    from lockstep_gate.predeploy.deadline import Deadline
    from lockstep_gate.predeploy.render_api import Job
    from lockstep_gate.predeploy.trigger import Followed
    from lockstep_gate.release import Release

SETTLE_S = 5.0
LAST_WORDS = text("SELECT outcome, error, message FROM migrator.run WHERE run_id = :run_id ORDER BY id DESC LIMIT 1")
# What a server says to a role that the first run of the migrator is yet to make; it carries no SQLSTATE here.
NO_ROLE_YET = ("authentication failed", "does not exist", "not found")


class Predeploy:
    """One pre-deploy of one release."""

    def __init__(
        self,
        own: settings.Settings,
        given: predeploy_settings.Settings,
        build: Release,
        last: tuple[str, ...] | None,
        deadline: Deadline,
    ) -> None:
        """Nothing is asked yet; `last` are the last revisions of this commit, where they are known."""
        self._given, self._build, self._deadline = given, build, deadline
        self._through = connections.of(
            drivers.engine(own.database_url, statement_timeout_s=own.statement_timeout_s, commit=own.commit)
        )
        self._revisions = last
        self._secrets = (given.api_key, str(own.database_url.password or ""))
        self._followed: Followed | None = None
        self._said = ""

    @property
    def followed(self) -> str:
        """Say what goes on although this command ends."""
        return str(self._followed) if self._followed else "no job was started"

    def say(self, line: str) -> None:
        """Print a line, at once, with no secret in it whoever wrote it."""
        print(masked(line, self._secrets), flush=True)

    def run(self, *, wait_only: bool) -> Verdict:
        """Return the gate's yes, or raise an Ending."""
        if self._revisions is None:
            self.say("revisions  not known in this image; the gate alone decides")
        answer = self._ask_first()
        if answer.state is State.SERVED:
            return answer
        self._refuse_what_no_run_cures(answer)
        if wait_only:
            return self._wait()
        self._check_before_the_api()
        try:
            return self._migrate()
        except Ending:
            # Whatever became of the way, the fact counts: another run may have brought the schema here meanwhile.
            if self._ask().state is not State.SERVED:
                raise
            self.say("gate       is open all the same")
            return verdict.SERVED

    def _ask(self) -> Verdict:
        answer = verdict.ask_through(self._through, self._build)
        if answer.state is State.SERVED:
            answer = self._of_revisions()
        if str(answer) != self._said:
            self._said = str(answer)
            self.say(f"gate       {self._said}")
        return answer

    def _of_revisions(self) -> Verdict:
        """Turn the gate's yes into a no where a revision of this commit has not been taken up here."""
        try:
            missing = revisions.missing(self._through, self._revisions or ())
        except Exception as error:
            if not faults.is_of_database(error):
                raise
            return verdict.of_error(error)
        if not missing:
            return verdict.SERVED
        return Verdict(
            State.NOT_RECORDED,
            f"the schema serves this release, and revision {', '.join(missing)} of its commit has not been applied",
            "run `migrator upgrade` of this commit, then ask again",
        )

    def _ask_first(self) -> Verdict:
        """Ask, and wait a while for a database that does not answer."""
        ends = time.monotonic() + self._given.database_wait_s
        while True:
            answer = self._ask()
            down = answer.state is State.UNREACHABLE and not any(sign in answer.detail for sign in NO_ROLE_YET)
            if not down:
                if answer.state is State.UNREACHABLE:
                    self.say("gate       this role may be the first run's to make; going on")
                return answer
            if time.monotonic() >= ends:
                raise Unreachable(f"{answer.reason} ({answer.detail})", answer.cure)
            self._deadline.sleep(min(self._given.poll_s, 1.0), "the database")

    @staticmethod
    def _refuse_what_no_run_cures(answer: Verdict) -> None:
        if answer.state is State.BROKEN:
            raise Refused(answer.reason, answer.cure)

    def _wait(self) -> Verdict:
        """Ask until somebody else has migrated: CI, or the migrator's own service."""
        while True:
            self._deadline.sleep(self._given.poll_s, "somebody to run the migrator of this release (--wait-only)")
            answer = self._ask()
            self._refuse_what_no_run_cures(answer)
            if answer.state is State.SERVED:
                return answer

    def _check_before_the_api(self) -> None:
        given = self._given
        if given.is_preview:
            raise Refused(
                "this is a preview of a pull request, and previews do not migrate",
                "switch previews off for this service, or give them a database of their own",
            )
        if not given.api_key:
            raise Unusable(
                "RENDER_API_KEY is not set, and the schema has to be migrated first",
                "set it on the app's service (a value with sync: false is asked for only when the Blueprint is made), "
                "or run the migrator elsewhere and this command with --wait-only",
            )
        if not given.commit:
            raise Unusable("neither IMAGE_COMMIT nor RENDER_GIT_COMMIT says which commit this is", "build from git")
        if given.platform_commit not in ("", given.commit):
            raise Refused(
                f"this image was built from {given.commit[:12]}, and Render deploys {given.platform_commit[:12]}",
                "clear the build cache and deploy again",
            )

    def _migrate(self) -> Verdict:
        # Imported here: where the gate is open, which is most deploys, the API's client is never needed.
        from lockstep_gate.predeploy.render_api import Api  # noqa: PLC0415
        from lockstep_gate.predeploy.trigger import Trigger, failed  # noqa: PLC0415

        api = Api(self._given, self._deadline, self.say)
        trigger = Trigger(api, self._given, self._deadline, lambda: self._ask().state is State.SERVED, self.say)
        self._followed = trigger.followed
        try:
            job = trigger.run()
        finally:
            self._followed = trigger.followed
            api.close()
        if job is None:
            return verdict.SERVED
        if job.status != "succeeded":
            raise failed(job, self._last_words(job))
        return self._ask_last(job)

    def _ask_last(self, job: Job) -> Verdict:
        """Ask after the job: its success counts only where this database shows it."""
        ends = time.monotonic() + min(SETTLE_S, 5 * self._given.poll_s)
        while (answer := self._ask()).state is not State.SERVED:
            self._refuse_what_no_run_cures(answer)
            if time.monotonic() >= ends:
                raise Refused(
                    f"job {job.id} succeeded, and this database does not show it: {answer.reason}",
                    "see that MIGRATOR_DATABASE_URL of the migrator and DATABASE_URL of the app name the same database",
                )
            self._deadline.sleep(min(1.0, self._given.poll_s), "the gate")
        return answer

    def _last_words(self, job: Job) -> tuple[int, str] | None:
        """Return the exit code and message the ledger has of the job's run: its log is not always to be had."""
        words = job.command.split()
        run_id = words[words.index("--run-id") + 1] if "--run-id" in words[:-1] else ""
        try:
            row = self._through.run(lambda one: one.execute(LAST_WORDS, {"run_id": run_id}).one_or_none())
        except Exception as error:
            if not faults.is_of_database(error):
                raise
            return None
        if row is None:
            return None
        return exits.of_run(row.outcome, row.error, row.message), row.message or row.error or "no reason given"
