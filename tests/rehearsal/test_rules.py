"""Every rule's bad example is found, and its good one is not, by what a server does with them."""

import pytest

from lockstep.develop.rehearsal.rules import RULES
from tests.rehearsal.rig import TABLES, Project, rules

ONE_WAY = {"downgrade-fails", "downgrade-differs", "no-downgrade"}  # what an example of one direction cannot show
DEADLINE_MS = {"never-ends": 4000}


def run(rule, bodies, directory, server):
    project = Project.make(directory, setup=TABLES + rule.setup)
    for body in bodies:
        project.add(body)
    deadline_ms = DEADLINE_MS.get(rule.id, 60_000) if bodies == (rule.bad,) else 60_000
    found = rules(project.rehearse(server.url, deadline_ms=deadline_ms), timed=rule.id == "lock-held-long")
    return found if any("def upgrade" in body for body in bodies) else [one for one in found if one not in ONE_WAY]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_bad_example_is_found_and_nothing_else(rule, tmp_path, server):
    assert run(rule, (rule.bad,), tmp_path / "bad", server) == [rule.id]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_good_example_is_not(rule, tmp_path, server):
    assert run(rule, rule.good, tmp_path / "good", server) == []
