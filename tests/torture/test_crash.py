"""Crash: a sample of the matrix that `make torture` runs whole: cut anywhere, the next run finishes the work."""

import subprocess
import sys

import pytest

from tests.torture.forks import ROOT

SAMPLES = [("mixed", 10), ("first run", 8), ("deferred before", 6)]


@pytest.mark.parametrize(("kind", "points"), SAMPLES)
def test_cut_at_a_sample_of_points_the_next_run_makes_it_as_if_nothing_had_happened(kind, points):
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--kind", kind, "--sample", str(points), "--workers", "1"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=170,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == f"crash points {points}, converged {points}", done.stdout + done.stderr
    assert done.returncode == 0
