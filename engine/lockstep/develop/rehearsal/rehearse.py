"""Rehearse: the one place that knows the order: ground -> base -> scout -> rows -> walk -> judge -> load."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2

from lockstep.develop.rehearsal import findings, ground, load, pending, rows, second_opinion
from lockstep.develop.rehearsal.walk import Walk
from lockstep.errors import MigratorError, Refused, Unreachable, Usage
from lockstep.stop.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lockstep.develop.rehearsal.findings import Finding
    from lockstep.develop.rehearsal.ground import Ground
    from lockstep.develop.rehearsal.observation import Rehearsed
    from lockstep.develop.rehearsal.options import Options
    from lockstep.develop.rehearsal.pending import Pending
    from lockstep.settings import Settings

FORMAT = 1


@dataclass(frozen=True)
class Rehearsal:
    """What came of it."""

    server: str
    how: str
    base: str
    revisions: tuple[Rehearsed, ...]
    not_reached: tuple[str, ...]
    filled: tuple[rows.Filled, ...]
    findings: tuple[Finding, ...]
    opinions: tuple[second_opinion.Opinion, ...]
    loads: tuple[load.Measured, ...]
    took_s: float

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Return the findings that fail the rehearsal."""
        return tuple(one for one in self.findings if one.level == findings.ERROR and not one.waived)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Return the findings that do not."""
        return tuple(one for one in self.findings if one.level != findings.ERROR and not one.waived)


def run(settings: Settings, options: Options, tell: Callable[[str], None]) -> Rehearsal:
    """Rehearse; raise Usage, Refused or Unreachable where there is no ground to do it on."""
    began = time.monotonic()
    deadline = Deadline.after(settings.deadline_ms)
    with ground.made(settings, options.server) as base:
        chosen = pending.find(base.project.script, options.start, options.end, options.against)
        if not chosen.scripts:
            return Rehearsal(_version(base), chosen.how, "", (), (), (), (), (), (), time.monotonic() - began)
        _bring(base, chosen)
        filled = _fill(base, chosen, options, deadline)
        for one in filled:
            tell(f"filled     {one.table:<36} {one.rows:>6} rows{f'   {one.why}' if one.why else ''}")
        with contextlib.ExitStack() as copies:
            fresh = copies.enter_context(base.copied()) if options.load else None
            rehearsed = Walk(base, deadline).all(list(chosen.scripts))
            # A table that was not filled is taken to hold rows: production's does.
            counts = {one.table: max(one.rows, 1) for one in filled}
            found = tuple(finding for one in rehearsed for finding in findings.judge(one, counts))
            loads = load.measure(fresh, base, rehearsed, options, deadline, tell) if fresh else ()
        opinions = second_opinion.ask(rehearsed, found) if options.opinion else ()
        reached = {one.revision for one in rehearsed}
        return Rehearsal(
            _version(base), chosen.how, chosen.base[-1].revision if chosen.base else "base", rehearsed,
            tuple(item.revision for item in chosen.scripts if item.revision not in reached), filled, found, opinions,
            loads, time.monotonic() - began,
        )  # fmt: skip


def _bring(base: Ground, chosen: Pending) -> None:
    if not chosen.base:
        return
    try:
        base.bring_to(list(chosen.base))
    except Unreachable:
        raise
    except MigratorError as error:
        raise Refused(
            f"the revisions before those to rehearse do not run on an empty database: {error.message}",
            "make them run there, or rehearse from a later one with --from and a --seed that makes what they need",
        ) from error


def _fill(base: Ground, chosen: Pending, options: Options, deadline: Deadline) -> tuple[rows.Filled, ...]:
    """Find out on a copy which tables the revisions touch, and fill those."""
    with base.copied() as copy:
        touched = Walk(copy, deadline).scout(list(chosen.scripts))
    with contextlib.closing(base.connect()) as connection:
        if options.seed:
            _seed(connection, options.seed)
        return rows.fill(connection, touched, options.rows)


def _seed(connection: Any, path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
        with connection.cursor() as cursor:
            cursor.execute(text if text.strip() else "SELECT")
        connection.commit()
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"--seed {path}: {getattr(error, 'strerror', error)}", "give an SQL file in UTF-8") from None
    except psycopg2.Error as error:
        if connection.closed:
            raise Unreachable(f"--seed {path}: the connection was lost", "see whether its server runs") from error
        text = error.diag.message_primary or " ".join(str(error).split())
        raise Usage(f"--seed {path}: {text}", "correct the file; it runs on the schema before the revisions") from None


def _version(base: Ground) -> str:
    with contextlib.closing(base.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version')")
        return str(cursor.fetchone()[0])
