"""Exceptions to the rules of security (ruff's S, which are bandit's): each is on its line, with its reason."""

import re

from tests.torture.forks import ROOT

EXCEPTION = re.compile(r"noqa: (?P<rules>[A-Z]+[0-9]+(?:, [A-Z]+[0-9]+)*)(?P<reason> -+ .+)?")


def test_each_exception_to_a_security_rule_has_its_reason():
    bare, found = [], 0
    for part in ("engine", "gate", "app", "migrator", "local"):
        for path in sorted((ROOT / part).rglob("*.py")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                exception = EXCEPTION.search(line)
                if exception and re.search(r"\bS\d{3}\b", exception["rules"]):
                    found += 1
                    bare += [] if exception["reason"] else [f"{path.relative_to(ROOT)}:{number}"]
    assert bare == []
    assert found > 20
