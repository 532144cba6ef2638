"""App: `python -m benchmarks.app`: what the gate and the reporting cost requests, and how long from start to ready.

Two processes on one database, one as it is and one without gate and reporting, asked in turn by the same client.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg2

from benchmarks import results
from lockstep.develop.sandbox import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = 4
PATIENCE_S = 60
AS_IT_IS = "import sys; from app.__main__ import main; sys.exit(main())"
BARE = """
import sys
from app import application
class Watch:
    def __init__(self, *_, **__): pass
    def start(self): pass
    def stop(self): return True
application.Watch = Watch
application.Admission = lambda app, gate: app
from app.__main__ import main
sys.exit(main())
"""


class App(NamedTuple):
    """A running app, and what it took until it was ready."""

    port: int
    pid: int
    ready_ms: float
    ready_processor_ms: float


class Round(NamedTuple):
    """What one app did in one round."""

    rate: float
    processor_ms: float  # a request


@contextlib.contextmanager
def running(code: str, url: str, path: str) -> Iterator[App]:
    """Run the app until it answered with 200, and then for as long as it is wanted."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": url, "PORT": str(port)}
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code], env=env, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while not answers(port, path):
            if time.perf_counter() - begun > PATIENCE_S or process.poll() is not None:
                raise SystemExit("the app did not become ready")
            time.sleep(0.005)
        yield App(port, process.pid, (time.perf_counter() - begun) * 1000, processor_ms(process.pid))
    finally:
        process.terminate()
        process.wait()


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def throughput(port: int, path: str, seconds: float) -> float:
    """Return requests per second of a few clients that keep their connections."""
    counts = [0] * CLIENTS
    end = time.perf_counter() + seconds

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while time.perf_counter() < end:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == http.HTTPStatus.OK, answer.status
            counts[number] += 1
        connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def processor_ms(pid: int) -> float:
    """Return the processor time a process has used: other load hardly touches it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def compared(apps: tuple[App, App], path: str, seconds: float, rounds: int) -> list[tuple[Round, Round]]:
    """Ask both in turn, the other one first each time; so that a load that comes or goes meets both."""
    pairs = []
    for app in apps:
        throughput(app.port, path, seconds)  # until its pool is filled
    for turn in range(rounds):
        found = {}
        for app in apps if turn % 2 else reversed(apps):
            used = processor_ms(app.pid)
            rate = throughput(app.port, path, seconds)
            found[app] = Round(rate, (processor_ms(app.pid) - used) / (rate * seconds))
        pairs.append((found[apps[0]], found[apps[1]]))
    return pairs


def all_of(rounds: tuple[Round, ...]) -> tuple[float, float]:
    """Return requests per second and processor time a request over all rounds, which are of the same length."""
    rate = statistics.fmean(one.rate for one in rounds)
    return rate, statistics.fmean(one.rate * one.processor_ms for one in rounds) / rate


def spread(ratios: list[float]) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"of {len(ratios)} pairs the median {middle:.3f}, half of them {low:.3f} to {high:.3f}"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=41)
    words.add_argument("--seconds", type=float, default=0.5)
    words.add_argument("--write", action="store_true", help=f"keep what was measured in {results.FILE.name}")
    given = words.parse_args()
    load = results.load()
    with embedded.throwaway() as server:
        url = server.url()
        env = {**os.environ, "MIGRATOR_DATABASE_URL": url}
        subprocess.run(
            [sys.executable, "-m", "migrator", "upgrade"], env=env, cwd=ROOT, check=True, capture_output=True
        )
        with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO users (email, name) VALUES ('a@example.org', 'a') RETURNING id")
            path = f"/users/{cursor.fetchone()[0]}"
        ready = []
        for _ in range(5):
            with running(AS_IT_IS, url, path) as app:
                ready.append(app)
        with running(AS_IT_IS, url, path) as one, running(BARE, url, path) as other:
            pairs = compared((one, other), path, given.seconds, given.rounds)
    took = [app.ready_ms for app in ready]
    processor = statistics.median(app.ready_processor_ms for app in ready)
    (gated, own), (bare, others) = (all_of(side) for side in zip(*pairs, strict=True))
    rates, used = (
        spread([a.rate / b.rate for a, b in pairs]),
        spread([a.processor_ms / b.processor_ms for a, b in pairs]),
    )
    lines = [
        f"- start to ready: median {statistics.median(took):.0f} ms, min {min(took):.0f}, max {max(took):.0f}",
        f"- start to ready, processor time: median {processor:.0f} ms",
        f"- `GET /users/1`: {gated:.0f} a second with the gate, {bare:.0f} without: {gated / bare:.3f}; {rates}",
        f"- processor time a request: {own:.3f} ms and {others:.3f} ms: {own / others:.3f}; {used}",
    ]
    results.said("app", "The app", lines, results.conditions(load, server.version), write=given.write)


if __name__ == "__main__":
    main()
