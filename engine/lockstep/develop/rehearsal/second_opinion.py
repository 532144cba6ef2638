"""Second opinion: what squawk says of the statements that ran, and where the server disagrees.

Squawk reads the text alone; it is asked where it is installed (the wheel squawk-cli, or any `squawk` on PATH).
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.develop.sandbox import child_env

if TYPE_CHECKING:
    from lockstep.develop.rehearsal.findings import Finding
    from lockstep.develop.rehearsal.observation import Rehearsed

# Not asked: what the runner owns (timeouts), taste, and what the release contract decides (old releases).
EXCLUDED = {
    "require-lock-timeout", "require-statement-timeout", "require-timeout-settings", "prefer-robust-stmts",
    "prefer-bigint-over-int", "prefer-bigint-over-smallint", "prefer-big-int", "prefer-identity", "prefer-text-field",
    "prefer-timestamptz", "ban-char-field", "ban-drop-column", "ban-drop-table", "renaming-column", "renaming-table",
    "ban-drop-not-null", "ban-drop-database", "require-table-schema", "transaction-nesting", "ban-drop-view",
    "ban-drop-function", "ban-drop-type", "ban-drop-sequence", "ban-drop-schema", "ban-drop-trigger",
    "ban-drop-policy", "ban-drop-extension", "ban-drop-domain", "ban-drop-index", "ban-create-policy",
    "ban-alter-row-level-security", "ban-alter-policy", "ban-replace-view-function", "ban-add-enum-value",
    "ban-new-write-restriction", "ban-create-domain-with-constraint", "identifier-too-long",
}  # fmt: skip


@dataclass(frozen=True)
class Opinion:
    """What squawk says of one statement; `server` is the rule that the server's behaviour led to, if any."""

    revision: str
    label: str
    sql: str
    squawk: tuple[str, ...]
    server: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Tell whether both find something, or neither does."""
        return bool(self.squawk) == bool(self.server)


_OF_DRIVER = re.compile(r"%%|%\([^)]*\)s|%s")


@functools.cache
def binary() -> str | None:
    """Return where squawk is, if it is installed."""
    beside = Path(sys.executable).with_name("squawk")
    return str(beside) if beside.is_file() else shutil.which("squawk")


def ask(rehearsed: tuple[Rehearsed, ...], found: tuple[Finding, ...]) -> tuple[Opinion, ...]:
    """Return squawk's opinion of each statement on which either of the two has something to say."""
    try:
        return _ask(rehearsed, found)
    except (OSError, subprocess.TimeoutExpired, ValueError, LookupError, TypeError):
        return ()  # it hangs, or says what no squawk that we know says: the rehearsal stands without it


def _ask(rehearsed: tuple[Rehearsed, ...], found: tuple[Finding, ...]) -> tuple[Opinion, ...]:
    opinions = []
    for one in rehearsed if binary() else ():
        said = verdicts([(seen.sql, seen.outside) for seen in one.up.observations])
        for number, seen in enumerate(one.up.observations):
            server = tuple(item.rule for item in found if item.revision == one.revision and item.statement == number)
            if said[number] or server:
                opinions.append(Opinion(one.revision, one.label, seen.sql, said[number], server))
    return tuple(opinions)


def verdicts(statements: list[tuple[str, bool]]) -> list[tuple[str, ...]]:
    """Return squawk's rules for each of several statements; each comes with whether it is outside of a transaction."""
    inside = _run([sql for sql, outside in statements if not outside], in_transaction=True)
    beside = _run([sql for sql, outside in statements if outside], in_transaction=False)
    return [beside.pop(0) if outside else inside.pop(0) for _, outside in statements]


def _of_server(found: re.Match[str]) -> str:
    """Return a percent sign, or a parameter, as the server has it and not as the driver does."""
    return "%" if found[0] == "%%" else "$1"


def _run(texts: list[str], *, in_transaction: bool) -> list[tuple[str, ...]]:
    program = binary()
    if not texts or program is None:
        return [() for _ in texts]
    lines: list[str] = []
    ends: list[int] = []
    for text in texts:
        lines += [_OF_DRIVER.sub(_of_server, line) for line in text.strip().rstrip(";").splitlines()]
        lines[-1] += ";"
        ends.append(len(lines))
    # A name that this version does not know would be an error, so nothing is excluded on the command line.
    command = [program, "--reporter", "json"]
    if in_transaction:
        command.append("--assume-in-transaction")
    done = subprocess.run(
        [*command, "--stdin-filepath", "revision.sql"], input="\n".join(lines), capture_output=True, text=True,
        check=False, timeout=60, env=child_env.without_secrets(),
    )  # fmt: skip
    found: list[dict[str, None]] = [{} for _ in texts]
    for item in json.loads(done.stdout or "[]"):
        number = next((place for place, end in enumerate(ends) if item["line"] < end), len(ends) - 1)
        if item["rule_name"] not in EXCLUDED:
            found[number][item["rule_name"]] = None
    return [tuple(names) for names in found]
