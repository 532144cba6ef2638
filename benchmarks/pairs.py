"""How long clients wait while what autogenerate wrote is applied, for every pair of models: `make bench-pairs`.

Each pair's revisions are written by `migrator revision`, rehearsed on filled tables, and applied by `migrator upgrade`
in a process of its own while four clients read, insert and update. What counts is the longest that any client waited,
the change's own work included. A busy machine stalls clients by itself: a pair over the bound is measured again, for a
stall does not come back and a lock does; the longest wait of the seconds before and after is shown beside it.
"""

# ruff: noqa: ANN001, ANN201 - a script

import os
import sys
import tempfile
from pathlib import Path

from lockstep.develop.sandbox import embedded
from tests.autogenerate.changes import CHANGES
from tests.autogenerate.pairs import Pair

BOUND_MS = 250
TRIES = 3
ROWS = int(os.environ.get("ROWS", "10000"))
OF_THE_WAY_BACK = {"downgrade-fails", "downgrade-differs", "no-downgrade"}


def main(wanted):
    longest, without, wrong, again = 0.0, 0.0, 0, 0
    numbers = [number for number, change in enumerate(CHANGES) if not wanted or change.name in wanted]
    print(f"{'change':<52} {'revisions':>9} {'wait ms':>8} {'else ms':>8} {'statements':>10}  what was not right")
    with embedded.throwaway() as server, tempfile.TemporaryDirectory() as top:
        for number in numbers:
            pair = Pair.make(number, Path(top) / str(number), server.url())
            written = pair.write()
            found, tries = measure(pair, written), 1
            while found[0] > BOUND_MS and tries < TRIES:
                found, tries = min(found, measure(pair, written)), tries + 1
            wait, quiet, statements, faults = found
            faults += ["autogenerate finds more"] if pair.finds_more() else []
            faults += [f"left by the way back: {line}" for line in pair.up_and_down(written)]
            faults += [f"waited more than {BOUND_MS} ms"] if wait > BOUND_MS else []
            longest, without, again = max(longest, wait), max(without, quiet), again + tries - 1
            wrong += bool(faults)
            print(f"{CHANGES[number].name:<52} {len(written):>9} {wait:>8.0f} {quiet:>8.0f} {statements:>10}  "
                  f"{'; '.join(faults)}", flush=True)  # fmt: skip
    print(f"pairs {len(numbers)}, longest wait {longest:.0f} ms, wrong {wrong} ({ROWS} rows a table; longest wait "
          f"without a change {without:.0f} ms; measured again {again})")  # fmt: skip
    return 1 if wrong else 0


def measure(pair, written):
    """Rehearse and apply under load; return the longest wait with and without a change, the statements, the faults."""
    rehearsal = pair.rehearse(rows=ROWS, load=True)
    faults = [f"{one.rule}: {one.observed}" for one in rehearsal.findings if one in rehearsal.errors
              or one.rule in OF_THE_WAY_BACK]  # fmt: skip
    if [one.revision for one in rehearsal.revisions] != written:
        faults.append("not all were rehearsed")
    (load,) = rehearsal.loads
    faults += [f"{one.label}: exit {one.code}: {one.said}" for one in load.windows if one.code]
    first, last = load.windows[0].began_s, load.windows[-1].ended_s
    quiet = [one.ms for one in load.samples if one.at_s + one.ms / 1000 < first or one.at_s > last]
    return load.longest.ms, max(quiet, default=0.0), len(load.samples), faults


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
