"""Contested: a change on busy tables in; how long a client of the app waits for it at most, and how long it takes, out.

Three loads, three changes, each tried many times on a project of one pending revision. Beside the migrator: the same
statement with no lock timeout at all, which gets its lock as soon as any tool can, and lets clients pay for it; it is
tried less often, for its wait is as long as somebody's transaction, each time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2

from benchmarks import results
from lockstep.develop.sandbox import embedded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Way = Callable[[str, tuple[str, ...], Path], tuple[float, str]]

CLIENTS = 8
PACE_S = 0.02  # each client asks fifty times a second: eight of them are not the machine's limit
CHANGES = {
    "ADD COLUMN": ("ALTER TABLE a ADD COLUMN added text",),
    "foreign key on two busy tables": ("ALTER TABLE a ADD CONSTRAINT to_b FOREIGN KEY (b_id) REFERENCES b NOT VALID",),
    "DROP COLUMN": ("ALTER TABLE a DROP COLUMN unused",),
}
SETUP = """
CREATE TABLE b (id int PRIMARY KEY, v int NOT NULL DEFAULT 0);
CREATE TABLE a (id int PRIMARY KEY, b_id int, v int NOT NULL DEFAULT 0, unused text);
INSERT INTO b SELECT n FROM generate_series(1, 1000) n;
INSERT INTO a SELECT n, n FROM generate_series(1, 1000) n;"""


@dataclass
class Load:
    """The app's clients on one database, and the longest any of them waited."""

    url: str
    waits: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def client(self, number: int) -> None:
        with contextlib.closing(psycopg2.connect(self.url, application_name="app")) as connection:
            cursor = connection.cursor()
            turn = number
            while not self.over.is_set():
                turn = (turn * 31 + 7) % 1000 + 1
                begun = time.perf_counter()
                try:
                    cursor.execute("SELECT v FROM a WHERE id = %s", (turn,))
                    cursor.execute("UPDATE b SET v = v + 1 WHERE id = %s", (turn,))
                    cursor.execute("UPDATE a SET v = v + 1 WHERE id = %s", (turn,))
                    connection.commit()
                except psycopg2.Error as error:
                    connection.rollback()
                    self.errors.append(str(error))
                self.waits.append(time.perf_counter() - begun)
                self.over.wait(PACE_S)


def _reader(url: str, over: threading.Event, hold_s: float, every_s: float, ready: threading.Event) -> None:
    """Hold a lock of a reader for a while, again and again; 0: once."""
    with contextlib.closing(psycopg2.connect(url, application_name="reader")) as connection:
        cursor = connection.cursor()
        while not over.is_set():
            cursor.execute("SELECT count(*) FROM a")
            ready.set()
            over.wait(hold_s)
            connection.commit()
            if not every_s:
                return
            over.wait(every_s - hold_s)


LOADS: dict[str, tuple[float, float]] = {
    "short transactions only": (0, 0),
    "a 3 s transaction every 5 s": (3, 5),
    "a 10 s idle-in-transaction reader": (10, 0),
}


@contextlib.contextmanager
def loaded(url: str, hold_s: float, every_s: float) -> Iterator[Load]:
    """Run the clients and the reader while the block runs."""
    load, ready = Load(url), threading.Event()
    threads = [threading.Thread(target=load.client, args=(number,)) for number in range(CLIENTS)]
    if hold_s:
        threads.append(threading.Thread(target=_reader, args=(url, load.over, hold_s, every_s, ready)))
    for thread in threads:
        thread.start()
    if hold_s:
        ready.wait()
    time.sleep(0.3)
    load.waits.clear()
    try:
        yield load
    finally:
        load.over.set()
        for thread in threads:
            thread.join()


def _project(top: Path, statements: tuple[str, ...]) -> Path:
    from benchmarks.peers import ROOT  # noqa: PLC0415

    (top / "versions").mkdir(parents=True)
    for name in ("env.py", "script.py.mako"):
        (top / name).write_text((ROOT / "migrator" / name).read_text())
    (top / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s\npath_separator = os\n")
    body = "\n".join(f"    op.execute({statement!r})" for statement in statements)
    (top / "versions" / "one.py").write_text(
        f'from alembic import op\n\nrevision = "one"\ndown_revision = None\n\n\ndef upgrade():\n{body}\n'
    )
    return top / "alembic.ini"


def _by_migrator(url: str, statements: tuple[str, ...], top: Path) -> tuple[float, str]:
    """Return how long the step took by the ledger, from its first try to its end, and the errors."""
    env = {**os.environ, "MIGRATOR_DATABASE_URL": url, "MIGRATOR_CONFIG": str(_project(top, statements)),
           "MIGRATOR_NO_UNKNOWN_RELEASE": "yes", "MIGRATOR_DEADLINE": "60s"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "migrator", "upgrade"], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return 0.0, done.stderr
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT duration_ms + waited_ms FROM migrator.step")
        return cursor.fetchone()[0] / 1000, ""


def _without_timeout(url: str, statements: tuple[str, ...], _top: Path) -> tuple[float, str]:
    begun = time.perf_counter()
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        try:
            for statement in statements:
                cursor.execute(statement)
            connection.commit()
        except psycopg2.Error as error:  # two busy tables, locked in another order than the app's: a deadlock
            return time.perf_counter() - begun, str(error)
    return time.perf_counter() - begun, ""


HEADS = (
    f"{CLIENTS} clients, each {1 / PACE_S:.0f} times a second.", "",
    ("| load | change | way | got its lock | longest client wait ms (median, most) "
     "| time to change s (median, most) | failed requests |"),
    "|---|---|---|---:|---:|---:|---:|",
)  # fmt: skip


def measure(server: embedded.Server, top: Path, trials: int, beside: int, keep: Callable[[list[str]], None]) -> None:
    """Try every change under every load, the two ways in turn; keep the table after each."""
    lines = list(HEADS)
    for load_name in LOADS:
        for change in CHANGES:
            found: dict[str, list[tuple[float, float, int, str]]] = {"migrator": [], "no timeout": []}
            for trial in range(max(trials, beside)):
                if trial < trials:
                    found["migrator"].append(_tried(server, top, load_name, change, _by_migrator))
                if trial < beside:
                    found["no timeout"].append(_tried(server, top, load_name, change, _without_timeout))
            for way, tries in found.items():
                if not tries:
                    continue
                waits, took = [wait for wait, *_ in tries], [seconds for _, seconds, *_ in tries]
                got = sum(not error for *_, error in tries)
                lines.append(
                    f"| {load_name} | {change} | {way} | {got} of {len(tries)} | {statistics.median(waits):.0f}, "
                    f"{max(waits):.0f} | {statistics.median(took):.2f}, {max(took):.2f} "
                    f"| {sum(failed for _, _, failed, _ in tries)} |"
                )
            keep(lines)


def _tried(server: embedded.Server, top: Path, load_name: str, change: str, how: Way) -> tuple[float, float, int, str]:
    """Try once; return the longest wait in ms, the seconds it took, the failed requests and the error."""
    name = f"c{secrets.token_hex(4)}"
    url = server.url(name)
    _sql(server.url(), f"CREATE DATABASE {name}")
    _sql(url, SETUP)
    with loaded(url, *LOADS[load_name]) as load:
        seconds, error = how(url, CHANGES[change], top / name)
        time.sleep(0.1)
    _sql(server.url(), f"DROP DATABASE {name} WITH (FORCE)")
    if error:
        print(error[-500:], file=sys.stderr)
    return max(load.waits) * 1000, seconds, len(load.errors), error


def _sql(url: str, statement: str) -> None:
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--trials", type=int, default=20)
    words.add_argument("--beside", type=int, default=5, help="trials without a timeout")
    words.add_argument("--write", action="store_true", help=f"keep the table in {results.FILE.name}")
    chosen = words.parse_args()
    load = results.load()
    with (
        # Waits for the disk are not the lock's: a client's commit was seen to wait 280 ms with no change at all.
        embedded.throwaway() as server,
        tempfile.TemporaryDirectory() as top,
    ):

        def keep(lines: list[str]) -> None:
            print("\n".join(lines[-2:]), flush=True)
            if chosen.write:
                results.keep("contested", "A contested lock", lines, results.conditions(load, server.version))

        measure(server, Path(top), chosen.trials, chosen.beside, keep)
    return 0


if __name__ == "__main__":
    sys.exit(main())
