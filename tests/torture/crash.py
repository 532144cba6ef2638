"""Crash: a kind of run, a fault and a point in; whether a second run makes it as if nothing had happened out."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.migrator.rig import Project
from tests.torture import points, state
from tests.torture.faults import CONCURRENT, FAULTS, Held
from tests.torture.forks import Child
from tests.torture.kinds import KINDS
from tests.torture.proxy import DURING, Proxy, Sent
from tests.torture.server import OWNER_PASSWORD, Server, rows

RUN_S = 120  # a bound for a machine with much else to do
QUIET_S = 10
APP_PASSWORD = "s3cret-of-the-app"


@dataclass
class Prepared:
    """One kind, ready to be cloned: its template, its reference, and the statements an undisturbed run sends."""

    template: str
    environment: dict[str, str]
    reference: str
    order: list[str]
    runs: int
    sent: list[Sent]
    finished: dict[str, list[str]]  # what a second run was seen to finish, and how the ledger then shows the runs


class Run:
    """One run through the proxy, with what the faults need to reach it."""

    def __init__(self, worker, kind, database):
        self.server, self.database, self.held = worker.server, database, None
        self.since = worker.server.rows("SELECT to_jsonb(now()) #>> '{}'")[0][0]
        self.proxy = Proxy(worker.server.port)
        self._worker, self._kind = worker, kind
        self.child, self.started, self.acted = None, threading.Event(), threading.Event()

    def go(self, fault=None, number=0):
        if fault:
            self.proxy.at(number, fault.when, lambda proxy, pair: self._act(fault, proxy, pair))
            if fault.when == DURING:
                self.proxy.first = self._hold
        self.child = self._worker.start(self._kind, self.database, self.proxy.port)
        self.started.set()
        return self.child.wait(RUN_S)

    def _hold(self, pair):
        if CONCURRENT.search(pair.sent.text):
            self.held = Held(self.server, pair.database)

    def _act(self, fault, proxy, pair):
        self.started.wait(RUN_S)
        if self.held:
            self.held.until_waiting(pair.pid)
        try:
            fault.act(self, proxy, pair)
        finally:
            self.acted.set()
            if self.held and not fault.at_once:
                self.held.close()

    def close(self):
        if self.held:
            self.held.close()
        self.proxy.close()


class Worker:
    """A server, and the kinds prepared on it."""

    def __init__(self):
        self.server = Server()
        self.directory = Path(tempfile.mkdtemp(prefix="torture-work-"))
        self._prepared = {}

    def close(self):
        self.server.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, kind, database, port=None, argv=None):
        environment = dict(self._environment(kind), MIGRATOR_DATABASE_URL=self.server.url(database, port))
        if kind.role:
            environment |= {"MIGRATOR_APP_ROLE": f"app_{database}", "MIGRATOR_APP_PASSWORD": APP_PASSWORD}
        return Child([*(argv or kind.argv)], environment, self.directory)

    def _environment(self, kind):
        own = {} if kind.own else {"MIGRATOR_CONFIG": str(self._project_directory(kind) / "alembic.ini")}
        return {"PATH": "/usr/bin:/bin", "MIGRATOR_COMMIT": "abc", "MIGRATOR_WAIT": "20s"} | own

    def _project_directory(self, kind):
        return self.directory / kind.name.replace(" ", "-")

    def prepared(self, name):
        if name not in self._prepared:
            kind = next(kind for kind in KINDS if kind.name == name)
            self._prepared[name] = (kind, self._prepare(kind))
        return self._prepared[name]

    def _prepare(self, kind):
        project = None if kind.own else Project(self._project_directory(kind), own=True)
        template = self.server.new()
        if project:
            kind.base(project)
        if not kind.first:
            child = self.start(kind, template, argv=["upgrade"])
            assert child.wait(RUN_S) == 0, child.text
        with contextlib.closing(self.server.connect(template)) as connection:
            rows(connection, "SET ROLE migrator")
            for sql in kind.prepare:
                rows(connection, sql)
            before = len(state.runs(connection))
        if project:
            kind.pending(project)
        return self._undisturbed(kind, template, before)

    def _undisturbed(self, kind, template, before):
        """Run it once through the proxy, to count, and to know how it has to end."""
        database = self.server.new(template)
        run = Run(self, kind, database)
        code = run.go()
        assert code == 0, run.child.text
        sent = run.proxy.sent
        run.close()
        left = self.server.until_quiet(database, QUIET_S)
        with contextlib.closing(self.server.connect(database)) as connection:
            reference = state.dump(connection, f"app_{database}")
            found = state.left_behind(connection)
            order = [row[0] for row in rows(connection, "SELECT revision FROM migrator.step ORDER BY id")]
        assert not left, left
        assert not found, found
        self._drop(kind, database)
        return Prepared(template, {}, reference, order, before, sent, {})

    def _drop(self, kind, database):
        self.server.drop(database)
        if kind.role:
            self.server.rows(f"DROP ROLE IF EXISTS app_{database}")

    def points(self, name):
        """Return every crash point of a kind."""
        return points.of(name, self.prepared(name)[1].sent)

    def crash(self, point, *, again=True):
        """Run into one point, run again, and return what is wrong then; nothing if it converged.

        Not `again`: where an earlier point left the same behind, and a second run made it good, it is not done anew.
        """
        kind, prepared = self.prepared(point.kind)
        database = self.server.new(prepared.template)
        run = Run(self, kind, database)
        try:
            return self._judge(kind, prepared, point, run, again)
        finally:
            run.close()
            self._drop(kind, database)

    def _judge(self, kind, prepared, point, run, again):
        fault, database, left = FAULTS[point.fault], run.database, None
        code = run.go(fault, point.number)
        if not run.proxy.reached.is_set():
            return [f"the point was not reached (exit {code}): {run.child.text.strip()[-300:]}"]
        assert run.acted.wait(RUN_S)  # a server that starts again is not awaited by the run that lost it
        wrong = _said(code, run.child, fault)
        if not fault.at_once:
            left, found = self._meanwhile(prepared, database, code, run)
            wrong += found
        if again or wrong or left not in prepared.finished:
            outcomes, found = self._finish(kind, prepared, run)
            wrong += found
            if left and not wrong:
                prepared.finished[left] = outcomes
        else:
            outcomes = prepared.finished[left]
        return wrong + (_ledger_of_runs(outcomes, fault, code) if outcomes else [])

    def _finish(self, kind, prepared, run):
        """Run again; return how the ledger shows the runs, and what is wrong."""
        database, wrong = run.database, []
        child = self.start(kind, database)
        if run.held:
            run.held.close()
        again = child.wait(RUN_S)
        if again != 0 or not child.last.startswith("done: "):
            return [], [f"the second run: exit {again}: {child.text.strip()}"]
        if kind.then:
            child = self.start(kind, database, argv=kind.then)
            wrong += [f"then {kind.then}: {child.text}"] if child.wait(RUN_S) else []
        run.close()
        left = self.server.until_quiet(database, QUIET_S)
        wrong += [f"still connected: {left}"] if left else []
        with contextlib.closing(self.server.connect(database)) as connection:
            wrong += state.left_behind(connection)
            wrong += _differences(prepared.reference, state.dump(connection, f"app_{database}"))
            return state.runs(connection)[prepared.runs :], wrong

    def _meanwhile(self, prepared, database, code, run):
        """Return a digest of what the cut run left, and what is wrong: open sessions, a success that is none."""
        left = self.server.until_quiet(database, QUIET_S)
        wrong = [f"still connected {QUIET_S} s after it: {left}"] if left else []
        run.proxy.cut()
        with contextlib.closing(self.server.connect(database)) as connection:
            heads, finished, reverted = state.applied(connection)
            done = {revision for head in heads for revision in _up_to(prepared.order, head)}
            if not finished <= done or reverted & done:
                said = f"{sorted(finished)} finished and {sorted(reverted)} taken back"
                wrong.append(f"the ledger calls {said}, the version table is at {heads}")
            if code == 0:
                wrong += state.left_behind(connection)
                wrong += _differences(prepared.reference, state.dump(connection, f"app_{database}"))
            return state.whole(connection, database, run.since, run.proxy.port, self.server.port), wrong


def _up_to(order, head):
    return order[: order.index(head) + 1] if head in order else []


def _said(code, child, fault):
    """Check the exit code, the last line, and that nothing was said that must not be."""
    wrong = [] if code in fault.codes else [f"exit {code}, not {sorted(fault.codes)}: {child.text.strip()[-400:]}"]
    text = child.text
    if "Traceback" in text:
        wrong.append(f"a traceback: {text}")
    if OWNER_PASSWORD in text or APP_PASSWORD in text:
        wrong.append("a password in what it said")
    if code == 0 and not child.last.startswith("done: "):
        wrong.append(f"last line: {child.last}")
    if code in (5, 143) and f"(exit {code}; safe to run again" not in child.last:
        wrong.append(f"last line: {child.last}")
    return wrong


def _differences(expected, found):
    """Return the lines in which two states differ."""
    one, other = set(expected.splitlines()), set(found.splitlines())
    return [f"missing {line}" for line in sorted(one - other)][:5] + [
        f"too much {line}" for line in sorted(other - one)
    ][:5]


def _ledger_of_runs(outcomes, fault, code):
    """Check how the ledger shows the interrupted run, where it came so far as to be there, and the second."""
    wrong = [f"runs in the ledger: {outcomes}"] if not outcomes or outcomes[-1] != "done" else []
    if len(outcomes) > 2 or any(outcome is None for outcome in outcomes):
        wrong.append(f"runs in the ledger: {outcomes}")
    if len(outcomes) == 2 and outcomes[0] not in fault.outcomes:
        wrong.append(f"the ledger shows the run with exit {code} as {outcomes[0]}")
    return wrong
