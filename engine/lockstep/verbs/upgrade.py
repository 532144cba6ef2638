"""`migrator upgrade [REV]`: what the pre-deploy job runs."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from lockstep import settings as given
from lockstep.errors import EXIT_DONE, Refused, Usage
from lockstep.upgrade import line
from lockstep.upgrade.request import Request

if TYPE_CHECKING:
    from types import SimpleNamespace

    from lockstep.report import Report
    from lockstep.settings import Settings
    from lockstep.upgrade.outcome import Outcome


def main(settings: Settings, report: Report, arguments: SimpleNamespace) -> int:
    """Apply what is pending up to a target, and record that the schema serves this release."""
    _expect(arguments.expect_commit)
    settings = settings._replace(run_id=_run_id(arguments.run_id))
    request = Request("upgrade", arguments.revision, arguments.accept_edited, arguments.deferred_only)
    outcome = line.upgrade(settings, report, request)
    if arguments.check_drift:
        _check_drift(settings, outcome, report)
    word = "deferred" if outcome.deferred else "done" if outcome.applied or outcome.loaded else "nothing"
    return report.finish(EXIT_DONE, word, _last_word(outcome))


def _expect(commit: str | None) -> None:
    """Refuse to run for another commit: a platform may have built a newer image since the run was asked for."""
    baked = given.commit(os.environ)
    if commit and commit != baked:
        raise Refused(
            f"this image was built from commit {baked}, and the run is for {commit[:64]}",
            "deploy the newest commit on both services; it brings its own run",
        )


def _run_id(name: str | None) -> str:
    if name and not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise Usage(
            "--run-id holds a character that is not allowed", "use letters, digits, dots and dashes, at most 64"
        )
    return name or ""


def _check_drift(settings: Settings, outcome: Outcome, report: Report) -> None:
    """Compare the database with the models, where it is at their head; raise Refused over a difference."""
    from lockstep.develop import drift  # noqa: PLC0415 - for a nightly job
    from lockstep.project import environment, manifest  # noqa: PLC0415 - for a nightly job
    from lockstep.stop import interrupt  # noqa: PLC0415 - for a nightly job
    from lockstep.upgrade import connected_run  # noqa: PLC0415 - for a nightly job

    interrupt.heed()
    project = environment.load(settings, manifest.of(settings))
    if project.models is None:
        report.line("drift      not looked for: the project names no models file")
        return
    if set(outcome.heads_after) != set(project.script.get_heads()):
        report.line("drift      not looked for: the database is not at the head of these files")
        return
    with connected_run.connected(settings, report) as run:
        found, strangers = drift.find(run.control.where, settings, project)
    report.data["drift"] = found
    for table in strangers:
        report.line(f"stranger   {table}   no model and no revision made it: it is left alone")
    for difference in found:
        report.line(f"drift      {difference}")
    if found:
        raise Refused(
            f"the database differs from the models: {found[0]}{' and more' if len(found) > 1 else ''}",
            "somebody changed it by hand: write the change as a revision, or take it back",
        )
    report.line("checked    that the database is as the models say")


def _last_word(outcome: Outcome) -> str:
    if not outcome.failed_backfills:
        return _done(outcome)
    failed = ", ".join(outcome.failed_backfills)
    return (
        f"{_done(outcome)}; backfill {failed} failed: see `migrator backfill status`, mend it, then `migrator backfill`"
    )


def _done(outcome: Outcome) -> str:
    at = ", ".join(outcome.heads_after) or "base"
    loaded = f"{len(outcome.loaded)} loaded from the checkpoint, " if outcome.loaded else ""
    if outcome.ahead:
        return (
            "done: nothing to apply, the database is ahead of this image and serves this release, "
            f"at {at} (safe to run again)"
        )
    if outcome.deferred:
        return (
            f"done: {loaded}{len(outcome.applied)} applied, {len(outcome.pending)} deferred, the database is at {at} "
            "and serves this release; a later run applies the rest (safe to run again)"
        )
    if not outcome.applied and not outcome.loaded:
        return f"done: nothing to do, the database is at {at} (safe to run again)"
    return f"done: {loaded}{len(outcome.applied)} applied, the database is at {at} (safe to run again)"
