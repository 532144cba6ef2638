"""Speed: `make bench` and `make bench-quick`: the same work by the migrator, its peers and two floors, side by side.

Each round runs every tool once, in turn, so that whatever else the machine does meets all of them; medians of at
least five rounds, with the least and the most. Ratios within one table are the point, not the milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
from sqlalchemy import make_url

from benchmarks import peers
from benchmarks.delay import proxy
from migrator import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).with_name("RESULTS.md")
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
ROUND_TRIP_S = 0.02
Took = tuple[float, float]
NOOP = (peers.Floor, peers.Psql, peers.Migrator, peers.MigratorWhole, *peers.PEERS)
CHECKPOINT = (peers.PsqlCheckpoint, peers.MigratorCheckpoint, peers.MigratorCheckpointWhole)
FRESH = (*CHECKPOINT, peers.PsqlAll, peers.Migrator, *peers.PEERS)
PENDING = (peers.Migrator, peers.Alembic)


class Bench:
    """One run on one server."""

    def __init__(self, server: embedded.Server, top: Path, rounds: int) -> None:
        self.server, self.top, self.rounds = server, top, rounds
        self.made = 0
        self.lines: list[str] = []

    def sql(self, statement: str, database: str = "postgres") -> None:
        with contextlib.closing(psycopg2.connect(self.server.url(database))) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement)

    def database(self, template: str = "template0") -> str:
        self.made += 1
        self.sql(f"CREATE DATABASE b{self.made} TEMPLATE {template}")
        return f"b{self.made}"

    def peer(self, kind: type[peers.Peer], count: int) -> peers.Peer:
        self.made += 1
        top = self.top / f"p{self.made}"
        top.mkdir()
        made = kind(top, count)
        made.write()
        return made

    def standing(self, peer: peers.Peer, at: int) -> str:
        """Return a database whose schema is that of the first revisions, and known to the tool as such."""
        name = self.database()
        self.sql("; ".join(sql for item in peer.revisions[:at] for sql in item.sql), name)
        if isinstance(peer, peers.Floor | peers.Psql):
            peers._stamp(self.server.url(name), peer.revisions[-1].name)  # noqa: SLF001
        else:
            peer.stand(self.server.url(name), at)
        return name

    def there(self, kinds: tuple[type[peers.Peer], ...]) -> list[type[peers.Peer]]:
        return [kind for kind in kinds if not kind.missing()]

    def noop(self, counts: list[int], kinds: tuple[type[peers.Peer], ...], *, through: int | None = None) -> None:
        for count in counts:
            made = [self.peer(kind, count) for kind in self.there(kinds)]
            urls = [self.server.url(self.standing(peer, count)) for peer in made]
            if through:
                urls = [make_url(url).set(port=through).render_as_string(hide_password=False) for url in urls]
            times: list[list[Took]] = [[] for _ in made]
            for turn in range(self.rounds + 1):  # the first one warms what is read from disk
                for peer, url, seen in zip(made, urls, times, strict=True):
                    seen.append(_timed(peer, url))
                    if turn == 0:
                        seen.clear()
            far = f", {ROUND_TRIP_S * 1000:.0f} ms round trip" if through else ""
            self.table(f"Nothing to do, {count} revisions{far}", made, times, peers.Floor)

    def fresh(self, count: int, kinds: tuple[type[peers.Peer], ...]) -> None:
        made = [self.peer(kind, count) for kind in self.there(kinds)]
        times: list[list[Took]] = [[] for _ in made]
        for _ in range(self.rounds):
            for peer, seen in zip(made, times, strict=True):
                name = self.database()
                self.sql("CREATE SCHEMA IF NOT EXISTS migrator", name)
                seen.append(_timed(peer, self.server.url(name)))
                self.sql(f"DROP DATABASE {name} WITH (FORCE)")
        self.table(f"Fresh database, {count} revisions", made, times, peers.PsqlCheckpoint)

    def pending(self, count: int, of: int) -> None:
        made = [self.peer(kind, of) for kind in PENDING]
        templates = [self.standing(peer, of - count) for peer in made]
        times: list[list[Took]] = [[] for _ in made]
        for _ in range(self.rounds):
            for peer, template, seen in zip(made, templates, times, strict=True):
                name = self.database(template)
                seen.append(_timed(peer, self.server.url(name)))
                self.sql(f"DROP DATABASE {name} WITH (FORCE)")
        self.table(f"{count} pending of {of} revisions, a transaction each", made, times, peers.Alembic)

    def table(self, title: str, made: list[peers.Peer], times: list[list[Took]], floor: type[peers.Peer]) -> None:
        [base] = [_medians(seen) for peer, seen in zip(made, times, strict=True) if type(peer) is floor]
        self.say(f"\n### {title}\n\nRatios to: {floor.name.removeprefix('floor: ')}.\n")
        self.say("| tool | median ms | min | max | ratio | processor ms | ratio |\n|---|---:|---:|---:|---:|---:|---:|")
        for peer, seen in zip(made, times, strict=True):
            wall, cpu = _medians(seen)
            walls = [one for one, _ in seen]
            self.say(
                f"| {peer.name} | {wall:.0f} | {min(walls):.0f} | {max(walls):.0f} | {wall / base[0]:.2f} "
                f"| {cpu:.0f} | {cpu / max(base[1], 1):.2f} |"
            )

    def say(self, line: str) -> None:
        print(line, flush=True)
        self.lines.append(line)


def _timed(peer: peers.Peer, url: str) -> Took:
    """Return the wall time of one run, and the processor time of its process, which other load hardly touches."""
    env, command = peer.env(url), peer.command()
    used, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=env, cwd=peer.top, capture_output=True, check=False)
    took, now = (time.perf_counter() - begun) * 1000, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{peer.name}: {done.stdout[-1500:].decode()}{done.stderr[-1500:].decode()}")
    return took, (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime) * 1000


def _medians(seen: list[Took]) -> Took:
    return statistics.median(wall for wall, _ in seen), statistics.median(cpu for _, cpu in seen)


@contextlib.contextmanager
def bench(rounds: int) -> Iterator[Bench]:
    with embedded.throwaway(DURABLE) as server, tempfile.TemporaryDirectory(prefix="bench-") as top:
        yield Bench(server, Path(top), rounds)


def _machine(server: embedded.Server) -> str:
    model = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    left_out = ", ".join(f"{kind.name} ({kind.missing()})" for kind in peers.PEERS if kind.missing()) or "none"
    return (
        f"{os.cpu_count()} processors ({model[0] if model else platform.machine()}), {platform.system()}, Python "
        f"{platform.python_version()}, PostgreSQL {server.version}, psycopg2 {psycopg2.__version__.split()[0]}, load "
        f"{os.getloadavg()[0]:.1f} at the start. {_versions()}Left out: {left_out}."
    )


def _versions() -> str:
    from importlib.metadata import version  # noqa: PLC0415

    found = [f"alembic {version('alembic')}, SQLAlchemy {version('sqlalchemy')}"]
    pip = peers.CACHE / "py/bin/python"
    if pip.exists():
        code = (
            "from importlib.metadata import version as v; print('Django', v('django') + ', yoyo', v('yoyo-migrations'))"
        )
        found.append(subprocess.run([str(pip), "-c", code], capture_output=True, text=True, check=False).stdout.strip())
    for name in ("dbmate", "node-pg-migrate"):
        file = peers.CACHE / "js/node_modules" / name / "package.json"
        if file.exists():
            import json  # noqa: PLC0415

            found.append(f"{name} {json.loads(file.read_text())['version']}")
    return ", ".join(found) + ". "


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--quick", action="store_true", help="fewer sizes and rounds, in under two minutes")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    words.add_argument("--only", default="noop,far,fresh,pending")
    chosen = words.parse_args()
    only = chosen.only.split(",")
    with bench(chosen.rounds) as run:
        run.say(f"{_machine(run.server)}\nMedians of at least {chosen.rounds} interleaved rounds.")
        if "noop" in only:
            if chosen.quick:
                run.noop([10, 2000], (peers.Floor, peers.Migrator))
                run.noop([500], NOOP)
            else:
                run.noop([10, 100, 500, 1000, 2000], NOOP)
        if "far" in only:
            with proxy(embedded.HOST, run.server.port, ROUND_TRIP_S) as port:
                run.noop([100], (peers.Floor, peers.Migrator, peers.MigratorWhole, peers.Alembic), through=port)
        if "fresh" in only:
            for count in [100] if chosen.quick else [100, 1000]:
                run.fresh(count, (*CHECKPOINT, peers.PsqlAll, peers.Migrator, peers.Alembic) if chosen.quick else FRESH)
        if "pending" in only and not chosen.quick:
            run.pending(500, 1000)
    if chosen.write:
        head = "# Results of `make bench`\n\nRatios within a table are the point; see docs/benchmarks.md.\n\n"
        RESULTS.write_text(head + "\n".join(run.lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
