"""Watch: reports this instance and keeps its gate open or closed, for as long as the process lives.

A thread of its own, so that neither a database that hangs nor one that is gone touches a request or the event loop.
The order is the point: an instance reports first, is let in by an answer given after that, and only then serves.
A migrator that holds reports off (LOCK TABLE migrator.instance IN SHARE MODE) from its check to its commit has then
either seen this instance, or has written the verdict that this instance reads.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from lockstep_gate import connections, faults, reporting
from lockstep_gate import verdict as verdicts
from lockstep_gate.verdict import State, Verdict

if TYPE_CHECKING:
    from lockstep_gate.reporting import Instance
    from lockstep_gate.verdict import LastVerdict

log = logging.getLogger("lockstep_gate")
RETRY_S = 1.0
SIGN_OFF_TIMEOUT_S = 5.0


class Watch:
    """Asks while the gate is closed; reports and asks again once in an interval while it is open."""

    def __init__(
        self, engine: Any, gate: LastVerdict, instance: Instance, *, report_interval_s: float, retry_s: float = RETRY_S
    ) -> None:
        """Take what Gate takes; nothing runs, and nothing is connected, before `start`."""
        self._through = connections.of(engine)
        self._gate = gate
        self._instance = instance
        self._report_interval_s = report_interval_s
        self._retry_s = min(retry_s, report_interval_s)
        self._reported = False
        self._report_fault = ""
        self._outage = False
        self._stopping = False
        self._wake = threading.Event()
        # A daemon: a database that never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to ask and to report."""
        self._thread.start()

    def doubt(self) -> None:
        """Ask at once: a request met a schema that is not ours."""
        self._wake.set()

    def stop(self) -> bool:
        """End and sign off; False if the database did not let us."""
        self._stopping = True
        self._wake.set()
        self._thread.join(SIGN_OFF_TIMEOUT_S)
        return not self._thread.is_alive() and not self._reported

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            content = self._try_to_look()
            # Looked at again: stop() may have come between the loop's condition and clear().
            if not self._stopping:
                self._wake.wait(self._report_interval_s if content else self._retry_s)
        self._sign_off()
        self._through.close()

    def _try_to_look(self) -> bool:
        try:
            return self._look()
        except Exception:
            # Were this thread to end, nobody would report any more: a release that serves would not count as live.
            log.exception("watch: a fault of ours, it goes on")
            return False

    def _look(self) -> bool:
        """Report and ask; False if that is to be tried again soon."""
        verdict = verdicts.ask_through(self._through, self._instance.release)
        self._note_outage(verdict)
        reported = False
        if verdict.state is State.SERVED:
            reported = self._report(verdict.name)
            if not self._gate.is_open:
                verdict = self._admit(reported=reported)
        if self._gate.hear(verdict):
            log.log(logging.INFO if self._gate.is_open else logging.WARNING, "gate: %s: %s", self._word(), verdict)
        if verdict.state in (State.BROKEN, State.NOT_RECORDED):
            # A release that does not serve must not hold migrations back.
            self._sign_off()
        return self._gate.is_open and reported

    def _note_outage(self, verdict: Verdict) -> None:
        """Say once that the database went away under an open gate, and once that it is back."""
        outage = self._gate.is_open and verdict.state is State.UNREACHABLE
        if outage and not self._outage:
            log.warning("gate: stays open, cannot ask: %s", verdict)
        if self._outage and not outage:
            log.info("gate: the database answers again")
        self._outage = outage

    def _admit(self, *, reported: bool) -> Verdict:
        if not reported:
            return Verdict(
                State.UNREPORTED,
                "this instance could not report itself in the ledger",
                "let `migrator upgrade` grant it (MIGRATOR_APP_ROLE names the role)",
                self._report_fault,
            )
        # Asked again, after the report: the first answer may be older than a change that did not see us.
        return verdicts.ask_through(self._through, self._instance.release)

    def _report(self, name: str) -> bool:
        try:
            self._through.run(lambda connection: reporting.report(connection, self._instance, name))
        except Exception as error:
            if not faults.is_of_database(error):
                raise
            fault = faults.first_line(error)
            if self._gate.is_open and fault != self._report_fault:
                log.warning("report: not possible now, serving on: %s", fault)
            self._report_fault = fault
            return False
        self._reported, self._report_fault = True, ""
        return True

    def _sign_off(self) -> None:
        if not self._reported:
            return
        try:
            self._through.run(lambda connection: reporting.sign_off(connection, self._instance))
        except Exception as error:
            if not faults.is_of_database(error):
                raise
            log.warning("sign-off: not possible, the report will expire: %s", faults.first_line(error))
            return
        self._reported = False

    def _word(self) -> str:
        return "open" if self._gate.is_open else "closed"
