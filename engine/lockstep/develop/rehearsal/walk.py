"""Walk: run each pending revision up, down and up again on a filled database, and observe every statement."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
from alembic.runtime.migration import MigrationStep

from lockstep.develop.rehearsal import schema, snapshot
from lockstep.develop.rehearsal.observation import Pass, Rehearsed
from lockstep.develop.rehearsal.observe import Observer
from lockstep.errors import MigratorError, Refused
from lockstep.postgres import connect
from lockstep.postgres.address import address
from lockstep.postgres.control import Control
from lockstep.project import plan
from lockstep_gate import sqlstate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.script import Script

    from lockstep.develop.rehearsal.ground import Ground
    from lockstep.stop.deadline import Deadline

CANCEL_EVERY_S = 0.2


class _TimeUp(BaseException):
    """The deadline passed while a revision's own Python ran."""


@dataclass
class Walk:
    """One walk over the pending revisions on one database."""

    ground: Ground
    deadline: Deadline
    directions: tuple[str, ...] = ("up", "down", "up again")
    touched: set[int] = field(default_factory=set)

    def scout(self, scripts: list[Script]) -> set[int]:
        """Run the revisions up, as far as they go, and return which of the standing tables they touch."""
        with self._beside() as beside:
            standing = _standing(beside)
            for script in scripts:
                done, _ = self._pass("up", script, standing, beside)
                if done.error:
                    break
        return self.touched & standing

    def all(self, scripts: list[Script]) -> tuple[Rehearsed, ...]:
        """Rehearse the revisions in order, up to the first that does not go up."""
        rehearsed: list[Rehearsed] = []
        with self._beside() as beside:
            standing = _standing(beside)
            for script in scripts:
                rehearsed.append(self._one(script, standing, beside))
                if (
                    any(done.error for done in rehearsed[-1].passes if done.direction != "down")
                    or rehearsed[-1].stopped
                ):
                    break
        return tuple(rehearsed)

    def _one(self, script: Script, standing: frozenset[int], beside: Control) -> Rehearsed:
        path = Path(script.module.__file__ or "")
        dumps = [_dump(beside)]
        passes: list[Pass] = []
        stopped = None
        for direction in self.directions:
            done, stopped = self._pass(direction, script, standing, beside)
            passes.append(done)
            if done.error or stopped:
                break
            dumps.append(_dump(beside))
        if len(passes) == 2 and passes[1].error and not stopped:  # noqa: PLR2004 - up it went: the next one can be tried
            passes.append(Pass("up again", (), 0.0))
        before, after, down, again = (*dumps, None, None, None, None)[:4]
        return Rehearsed(
            script.revision, plan.slug(path, script.revision), script.doc or "", str(path),
            path.read_text(encoding="utf-8"), tuple(passes),
            difference=schema.difference(before, down) if down and before else (),
            again=schema.difference(after, again) if again and after else (),
            stopped=stopped,
        )  # fmt: skip

    def _pass(
        self, direction: str, script: Script, standing: frozenset[int], beside: Control
    ) -> tuple[Pass, str | None]:
        if direction == "down" and not hasattr(script.module, "downgrade"):
            return Pass("down", (), 0.0, "it has no downgrade", None, "NotImplementedError"), None
        observer = Observer(str(script.module.__file__), standing, beside)
        revisions = self.ground.project.script.revision_map
        make = MigrationStep.downgrade_from_script if direction == "down" else MigrationStep.upgrade_from_script
        step = make(revisions, script)
        began = time.monotonic()
        error: BaseException | None = None
        stopped = None
        bounded = Bounded(self.deadline, beside)

        def work(context: Any, arguments: dict[str, Any]) -> None:
            context._migrations_fn = lambda *_: [step]  # noqa: SLF001 - one at a time through Alembic's own loop
            pid = context.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            context.connection.rollback()
            with observer.on(context, step), bounded.running(pid):
                context.run_migrations(**arguments)

        try:
            self.ground.run(work)
        except _TimeUp:
            stopped = "it did not end by the deadline"
        except Refused:
            raise
        except MigratorError as failed:
            error = failed.__cause__ or failed
        if bounded.hit:
            stopped = "it did not end by the deadline"
        if observer.ended_transaction and not error:
            stopped = f"it ends the transaction itself: {observer.ended_transaction[:60]}"
        self.touched |= observer.touched
        took = (time.monotonic() - began) * 1000
        kind = type(error).__name__ if error else None
        said = (" ".join(str(getattr(error, "orig", None) or error).split()) or kind) if error else None
        return Pass(direction, tuple(observer.observations), took, said, sqlstate.of(error), kind), stopped

    @contextlib.contextmanager
    def _beside(self) -> Iterator[Control]:
        control = Control(self.ground.connect(), address(self.ground.url))
        try:
            yield control
        finally:
            control.close()


@dataclass
class Bounded:
    """Ends a revision at the deadline: its statement by a cancel, its own Python by an alarm."""

    deadline: Deadline
    beside: Control
    hit: bool = False

    @contextlib.contextmanager
    def running(self, pid: int) -> Iterator[None]:
        """Watch while the block runs on the connection of that backend."""
        over = threading.Event()
        thread = threading.Thread(target=self._cancel, args=(pid, over), daemon=True, name="deadline")
        thread.start()
        try:
            with self._alarm():
                yield
        finally:
            over.set()
            thread.join()

    def _cancel(self, pid: int, over: threading.Event) -> None:
        if over.wait(self.deadline.left()):
            return
        self.hit = True
        while not over.wait(CANCEL_EVERY_S):
            # One of its own each time: those beside look at locks meanwhile, and a full server may refuse this one.
            with (
                contextlib.suppress(psycopg2.Error),
                contextlib.closing(connect.open_connection(self.beside.where, connect.CONNECT_TIMEOUT_S)) as raw,
                raw.cursor() as cursor,
            ):
                cursor.execute("SELECT pg_cancel_backend(%s)", (pid,))

    @contextlib.contextmanager
    def _alarm(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def raise_it(*_: Any) -> None:
            self.hit = True
            raise _TimeUp

        before = signal.signal(signal.SIGALRM, raise_it)
        try:  # twice: the alarm may come while the inner one is entered or left
            try:
                signal.setitimer(signal.ITIMER_REAL, max(self.deadline.left(), 0.001), 1.0)
                yield
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def _standing(beside: Control) -> frozenset[int]:
    with beside.raw.cursor() as cursor:
        return snapshot.take(cursor).catalog.tables()


def _dump(beside: Control) -> tuple[str, ...]:
    with beside.raw.cursor() as cursor:
        return schema.read(cursor)
