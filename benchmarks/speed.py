"""Speed: `make bench` and `make bench-quick`: the same work by the migrator, its peers and two floors, side by side.

Each round runs every tool once, in turn, so that whatever else the machine does meets all of them; medians of at
least five rounds, with the least and the most. Ratios within one table are the point, not the milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
from sqlalchemy import make_url

from benchmarks import peers, results
from benchmarks.delay import proxy
from lockstep.develop.sandbox import embedded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_wal_size": "4GB"}
ROUND_TRIP_S = 0.02
FAR = 500  # revisions there
MOST_OF_SQITCH = 100  # revisions on a fresh database
SIZES = (10, 100, 500, 1000, 2000)
OTHERS = {
    "app": ("benchmarks.app",),
    "contract-check": ("benchmarks.contract_check",),
    "contested": ("benchmarks.contested",),
    "backfill-1000000": ("benchmarks.backfill", "1000000"),
}
Took = tuple[float, float]
Kinds = tuple[type[peers.Peer], ...]
NOOP: Kinds = (peers.Floor, peers.Psql, peers.Migrator, peers.MigratorModule, peers.MigratorWhole, *peers.PEERS)
CHECKPOINT: Kinds = (peers.PsqlCheckpoint, peers.MigratorCheckpoint, peers.MigratorCheckpointWhole)
ONE_BY_ONE: Kinds = (peers.PsqlAll, peers.Migrator, peers.Alembic)
FRESH: Kinds = (*CHECKPOINT, peers.PsqlAll, peers.Migrator, *peers.PEERS)
MOST: Kinds = tuple(kind for kind in FRESH if kind is not peers.Sqitch)  # a process a revision: a minute a round
PENDING: Kinds = (peers.MigratorServing, peers.Migrator, peers.Alembic)
# The migrator with and without its manifest is one tool, which takes a database of its own as it is.
AS = {peers.MigratorModule: peers.Migrator, peers.MigratorWhole: peers.Migrator, peers.Psql: peers.Floor}


class Bench:
    """One run on one server; projects and databases that several tables need are made once."""

    def __init__(self, server: embedded.Server, top: Path, rounds: int, *, write: bool) -> None:
        self.server, self.top, self.rounds, self.write = server, top, rounds, write
        self.made = 0
        self.schemas: dict[tuple[int, int], str] = {}
        self.stands: dict[tuple[type[peers.Peer], int, int], str] = {}
        self.projects: dict[tuple[type[peers.Peer], int, bool], peers.Peer] = {}
        quick = make_url(server.url()).update_query_dict({"options": "-csynchronous_commit=off"})
        peers.MigratorCheckpoint.server = quick.render_as_string(hide_password=False)

    def sql(self, statement: str, database: str = "postgres") -> None:
        with contextlib.closing(psycopg2.connect(self.server.url(database))) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement)

    def database(self, template: str = "template0") -> str:
        self.made += 1
        self.sql(f"CREATE DATABASE b{self.made} TEMPLATE {template}")
        return f"b{self.made}"

    def drop(self, name: str) -> None:
        self.sql(f"DROP DATABASE {name} WITH (FORCE)")

    def project(self, kind: type[peers.Peer], count: int, *, only_tables: bool = False) -> peers.Peer:
        which = (kind, count, only_tables)
        if which not in self.projects:
            self.made += 1
            top = self.top / f"p{self.made}"
            top.mkdir()
            self.projects[which] = kind(top, count, only_tables=only_tables)
            self.projects[which].write()
        return self.projects[which]

    def standing(self, peer: peers.Peer, at: int) -> str:
        """Return a database whose schema is that of the first revisions, and known to the tool as such."""
        kind = AS.get(type(peer), type(peer))
        which = (kind, peer.count, at)
        if which not in self.stands:
            if (peer.count, at) not in self.schemas:
                self.schemas[peer.count, at] = self.database()
                made = "; ".join(sql for item in peer.revisions[:at] for sql in item.sql)
                self.sql(made, self.schemas[peer.count, at])
            name = self.stands[which] = self.database(self.schemas[peer.count, at])
            if kind is peers.Floor:
                peers._stamp(self.server.url(name), peer.revisions[-1].name)  # noqa: SLF001
            else:
                self.project(kind, peer.count).stand(self.server.url(name), at)
        return self.stands[which]

    def noop(self, name: str, count: int, kinds: Kinds, *, through: int | None = None) -> None:
        made = [self.project(kind, count) for kind in _there(kinds)]
        urls = [self.server.url(self.standing(peer, count)) for peer in made]
        if through:
            urls = [make_url(url).set(port=through).render_as_string(hide_password=False) for url in urls]
        for peer, url in zip(made, urls, strict=True):
            if not peer.is_warm:
                _timed(peer, url)
        far = f", {ROUND_TRIP_S * 1000:.0f} ms round trip" if through else ""
        work = [lambda peer=peer, url=url: _timed(peer, url) for peer, url in zip(made, urls, strict=True)]
        self.table(name, f"Nothing to do, {count} revisions{far}", made, work, peers.Floor)

    def fresh(self, name: str, count: int, kinds: Kinds, *, only_tables: bool = False) -> None:
        made = [self.project(kind, count, only_tables=only_tables) for kind in _there(kinds)]
        empty = self.database()
        self.sql("CREATE SCHEMA migrator", empty)  # plain Alembic's version table is to be there

        def once(peer: peers.Peer) -> Took:
            one = self.database(empty)
            took = _timed(peer, self.server.url(one))
            self.drop(one)
            return took

        work = [lambda peer=peer: once(peer) for peer in made]
        each = ", each making a table" if only_tables else ""
        left_out = ", ".join(kind.name for kind in FRESH if kind not in kinds and not kind.missing())
        note = f"Not at this size, for the time it takes: {left_out}." if left_out else ""
        self.table(name, f"Fresh database, {count} revisions{each}", made, work, peers.PsqlCheckpoint, note)

    def pending(self, name: str, count: int, of: int) -> None:
        made = [self.project(kind, of) for kind in PENDING]
        templates = [self.standing(peer, of - count) for peer in made]

        def once(peer: peers.Peer, template: str) -> Took:
            one = self.database(template)
            took = _timed(peer, self.server.url(one))
            self.drop(one)
            return took

        work = [lambda peer=peer, name=name: once(peer, name) for peer, name in zip(made, templates, strict=True)]
        self.table(name, f"{count} pending of {of} revisions, a transaction each", made, work, peers.Alembic)

    def table(
        self, name: str, title: str, made: list[peers.Peer], work: list[Callable[[], Took]], floor: type[peers.Peer],
        note: str = "",
    ) -> None:  # fmt: skip
        """Measure in rounds, print the table, and keep it."""
        load, times = results.load(), [[] for _ in made]
        for _ in range(self.rounds):
            for one, seen in zip(work, times, strict=True):
                seen.append(one())
        [base] = [_medians(seen) for peer, seen in zip(made, times, strict=True) if type(peer) is floor]
        lines = [
            f"Medians of {self.rounds} interleaved rounds; ratios to: {floor.name.removeprefix('floor: ')}.", "",
            "| tool | median ms | min | max | ratio | processor ms | ratio |", "|---|---:|---:|---:|---:|---:|---:|",
        ]  # fmt: skip
        for peer, seen in zip(made, times, strict=True):
            wall, cpu = _medians(seen)
            walls = [one for one, _ in seen]
            lines.append(
                f"| {peer.name} | {wall:.0f} | {min(walls):.0f} | {max(walls):.0f} | {wall / base[0]:.2f} "
                f"| {cpu:.0f} | {cpu / max(base[1], 1):.2f} |"
            )
        lines += ["", note] if note else []
        results.said(name, title, lines, results.conditions(load, self.server.version), write=self.write)


def _there(kinds: Kinds) -> list[type[peers.Peer]]:
    return [kind for kind in kinds if not kind.missing()]


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
def bench(rounds: int, *, write: bool) -> Iterator[Bench]:
    with embedded.throwaway(DURABLE) as server, tempfile.TemporaryDirectory(prefix="bench-") as top:
        yield Bench(server, Path(top), rounds, write=write)


def _versions() -> list[str]:
    found = {name: version(name) for name in ("alembic", "SQLAlchemy", "psycopg2-binary")}
    pip = peers.CACHE / "py/bin/python"
    if pip.exists():
        code = "from importlib.metadata import version as v; print(v('django'), v('yoyo-migrations'))"
        said = subprocess.run([str(pip), "-c", code], capture_output=True, text=True, check=False).stdout.split()
        found |= dict(zip(("Django", "yoyo-migrations"), said, strict=False))
    for name in ("dbmate", "node-pg-migrate"):
        file = peers.CACHE / "js/node_modules" / name / "package.json"
        if file.exists():
            found[name] = json.loads(file.read_text())["version"]
    for name in ("sqitch", "psql"):
        with contextlib.suppress(OSError):
            said = subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout
            found[name] = said.split()[2 if name == "psql" else -1].lstrip("v")
    left_out = [f"Left out: {kind.name} ({kind.missing()})." for kind in peers.PEERS if kind.missing()]
    return [", ".join(f"{name} {one}" for name, one in found.items()) + ".", *left_out]


def tables(run: Bench, *, quick: bool) -> dict[str, Callable[[], None]]:
    """Return every table of a run by its name, in the order they are measured."""
    far = (peers.Floor, peers.Migrator, *(() if quick else (peers.MigratorWhole,)), peers.Alembic)

    def through_proxy() -> None:
        with proxy(embedded.HOST, run.server.port, ROUND_TRIP_S) as port:
            run.noop(f"far-{FAR}", FAR, far, through=port)

    if quick:
        floor = (peers.Floor, peers.Migrator)
        return {
            "noop-10": lambda: run.noop("noop-10", 10, floor),
            "noop-500": lambda: run.noop("noop-500", 500, NOOP),
            f"far-{FAR}": through_proxy,
            "noop-2000": lambda: run.noop("noop-2000", 2000, floor),
            "fresh-100": lambda: run.fresh("fresh-100", 100, (*CHECKPOINT[:2], *ONE_BY_ONE)),
        }
    all_of_them: dict[str, Callable[[], None]] = {}
    for count in SIZES:
        all_of_them[f"noop-{count}"] = lambda count=count: run.noop(f"noop-{count}", count, NOOP)
    all_of_them[f"far-{FAR}"] = through_proxy
    for count in SIZES:
        kinds = FRESH if count <= MOST_OF_SQITCH else MOST if count in (500, 1000) else (*CHECKPOINT, *ONE_BY_ONE)
        all_of_them[f"fresh-{count}"] = lambda count=count, kinds=kinds: run.fresh(f"fresh-{count}", count, kinds)
    for count in (1, 500):
        all_of_them[f"pending-{count}"] = lambda count=count: run.pending(f"pending-{count}", count, 1000)
    # Replays of it would take most of the bench: the table is about the load of a long file.
    wide = (*CHECKPOINT[:2], peers.PsqlAll)
    all_of_them["fresh-tables-1000"] = lambda: run.fresh("fresh-tables-1000", 1000, wide, only_tables=True)
    for name, words in OTHERS.items():
        all_of_them[name] = lambda words=words: _other(words, write=run.write)
    return all_of_them


def _other(words: tuple[str, ...], *, write: bool) -> None:
    """Run a measurement that is a program of its own, on a server of its own."""
    subprocess.run([sys.executable, "-m", *words, *(["--write"] if write else [])], cwd=peers.ROOT, check=True)


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--quick", action="store_true", help="fewer sizes, in under two minutes with a backfill")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--write", action="store_true", help=f"keep each table in {results.FILE.name}")
    words.add_argument("--only", default="", help="names of tables, or how they begin, by commas: noop,far,app")
    chosen = words.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a run that is cut off takes its server and files away
    with bench(chosen.rounds, write=chosen.write) as run:
        every = tables(run, quick=chosen.quick)
        begins = chosen.only.split(",")
        wanted = [name for name in every if not chosen.only or any(f"{name}-".startswith(f"{one}-") for one in begins)]
        if not wanted:
            words.error(f"no such table; there are {', '.join(every)}")
        load = results.load()
        condition = results.conditions(load, run.server.version)
        results.said("versions", "Versions", _versions(), condition, write=chosen.write)
        for name in wanted:
            every[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
