"""What clients feel while a column is filled: one UPDATE, naive batches by hand and by a queue, `migrator backfill`.

Run: make bench-backfill ROWS=5000000, or python benchmarks/backfill.py ROWS [URL of a superuser's throw-away server]
[--write].
8 clients read and change single rows by primary key at a fixed rate all the while; a latency counts from when the
request was due, so that a stall is not hidden by the requests it kept from being made. Ends with one line of ratios.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import results  # noqa: E402 - found by the line above
from lockstep.develop.sandbox import embedded  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

PEERS = Path(os.environ.get("BENCHMARK_PEERS", Path.home() / ".cache" / "migrator-benchmarks")) / "py"
QUIET_S = 3
CLIENTS, RATE = 8, 400  # requests a second of all clients together
SET, WHERE = "'h' || (balance * 7)", "note IS NULL"
BATCH = f"UPDATE accounts SET note = {SET} WHERE id > %s AND id <= %s AND {WHERE}"
SERVER = {"shared_buffers": "1GB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}


@dataclass(frozen=True)
class Felt:
    """What the clients felt, in milliseconds, and how long the work took."""

    name: str
    seconds: float
    rows: int
    p50: float
    p99: float
    longest: float
    peak_mib: float | None = None

    @property
    def rate(self) -> float:
        return self.rows / self.seconds

    def __str__(self) -> str:
        work = f"{self.seconds:7.1f} s  {self.rate:>9,.0f} rows/s" if self.rows else " " * 28
        memory = f"   {self.peak_mib:.0f} MiB" if self.peak_mib else ""
        felt = f"p50 {self.p50:6.1f}   p99 {self.p99:8.1f}   longest {self.longest:8.1f} ms"
        return f"{self.name:<34}{work}   {felt}{memory}"


class Clients:
    """The clients, in a process of their own: the interpreter of the work must not slow them down."""

    def __init__(self, url: str, rows: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--clients", str(rows)],
            env={**os.environ, "BENCH_URL": url}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def felt(self) -> list[float]:
        out, _ = self.process.communicate("stop\n", timeout=120)
        return json.loads(out)


def clients(rows: int) -> None:
    """Make requests until told to stop; print the latencies."""
    stop, latencies = threading.Event(), []

    def one(number: int) -> None:
        choose = random.Random(number)  # noqa: S311 - a load, not a secret
        connection = psycopg2.connect(os.environ["BENCH_URL"], application_name="a client")
        connection.autocommit = True
        cursor, due = connection.cursor(), time.monotonic()
        while not stop.is_set():
            due += CLIENTS / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            row = choose.randrange(1, rows + 1)
            if choose.randrange(2):
                cursor.execute("SELECT balance FROM accounts WHERE id = %s", (row,))
            else:
                cursor.execute("UPDATE accounts SET seen = seen + 1 WHERE id = %s", (row,))
            latencies.append(1000 * (time.monotonic() - due))
        connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.readline()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps(latencies))


def measured(name: str, url: str, rows: int, work: Callable[[], float | None], *, counted: bool = True) -> Felt:
    execute(url, "VACUUM ANALYZE accounts", "CHECKPOINT")
    asking = Clients(url, rows)
    time.sleep(1.0)
    start = time.monotonic()
    peak = work()
    seconds = time.monotonic() - start
    latencies = sorted(asking.felt())
    result = Felt(
        name, seconds, rows if counted else 0, statistics.median(latencies),
        latencies[int(len(latencies) * 0.99)], latencies[-1], peak,
    )  # fmt: skip
    print(result, flush=True)
    return result


def execute(url: str, *statements: str) -> None:
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def fresh(url: str, rows: int) -> None:
    execute(
        url,
        "DROP TABLE IF EXISTS accounts",
        "CREATE TABLE accounts (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, balance int NOT NULL, "
        "seen int NOT NULL DEFAULT 0, filler text NOT NULL, note text)",
        f"INSERT INTO accounts (balance, filler) SELECT n % 1000, repeat('x', 50) FROM generate_series(1, {rows}) AS n",
    )


def one_update(url: str) -> None:
    execute(url, f"UPDATE accounts SET note = {SET} WHERE {WHERE}")


def naive(url: str, rows: int, size: int) -> None:
    """What a task queue is given to do: a task a batch, of a size somebody chose."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        for low in range(0, rows, size):
            cursor.execute(BATCH, (low, low + size))
            connection.commit()


def queued(url: str, rows: int, size: int, workers: int) -> None:
    """Run the same batches as tasks of procrastinate."""
    done = subprocess.run(
        [PEERS / "bin/python", Path(__file__).with_name("backfill_queue.py"), str(rows), str(size), str(workers)],
        env={**os.environ, "DATABASE_URL": url, "UPDATE": BATCH}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def project(directory: Path) -> Path:
    versions = directory / "alembic" / "versions"
    versions.mkdir(parents=True)
    (directory / "alembic" / "env.py").write_text((ROOT / "migrator" / "env.py").read_text())
    (directory / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/alembic\npath_separator = os\n")
    for name, parent, body in (
        ("a1", None, "pass"),
        ("b2", "a1", f'op.backfill("accounts", set={{"note": {SET!r}}}, where={WHERE!r})'),
    ):
        (versions / f"{name}.py").write_text(
            textwrap.dedent(f'''\
            """{name}"""
            from alembic import op
            revision, down_revision = {name!r}, {parent!r}
            def upgrade():
                {body}
            def downgrade():
                pass
            ''')
        )
    return directory / "alembic.ini"


def declared(url: str, ini: Path) -> None:
    """Declare the backfill on a table of one row, and leave it as one that nobody has begun."""
    migrate(url, ini, "upgrade")
    execute(
        url,
        "DELETE FROM migrator.backfill_range",
        "UPDATE migrator.backfill SET state = 'new', started = NULL, finished = NULL",
    )


def migrate(url: str, ini: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "migrator", *arguments, "--config", str(ini)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MIGRATOR_DATABASE_URL": url},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def backfill(url: str, ini: Path, workers: int) -> float:
    """Run workers to the end; return the most memory that one of them held, in MiB."""
    code = (
        "import resource, sys; from lockstep import cli; code = cli.main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, "backfill", "--deadline", "1h", "--config", str(ini)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "MIGRATOR_DATABASE_URL": url},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(workers)
    ]  # fmt: skip
    peaks = []
    for process in running:
        out, err = process.communicate()
        if process.returncode:
            raise SystemExit(out + err)
        peaks.append(int(err.split()[-1]) / 1024)
    return max(peaks)


def others(url: str, rows: int) -> dict[str, Callable[[], None]]:
    """Return the other ways to do it; those that are not installed are left out by name."""
    ways: dict[str, Callable[[], None]] = {
        "one UPDATE": lambda: one_update(url),
        "naive batches of 1,000": lambda: naive(url, rows, 1000),
        "naive batches of 50,000": lambda: naive(url, rows, 50_000),
    }
    if list(PEERS.glob("lib/*/site-packages/procrastinate")):
        ways["procrastinate, batches of 5,000"] = lambda: queued(url, rows, 5000, 1)
    else:
        print("procrastinate is not installed", flush=True)
    return ways


def ours(url: str, rows: int, ini: Path, workers: int) -> Felt:
    """Fill a fresh table with so many workers; the rows have to be what one UPDATE makes of them."""
    execute(url, "DROP SCHEMA IF EXISTS migrator CASCADE")
    fresh(url, 1)
    declared(url, ini)
    fresh(url, rows)
    name = f"backfill, {workers} worker{'s' * (workers > 1)}, {rows:,} rows"
    felt = measured(name, url, rows, lambda: backfill(url, ini, workers))
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*), count(*) FILTER (WHERE note = {SET}) FROM accounts")
        assert (found := cursor.fetchone()) == (rows, rows), found
    return felt


def run(url: str, rows: int, *, write: bool) -> None:
    felt, load = {}, results.load()
    with tempfile.TemporaryDirectory() as directory:
        ini = project(Path(directory))
        fresh(url, rows)
        felt["nothing"] = measured("nothing", url, rows, lambda: time.sleep(QUIET_S), counted=False)
        for name, work in others(url, rows).items():
            execute(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
            fresh(url, rows)
            felt[name] = measured(name, url, rows, work)
        few, alone, two = (ours(url, *how) for how in ((rows // 10, ini, 1), (rows, ini, 1), (rows, ini, 2)))
    one, queue = felt["one UPDATE"], felt.get("procrastinate, batches of 5,000")
    beside = f" (procrastinate's {queue.rate / one.rate:.2f})" if queue else ""
    ratios = (
        f"ratios: throughput to the one UPDATE {alone.rate / one.rate:.2f}, 2 workers {two.rate / one.rate:.2f}"
        f"{beside}; "
        f"longest client wait {alone.longest:.0f} ms, 2 workers {two.longest:.0f} ms, to {one.longest:.0f} ms; "
        f"p99 above baseline {alone.p99 - felt['nothing'].p99:.1f} ms; "
        f"memory {alone.peak_mib:.0f} MiB, of a tenth of the rows {few.peak_mib:.0f} MiB; {rows:,} rows"
    )
    print(ratios, flush=True)
    if write:
        lines = ["```", *map(str, (*felt.values(), few, alone, two)), "```", "", ratios]
        results.keep(f"backfill-{rows}", f"A backfill of {rows:,} rows", lines, results.conditions(load, version(url)))


def version(url: str) -> str:
    with contextlib.closing(psycopg2.connect(url)) as connection:
        return connection.get_parameter_status("server_version") or ""


def main(rows: int, url: str | None = None, *, write: bool = False) -> None:
    with contextlib.ExitStack() as stack:
        if url is None:
            # fsync as in production: the cost of a commit is part of what batches are about.
            safe = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
            url = stack.enter_context(embedded.throwaway({**SERVER, **safe})).url()
        run(url, rows, write=write)


if __name__ == "__main__":
    if sys.argv[1] == "--clients":
        clients(int(sys.argv[2]))
    else:
        words = [word for word in sys.argv[1:] if word != "--write"]
        main(int(words[0].replace("_", "")), *words[1:], write="--write" in sys.argv)
