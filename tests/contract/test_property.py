"""The verdict against reality: whatever the contract says of a change, a release's own statements are tried on it.

`satisfied` and then a failing statement is a bug, always. `broken` where everything works costs a team a deploy
of patience; it is counted. A case that ever failed goes into corpus.jsonl as it was printed.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.contract import changes
from tests.contract.cases import Case, Tally, cases, outcome

CORPUS = [Case.from_json(line) for line in (Path(__file__).parent / "corpus.jsonl").read_text().splitlines()]
FALSE_ALARMS_AT_MOST = 0.05


def check(connection, examples: int, **how) -> None:
    tally = Tally()
    for first in changes.NAMES:
        each(connection, first, -(-examples // len(changes.NAMES)), tally, **how)
    print(tally)
    for case, result in tally.false_alarms:
        print(f"false alarm: {[str(need) for need in result.needs]} after {result.made}\n  {case.to_json()}")
    assert tally.cases >= examples
    assert len(tally.false_alarms) < FALSE_ALARMS_AT_MOST * tally.broken


def each(connection, first: str, examples: int, tally: Tally, **how) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        **how,
    )
    @given(case=cases(first))
    def verdict_meets_reality(case):
        result = outcome(connection, case)
        tally.add(case, result)
        assert not result.missed, f"satisfied, but {result.missed}\n{result.needs}\n{result.made}\n{case.to_json()}"

    verdict_meets_reality()


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: "+".join(name for name, *_ in case.changes).replace(" ", "_"))
def test_a_case_that_once_failed_is_judged_right(release_database, case):
    result = outcome(release_database, case)
    assert not result.missed
    assert not result.false_alarm


@pytest.mark.slow
@pytest.mark.timeout(900)  # a thousand schemas: minutes on a machine with much else to do
def test_a_release_that_is_said_to_be_served_is_served(release_database):
    check(release_database, 200, derandomize=True)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_release_that_is_said_to_be_served_is_served_in_many_cases(release_database):
    check(release_database, 2000)
