"""Findings: what is wrong with what was observed, less what the revision's own file allows with a reason."""

from __future__ import annotations

import contextlib
import io
import re
import tokenize
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lockstep.develop.rehearsal.rules import OF_DOWNGRADES, RULES
from lockstep.develop.rehearsal.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lockstep.develop.rehearsal.observation import Rehearsed
    from lockstep.develop.rehearsal.scene import Match, Rule

_ALLOW = re.compile(r"#\s*migrator:\s*allow\s+([\w-]+)\s*(?::\s*(.*\S))?\s*$")
ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong; `waived` is the reason its file gives for it."""

    rule: str
    level: str
    title: str
    revision: str
    label: str
    path: str
    line: int | None
    statement: int | None
    sql: str | None
    observed: str
    blocks: str
    instead: str
    waived: str | None = None
    direction: str = "up"


@dataclass(frozen=True)
class Waiver:
    """One line of a revision's file that allows a rule."""

    rule: str
    why: str | None
    line: int


def judge(rehearsed: Rehearsed, rows: dict[str, int], rules: Iterable[Rule] = RULES) -> tuple[Finding, ...]:
    """Return the findings of one revision, waived ones marked."""
    scene = Scene(rehearsed, rows)
    found = [_finding(rule, match, rehearsed) for rule in rules for match in rule.check(scene)]
    found += _of_downgrade(rehearsed, rows)
    waivers = read_waivers(rehearsed.source)
    reasons = {waiver.rule: waiver.why for waiver in waivers if waiver.why}
    marked = [replace(one, waived=reasons.get(one.rule)) for one in found]
    marked += list(_of_waivers(waivers, {one.rule for one in found}, rehearsed))
    return tuple(sorted(marked, key=lambda one: (one.level != ERROR, one.statement or 0)))


def _of_downgrade(rehearsed: Rehearsed, rows: dict[str, int]) -> list[Finding]:
    """Return what the way down does to tables in use: warnings, for nobody takes it on an ordinary day."""
    down = next((done for done in rehearsed.passes if done.direction == "down"), None)
    if down is None:
        return []
    turned = replace(rehearsed, passes=(down,), difference=(), again=(), stopped=None)
    scene = Scene(turned, rows)
    found = [_finding(rule, match, turned) for rule in OF_DOWNGRADES for match in rule.check(scene)]
    return [
        replace(one, level=WARNING, observed=f"the downgrade: {one.observed}", statement=None, direction="down")
        for one in found
    ]


def read_waivers(source: str) -> tuple[Waiver, ...]:
    """Return the waivers in a file's comments; what a text only quotes is none."""
    found = []
    with contextlib.suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            match = _ALLOW.search(token.string) if token.type == tokenize.COMMENT else None
            if match:
                found.append(Waiver(match[1], match[2], token.start[0]))
    return tuple(found)


def _of_waivers(waivers: tuple[Waiver, ...], found: set[str], rehearsed: Rehearsed) -> Iterable[Finding]:
    known = {rule.id for rule in RULES}
    for waiver in waivers:
        if waiver.rule not in known:
            text = f"there is no rule {waiver.rule}"
        elif waiver.rule not in found:
            text = f"{waiver.rule} is allowed, and was not found"
        elif not waiver.why:
            text = f"{waiver.rule} is allowed without a reason, so it is not"
        else:
            continue
        yield Finding(
            "waiver", WARNING, "A waiver that does nothing", rehearsed.revision, rehearsed.label, rehearsed.path,
            waiver.line, None, None, text, "",
            "take the line out" if waiver.why or waiver.rule not in found else
            f"# migrator: allow {waiver.rule}: why it may stand",
        )  # fmt: skip


def _finding(rule: Rule, match: Match, rehearsed: Rehearsed) -> Finding:
    seen = rehearsed.up.observations[match.at] if match.at is not None else None
    return Finding(
        rule.id, rule.level, rule.title, rehearsed.revision, rehearsed.label, rehearsed.path,
        seen.line if seen else None, match.at, seen.sql if seen else None, match.observed, match.blocks, match.instead,
    )  # fmt: skip
