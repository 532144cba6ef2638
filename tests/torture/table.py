"""Table: results of `python -m tests.torture --results` in, the tables of docs/reliability.md written anew out.

python -m tests.torture.table FILE...
"""

from __future__ import annotations

import collections
import json
import sys
from pathlib import Path

from tests.torture.faults import FAULTS
from tests.torture.kinds import KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def main():
    points = collections.Counter()
    for name in sys.argv[1:]:
        found = json.loads(Path(name).read_text())
        for row in found["rows"]:
            for key in ("kind", "fault"):
                points[key, row[key], found["version"], row["wrong"]] += row["points"]
    kinds = [kind.name for kind in KINDS]
    faults = list(dict.fromkeys(fault.name for fault in FAULTS))
    text = _table("Kind of run", "kind", kinds, points) + "\n" + _table("What happens to it", "fault", faults, points)
    page = PAGE.read_text()
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


def _table(title, key, names, points):
    versions = sorted({version for _, _, version, _ in points}, key=lambda text: tuple(map(int, text.split("."))))
    heads = [f"PostgreSQL {version}" for version in versions]
    lines = [f"| {title} | {' | '.join(heads)} |", "|---|" + "--:|" * len(versions)]
    for name in names:
        cells = [_cell(points, key, name, version) for version in versions]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    total = [_sum(points, key, names, version) for version in versions]
    lines.append(f"| **all** | {' | '.join(total)} |")
    return "\n".join(lines) + "\n"


def _cell(points, key, name, version):
    good, bad = points[key, name, version, False], points[key, name, version, True]
    return f"{good} of {good + bad}" if good + bad else "not run"


def _sum(points, key, names, version):
    good = sum(points[key, name, version, False] for name in names)
    return f"**{good} of {good + sum(points[key, name, version, True] for name in names)}**"


if __name__ == "__main__":
    main()
