"""Pool: a share of a kind's points in, what is wrong with each out; in a process of its own, with its own server."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import multiprocessing.util
import os
import threading

from tests.torture.crash import Worker
from tests.torture.faults import FAULTS
from tests.torture.kinds import KINDS

GOLDEN = 0.618
_worker = None


def begin():
    global _worker  # noqa: PLW0603 - one server for each process of the pool
    _worker = Worker()
    multiprocessing.util.Finalize(None, _worker.close, exitpriority=10)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    """Leave the rest undone when who asked for it is gone; the server of this process ends with it."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    with contextlib.suppress(Exception):
        _worker.close()
    os._exit(1)


def share_of(kind, fault, sample, share, shares, again):
    """Run one share of a kind's points; return (kind, fault, is it wrong) of each, and how many states they left."""
    points = [point for point in _worker.points(kind) if not fault or fault in FAULTS[point.fault].name]
    if sample and sample < len(points):
        # Each kind begins elsewhere, so that together they meet every fault.
        begin = [one.name for one in KINDS].index(kind) * GOLDEN % 1
        points = [points[int((number + begin) * len(points) / sample)] for number in range(sample)]
    # Neighbours leave the same states behind: the points of one statement are one process's.
    points.sort(key=lambda point: point.number)
    found = []
    for point in points[len(points) * share // shares : len(points) * (share + 1) // shares]:
        try:
            wrong = _worker.crash(point, again=again)
        except Exception as error:  # noqa: BLE001 - a point that cannot be judged has not converged
            wrong = [f"{type(error).__name__}: {error}"]
        if wrong:
            print(f"NOT {point}", *wrong, sep="\n    ", flush=True)
        found.append((kind, FAULTS[point.fault].name, bool(wrong)))
    return found, len(_worker.prepared(kind)[1].finished)
