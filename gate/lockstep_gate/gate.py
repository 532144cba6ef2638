"""Gate: lets a process serve while the schema serves its release, and says for as long that it lives.

The one class an app needs: it reports, asks, lets in, and takes its report back, on a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from lockstep_gate import connections, durations
from lockstep_gate import release as releases
from lockstep_gate.reporting import Instance
from lockstep_gate.verdict import LastVerdict, Verdict
from lockstep_gate.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator

log = logging.getLogger("lockstep_gate")
LOOK_AGAIN_S = 0.05


class Closed(Exception):
    """The schema did not come to serve this release in time; `verdict` says why."""

    def __init__(self, verdict: Verdict) -> None:
        """Say it in the verdict's words."""
        super().__init__(str(verdict))
        self.verdict = verdict


class Gate:
    """One process of one release. Nothing is connected, and no thread runs, before it is started."""

    def __init__(
        self,
        engine: Any,
        contract: Any,
        *,
        commit: str | None = None,
        report_interval: str | float = "60s",
        schemas: Collection[str] | Callable[[], Collection[str]] = (),
    ) -> None:
        """Take an Engine, an AsyncEngine or a connection factory; and what the release needs, as `release.of` takes it.

        `schemas` are those in which tenants have the release's tables, or a function that is asked at each report.
        Raise ModelsError or ContractError where that cannot be read.
        """
        self.release = releases.of(contract, commit or releases.commit_of(os.environ))
        if isinstance(schemas, str):
            raise TypeError(f"schemas is a list of names, not one: [{schemas!r}]")
        self._engine, self._schemas = engine, schemas
        self._interval_s = durations.seconds(report_interval) if isinstance(report_interval, str) else report_interval
        self._last = LastVerdict()
        self._watch: Watch | None = None
        self._pid = 0
        self._starting = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether this process may serve: one look at an attribute."""
        return self._last.is_open

    @property
    def verdict(self) -> Verdict:
        """What the ledger said last."""
        return self._last.verdict

    def start(self) -> None:
        """Begin to ask and to report; once for each process, also after a fork."""
        with self._starting:
            if self._watch is None or self._pid != os.getpid():
                if self._pid not in (0, os.getpid()):
                    connections.of(self._engine).forget()
                self._last = LastVerdict()
                instance = Instance(self.release, self._schemas)
                self._watch = Watch(self._engine, self._last, instance, report_interval_s=self._interval_s)
                self._pid = os.getpid()
                self._watch.start()

    def stop(self) -> bool:
        """End and take the report back; False if the database did not let us, and the report will expire."""
        with self._starting:
            is_ours = self._pid == os.getpid()
            watch, self._watch = self._watch, None
        signed_off = watch.stop() if watch is not None and is_ours else True
        # A process that has ended its reports must not serve.
        self._last = LastVerdict()
        return signed_off

    def doubt(self) -> None:
        """Ask at once: something met a schema that is not ours."""
        watch = self._watch
        if watch is not None:
            watch.doubt()

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Any = None) -> AsyncIterator[None]:
        """Keep the gate for as long as an ASGI application lives: `FastAPI(lifespan=gate.lifespan)`."""
        self.start()
        try:
            yield
        finally:
            signed_off = await asyncio.get_running_loop().run_in_executor(None, self.stop)
            if not signed_off:
                log.warning("gate: the report in the ledger is left to expire")

    @contextlib.contextmanager
    def working(self, wait: str | float = "60s") -> Iterator[Gate]:
        """Keep the gate while the block runs: a worker, a cron job, a console. Raise Closed if it does not open."""
        self.start()
        try:
            wait_s = durations.seconds(wait) if isinstance(wait, str) else wait
            ends = time.monotonic() + wait_s
            while not self.is_open:
                if time.monotonic() >= ends:
                    raise Closed(self.verdict)
                time.sleep(LOOK_AGAIN_S)
            yield self
        finally:
            self.stop()
