"""Exceptions to the rules of security (ruff's S, which are bandit's): each is on its line, with its reason."""

import re
import subprocess
import sys

from tests.torture.forks import ROOT

EXCEPTION = re.compile(r"noqa: (?P<rules>[A-Z0-9, ]*\bS[0-9]{3}[A-Z0-9, ]*)(?P<reason> - .+)?")


def test_no_security_rule_is_broken_without_a_word():
    command = [sys.executable, "-m", "ruff", "check", "--select", "S", "--quiet", "app", "migrator", "local"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_each_exception_has_its_reason():
    bare, found = [], 0
    for part in ("app", "migrator", "local"):
        for path in sorted((ROOT / part).rglob("*.py")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if exception := EXCEPTION.search(line):
                    found += 1
                    bare += [] if exception["reason"] else [f"{path.relative_to(ROOT)}:{number}"]
    assert bare == []
    assert found > 20
