"""Predeploy: a release about to be rolled out in, its yes or no as an exit code out.

The app's pre-deploy command on Render. The gate is a fact in the database, the trigger is a job of the migrator's
service. The gate is asked first, and whether this commit's revisions have been taken up here: where both are so,
nothing else happens. After the job both are asked again: only their yes is a yes.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app import apart, bugs, gate, release, settings
from app.gate import State, Verdict
from app.rollout import revisions
from app.rollout import settings as rollout_settings
from app.rollout.clock import Deadline
from app.rollout.endings import Ending, Refused, Unreachable, Unusable
from app.storage import engine as storage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Engine

    from app.release import Release
    from app.rollout.render import Job
    from app.rollout.trigger import Followed

SETTLE_S = 5.0
LAST_WORDS = text("SELECT error, message FROM migrator.run WHERE run_id = :run_id ORDER BY id DESC LIMIT 1")
# The migrator's errors by class, to its exit codes.
CODES = {"Usage": 2, "Refused": 1, "Deferred": 1, "Busy": 3, "StepFailed": 4, "Unreachable": 5}
# What a server says to a role that the first run of the migrator is yet to make; it carries no SQLSTATE here.
NO_ROLE_YET = ("authentication failed", "does not exist", "not found")


class Predeploy:
    """One pre-deploy of one release."""

    def __init__(
        self, own: settings.Settings, given: rollout_settings.Settings, build: Release, deadline: Deadline
    ) -> None:
        """Nothing is asked yet."""
        self._given, self._build, self._deadline = given, build, deadline
        self._engine: Engine = storage.make(own)
        self._revisions: tuple[str, ...] | None = ()
        self._secrets = [secret for secret in (given.api_key, str(own.database_url.password or "")) if len(secret) > 3]  # noqa: PLR2004
        self._followed: Followed | None = None
        self._said = ""

    @property
    def followed(self) -> str:
        """Say what goes on although this command ends."""
        return str(self._followed) if self._followed else "no job was started"

    def say(self, line: str) -> None:
        """Print a line, at once, with no secret in it whoever wrote it."""
        for secret in self._secrets:
            line = line.replace(secret, "***")
        print(line, flush=True)

    def run(self, *, wait_only: bool) -> Verdict:
        """Return the gate's yes, or raise an Ending."""
        self._revisions = revisions.of_this_build()
        if self._revisions is None:
            self.say("revisions  not known in this image; the gate alone decides")
        verdict = self._ask_first()
        if verdict.state is State.SERVED:
            return verdict
        self._refuse_what_no_run_cures(verdict)
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
            return gate.SERVED

    def _ask(self) -> Verdict:
        verdict = gate.ask(self._engine, self._build.digest)
        if verdict.state is State.SERVED:
            verdict = self._of_revisions()
        if str(verdict) != self._said:
            self._said = str(verdict)
            self.say(f"gate       {self._said}")
        return verdict

    def _of_revisions(self) -> Verdict:
        """Turn the gate's yes into a no where a revision of this commit has not been taken up here."""
        try:
            missing = revisions.missing(self._engine, self._revisions or ())
        except SQLAlchemyError as error:
            return gate.verdict_of(error)
        if not missing:
            return gate.SERVED
        return Verdict(
            State.NOT_RECORDED,
            f"the schema serves this release, and revision {', '.join(missing)} of its commit has not been applied",
            "run `migrator upgrade` of this commit, then ask again",
        )

    def _ask_first(self) -> Verdict:
        """Ask, and wait a while for a database that does not answer."""
        ends = time.monotonic() + self._given.database_wait_s
        while True:
            verdict = self._ask()
            down = verdict.state is State.UNREACHABLE and not any(sign in verdict.detail for sign in NO_ROLE_YET)
            if not down:
                if verdict.state is State.UNREACHABLE:
                    self.say("gate       this role may be the first run's to make; going on")
                return verdict
            if time.monotonic() >= ends:
                raise Unreachable(f"{verdict.reason} ({verdict.detail})", verdict.cure)
            self._deadline.sleep(min(self._given.poll_s, 1.0), "the database")

    @staticmethod
    def _refuse_what_no_run_cures(verdict: Verdict) -> None:
        if verdict.state is State.BROKEN:
            raise Refused(verdict.reason, verdict.cure)

    def _wait(self) -> Verdict:
        """Ask until somebody else has migrated: CI, or the migrator's own service."""
        while True:
            self._deadline.sleep(self._given.poll_s, "somebody to run the migrator of this release (--wait-only)")
            verdict = self._ask()
            self._refuse_what_no_run_cures(verdict)
            if verdict.state is State.SERVED:
                return verdict

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
        from app.rollout.render import Api  # noqa: PLC0415
        from app.rollout.trigger import Trigger, failed  # noqa: PLC0415

        api = Api(self._given, self._deadline, self.say)
        trigger = Trigger(api, self._given, self._deadline, lambda: self._ask().state is State.SERVED, self.say)
        self._followed = trigger.followed
        try:
            job = trigger.run()
        finally:
            self._followed = trigger.followed
            api.close()
        if job is None:
            return gate.SERVED
        if job.status != "succeeded":
            raise failed(job, self._last_words(job))
        return self._ask_last(job)

    def _ask_last(self, job: Job) -> Verdict:
        """Ask after the job: its success counts only where this database shows it."""
        ends = time.monotonic() + min(SETTLE_S, 5 * self._given.poll_s)
        while (verdict := self._ask()).state is not State.SERVED:
            self._refuse_what_no_run_cures(verdict)
            if time.monotonic() >= ends:
                raise Refused(
                    f"job {job.id} succeeded, and this database does not show it: {verdict.reason}",
                    "see that MIGRATOR_DATABASE_URL of the migrator and DATABASE_URL of the app name the same database",
                )
            self._deadline.sleep(min(1.0, self._given.poll_s), "the gate")
        return verdict

    def _last_words(self, job: Job) -> tuple[int, str] | None:
        """Return the exit code and message the ledger has of the job's run: its log is not always to be had."""
        words = job.command.split()
        run_id = words[words.index("--run-id") + 1] if "--run-id" in words[:-1] else ""
        try:
            with self._engine.connect() as connection:
                row = connection.execute(LAST_WORDS, {"run_id": run_id}).one_or_none()
        except SQLAlchemyError:
            return None
        return (CODES.get(row.error, 1), row.message or row.error or "no reason given") if row else None


@bugs.told("predeploy")
def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Decide whether this release may be rolled out; the exit code says it, the last line says why."""
    signal.signal(signal.SIGTERM, _terminate)
    asked = _parser(environ).parse_args(arguments)
    try:
        own, given = settings.read(environ), rollout_settings.read(environ)
    except settings.SettingsError as error:
        print("\n".join(f"predeploy: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 2
    build = release.of_this_build(own.commit)
    deadline = Deadline.after(given.deadline_s)
    if asked.doctor:
        from app.rollout import doctor  # noqa: PLC0415

        return apart.done(lambda: doctor.main(own, given, build, environ))
    predeploy = Predeploy(own, given, build, deadline)
    predeploy.say(f"predeploy  {build}, at most {given.deadline_s:g} s")
    _bound(deadline)
    try:
        verdict = apart.done(lambda: predeploy.run(wait_only=asked.wait_only))
    except Ending as ending:
        return _last_word(predeploy, f"no: {ending}", ending.code)
    except KeyboardInterrupt:
        return _last_word(predeploy, f"interrupted: {predeploy.followed}; safe to run again", 130)
    except SystemExit:
        return _last_word(predeploy, f"terminated: {predeploy.followed}; safe to run again", 143)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return _last_word(predeploy, f"yes: {verdict}", 0)


def _bound(deadline: Deadline) -> None:
    """Have the deadline hold even inside a call that does not return."""

    def over(_signal: int, _frame: object) -> NoReturn:
        raise deadline.passed("an answer that did not come")

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, deadline.left() + 1)


def _last_word(predeploy: Predeploy, words: str, code: int) -> int:
    predeploy.say(f"predeploy  {words} (exit {code})")
    return code


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.predeploy",
        description="Have the migrator of this commit run on Render, and pass only when the ledger shows that the "
        "schema serves this release. Safe to run again.",
        epilog="exit codes: 0 served, 1 refused, 2 settings or key, 3 out of time, 4 a revision failed, "
        "5 database or API not reachable, 70 a bug of ours",
    )
    parser.add_argument(
        "--wait-only",
        action="store_true",
        default=environ.get("PREDEPLOY_WAIT_ONLY", "").lower() in {"1", "true", "yes", "on"},
        help="only wait for the gate: somebody else runs the migrator (env: PREDEPLOY_WAIT_ONLY)",
    )
    parser.add_argument(
        "--doctor", action="store_true", help="print what only the live platform can tell, then ask the gate once"
    )
    return parser


def _terminate(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(143)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Not sys.exit: it would wait for whatever does not answer.
    os._exit(code)
