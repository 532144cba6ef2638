"""What `migrator revision` writes for a change of models leads there, rehearses with no error, and comes back.

How long clients wait meanwhile is measured by `make bench-pairs`.
"""

import pytest

from tests.autogenerate.changes import CHANGES
from tests.autogenerate.pairs import Pair

EVERY = 4  # of so many pairs one is tried in the normal run
OF_THE_WAY_BACK = {"downgrade-fails", "downgrade-differs", "no-downgrade"}


def pairs():
    for number, change in enumerate(CHANGES):
        often = number % EVERY == 0 or number == len(CHANGES) - 1
        yield pytest.param(number, id=change.name, marks=() if often else pytest.mark.nightly)


def test_there_are_pairs_enough():
    assert len(CHANGES) >= 30


@pytest.mark.parametrize("number", list(pairs()))
def test_written_revisions_lead_to_the_models_rehearse_and_come_back(number, server, tmp_path):
    pair = Pair.make(number, tmp_path / "pair", server.url)
    written = pair.write()
    assert written
    assert not pair.finds_more()
    rehearsal = pair.rehearse(rows=50)
    assert [one.revision for one in rehearsal.revisions] == written
    assert {f"{one.rule}: {one.observed}" for one in rehearsal.errors} == set()
    assert not OF_THE_WAY_BACK & {one.rule for one in rehearsal.findings}
    assert pair.up_and_down(written) == []
