"""Crash: a sample of the matrix that `make torture` runs whole: cut anywhere, the next run finishes the work."""

import subprocess
import sys

import pytest

from tests.torture.forks import ROOT
from tests.torture.kinds import KINDS

GROUPS, POINTS = 4, 5


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("group", range(GROUPS))
def test_cut_at_a_sample_of_points_of_every_kind_the_next_run_makes_it_as_if_nothing_had_happened(group):
    kinds = [kind.name for kind in KINDS][group::GROUPS]
    chosen = [word for kind in kinds for word in ("--kind", f"={kind}")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", *chosen, "--sample", str(POINTS), "--workers", "1"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    points = POINTS * len(kinds)
    assert done.stdout.splitlines()[-1] == f"crash points {points}, converged {points}", done.stdout + done.stderr
    assert done.returncode == 0
