"""Torture: every kind of run, cut at every point; the last line says how many points there were, and converged.

python -m tests.torture [--sample N] [--kind NAME] [--fault NAME] [--results FILE]
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import json
import multiprocessing
import sys
import time
from pathlib import Path

from lockstep.develop.sandbox import binaries
from tests.torture import pool as workers
from tests.torture.kinds import KINDS


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=0, help="so many points of each kind; default all")
    parser.add_argument("--kind", action="append", help="kinds with this in their name, or =NAME; may be repeated")
    parser.add_argument("--fault", default="", help="faults with this in their name; default all")
    parser.add_argument("--workers", type=int, default=2, help="so many servers; default 2")
    parser.add_argument("--shares", type=int, default=0, help="parts of each kind; default one for each worker")
    parser.add_argument("--results", type=Path, help="write the counts to this file, as JSON")
    parser.add_argument("--every", action="store_true", help="run again from each state, also from one met before")
    chosen = parser.parse_args()
    again = chosen.every or bool(chosen.sample)
    shares = chosen.shares or (1 if chosen.sample else chosen.workers)
    kinds = [kind.name for kind in KINDS if any(word in f"={kind.name}=" for word in _words(chosen.kind))]
    counts, began = collections.Counter(), time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(
        chosen.workers, multiprocessing.get_context("spawn"), initializer=workers.begin
    ) as pool:
        jobs = [
            pool.submit(workers.share_of, kind, chosen.fault, chosen.sample, share, shares, again)
            for kind in kinds
            for share in range(shares)
        ]
        for job in concurrent.futures.as_completed(jobs):
            found, states = job.result()
            for kind, fault, wrong in found:
                counts[kind, fault, wrong] += 1
            bad = sum(wrong for _, _, wrong in found)
            name = found[0][0] if found else "nothing"
            seconds = time.monotonic() - began
            print(f"{seconds:6.0f} s  {name}: {len(found)} points, {states} states, {bad} not", flush=True)
            _write(counts, chosen.results, seconds)
    return _end(counts)


def _words(given):
    return [f"{word}=" if word.startswith("=") else word for word in given or [""]]


def _write(counts, path, seconds):
    if path:
        rows = [
            {"kind": kind, "fault": fault, "wrong": wrong, "points": count}
            for (kind, fault, wrong), count in sorted(counts.items())
        ]
        version = binaries.version(binaries.find())
        path.write_text(json.dumps({"version": version, "seconds": int(seconds), "rows": rows}, indent=1))


def _end(counts):
    total = sum(counts.values())
    good = sum(count for (_, _, wrong), count in counts.items() if not wrong)
    print(f"crash points {total}, converged {good}")
    return 0 if total and good == total else 1


if __name__ == "__main__":
    sys.exit(main())
