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
from typing import TYPE_CHECKING

import psycopg2

from benchmarks import results
from migrator import embedded

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


@contextlib.contextmanager
def running(code: str, url: str, path: str) -> Iterator[tuple[int, float]]:
    """Run the app; yields its port and how many milliseconds it took until it answered with 200."""
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
        yield port, (time.perf_counter() - begun) * 1000
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


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=11)
    words.add_argument("--seconds", type=float, default=2)
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
            with running(AS_IT_IS, url, path) as (_, took):
                ready.append(took)
        with running(AS_IT_IS, url, path) as (one, _), running(BARE, url, path) as (other, _):
            pairs = [
                (throughput(one, path, given.seconds), throughput(other, path, given.seconds))
                for _ in range(given.rounds)
            ]
    gated, bare = (statistics.median(values) for values in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    lines = [
        f"- start to ready: median {statistics.median(ready):.0f} ms, min {min(ready):.0f}, max {max(ready):.0f}",
        f"- `GET /users/1`: {gated:.0f} a second with gate and reporting, {bare:.0f} without",
        f"- ratio: median {statistics.median(ratios):.3f}, min {ratios[0]:.3f}, max {ratios[-1]:.3f}",
    ]
    results.said("app", "The app", lines, results.conditions(load, server.version), write=given.write)


if __name__ == "__main__":
    main()
