"""Results: a table's lines in, RESULTS.md with that table in its place out.

Tables are measured at different moments, and a run may be cut off: each is kept as soon as it is there, with the date
and the load it was measured under, and takes the place of the one it had before.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from pathlib import Path

FILE = Path(__file__).with_name("RESULTS.md")
HEAD = """\
# Results of `make bench`

Ratios within a table are the point; see `docs/benchmarks.md`. Each table says when it was measured and how busy the
machine was: a load of more than one on two processors widens wall times, and those of short processes the most.
"""
ORDER = ("versions", "noop", "far", "fresh", "pending", "contested", "app", "contract-check", "backfill")
_TABLE = re.compile(r"^<!-- table: (\S+) -->\n", re.MULTILINE)


def load() -> float:
    """Return how many processes wanted a processor in the last minute."""
    return os.getloadavg()[0]


def conditions(before: float, server: str) -> str:
    """Return the line on when, where and under which load something was measured."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())
    return (
        f"Measured {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, load {before:.1f} before and {load():.1f} "
        f"after, on {os.cpu_count()} processors ({model}), {platform.system()}, Python {platform.python_version()}, "
        f"PostgreSQL {server}."
    )


def keep(name: str, title: str, lines: list[str], condition: str) -> None:
    """Write a table into its place in RESULTS.md."""
    found = _TABLE.split(FILE.read_text())[1:] if FILE.exists() else []
    sections = dict(zip(found[::2], found[1::2], strict=True))
    body = "\n".join(lines).strip()
    sections[name] = f"## {title}\n\n{condition}\n\n{body}\n"
    texts = [f"<!-- table: {name} -->\n{sections[name].strip()}\n" for name in sorted(sections, key=_place)]
    partial = FILE.with_suffix(".partial")
    partial.write_text("\n".join([HEAD, *texts]))
    partial.replace(FILE)


def _place(name: str) -> tuple[int, str, int]:
    kind = next((kind for kind in ORDER if name.startswith(kind)), "")
    number = re.search(r"\d+$", name)
    return ORDER.index(kind) if kind else len(ORDER), name.rstrip("0123456789"), int(number[0]) if number else 0


def said(name: str, title: str, lines: list[str], condition: str, *, write: bool) -> None:
    """Print a table that was not printed line by line, and keep it where that is wanted."""
    print(f"\n### {title}\n\n{condition}\n\n" + "\n".join(lines), file=sys.stdout, flush=True)
    if write:
        keep(name, title, lines, condition)
