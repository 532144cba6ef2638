"""Judge: what of a scene breaks a release, and what is unknown. Every change is claimed by a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lockstep.contract.footprint.rules import RULES
from lockstep.contract.footprint.scene import BREAKS, HARMLESS, UNKNOWN, Match, Rule
from lockstep.contract.need import Need
from lockstep.contract.rules import ERROR, WARNING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lockstep.contract.footprint.scene import Scene
    from lockstep.contract.footprint.things import Change

# What no rule claims: it is never silent.
UNFORESEEN = Rule(
    "unforeseen", UNKNOWN, "A change that no rule knows", "", "try the release on it before it goes out", (),
    lambda _scene, _change: iter(()), bad="CREATE CAST (int AS short_text) WITH INOUT AS IMPLICIT",
)  # fmt: skip


class Found(NamedTuple):
    """One finding, and the relation it is about; 0 where it concerns every release."""

    need: Need
    owner: int


def judge(scene: Scene, rules: Iterable[Rule] = RULES) -> tuple[Found, ...]:
    """Ask every rule; what breaks comes first. Harmless ones are asked of what no other has claimed."""
    rules = tuple(rules)
    telling = [rule for rule in rules if rule.verdict != HARMLESS]
    found: list[tuple[Rule, Match]] = []
    if scene.has_changed:
        found += [(rule, match) for rule in telling if not rule.kinds for match in rule.check(scene, None)]  # type: ignore[arg-type]
    for change in scene.changes:
        claimed = [
            (rule, match) for rule in telling if change.kind in rule.kinds for match in rule.check(scene, change)
        ]  # type: ignore[arg-type]
        if not claimed and not _is_harmless(scene, change, rules):
            claimed = [(UNFORESEEN, _unforeseen(change))]
        found += claimed
    seen: dict[Need, Found] = {}
    for rule, match in found:
        made = _need(scene, rule, match)
        seen.setdefault(made.need, made)
    return tuple(sorted(seen.values(), key=lambda one: one.need.severity != ERROR))


def _is_harmless(scene: Scene, change: Change, rules: tuple[Rule, ...]) -> bool:
    return any(
        next(iter(rule.check(scene, change)), None)  # type: ignore[arg-type]
        for rule in rules
        if rule.verdict == HARMLESS and change.kind in rule.kinds
    )


def _unforeseen(change: Change) -> Match:
    word = "changed" if change.before and change.after else "new" if change.after else "gone"
    return Match(change.thing, f"the {change.kind} as it was", word, change.thing.owner)


def _need(scene: Scene, rule: Rule, match: Match) -> Found:
    verdict = match.verdict or rule.verdict
    relation = (
        scene.before.relations.get(match.owner) if match.owner in scene.mapped_before else None
    ) or scene.relation(match.owner)
    if relation is not None:
        schema, table, column = relation.schema, relation.name, match.column
    elif match.thing is not None:
        schema, table, column = match.thing.schema or None, match.thing.name or match.thing.kind, None
    else:
        schema, table, column = None, "session", None
    severity = ERROR if verdict == BREAKS else WARNING
    owner = match.owner if match.owner and scene.is_mapped(match.owner) else 0
    return Found(Need(rule.id, severity, schema, table, column, match.needs, match.offers, rule.cure), owner)
