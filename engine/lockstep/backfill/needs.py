"""Needs: which unfinished backfills have to be done before a step.

A step needs a backfill when it names the backfill's table and does to it what existing rows could mind: VALIDATE, SET
NOT NULL, a unique index, a change of type, a drop. Adding a column, a plain index or a NOT VALID constraint minds
nothing. What cannot be known before it runs is taken to need it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lockstep.backfill.declare import NEEDS
from lockstep.project import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.backfill.store import Backfill
    from lockstep.project.environment import Project
    from lockstep.project.plan import Step

_HARMLESS = {"CommentStmt", "GrantStmt", "CreateStatsStmt", "TransactionStmt", "VariableSetStmt", "CreateTrigStmt"}
_HARMLESS_PARTS = {
    "AT_AddColumn", "AT_ColumnDefault", "AT_DropNotNull", "AT_SetOptions", "AT_SetStatistics", "AT_SetStorage",
    "AT_SetRelOptions", "AT_ResetRelOptions", "AT_EnableTrig", "AT_DisableTrig", "AT_ReplicaIdentity",
}  # fmt: skip
_NAMED = re.compile(rf"^{re.escape(NEEDS)}(.+)$", re.MULTILINE)


def of(
    project: Project, step: Step, unfinished: list[Backfill], fills: Callable[[Backfill], set[str]]
) -> list[Backfill]:
    """Return which of some unfinished backfills a step needs finished before it runs; `fills` tells their tables."""
    if not unfinished or step.direction != "up":
        return []
    sql = render.step(project, step).sql
    if sql is None:
        return unfinished
    named = {name.strip() for name in _NAMED.findall(sql)}
    minded = _tables_minded(sql)
    return [item for item in unfinished if item.name in named or minded is None or fills(item) & minded]


def _tables_minded(sql: str) -> set[str] | None:
    """Return the tables that some SQL does something to that existing rows could mind; None where nobody can tell."""
    import pgparse  # noqa: PLC0415 - a run with no backfill never needs it

    try:
        statements = [next(iter(node["stmt"].items())) for node in pgparse.parse(sql)]
    except (pgparse.PGQueryError, ValueError):
        return None
    minded: set[str] = set()
    for kind, body in statements:
        if not _is_harmless(kind, body):
            minded |= _relations(body)
    return minded


def _is_harmless(kind: str, body: dict[str, Any]) -> bool:
    if kind == "IndexStmt":
        return not body.get("unique") and not body.get("primary")
    if kind == "AlterTableStmt":
        return all(_is_harmless_part(item.get("AlterTableCmd", {})) for item in body.get("cmds", []))
    return kind in _HARMLESS


def _is_harmless_part(command: dict[str, Any]) -> bool:
    if command.get("subtype") == "AT_AddConstraint":
        return bool(command.get("def", {}).get("Constraint", {}).get("skip_validation"))
    return command.get("subtype") in _HARMLESS_PARTS


def _relations(node: Any) -> set[str]:
    """Return the names of all tables below a node, and what DROP names."""
    if isinstance(node, dict):
        found = {node["relname"]} if isinstance(node.get("relname"), str) else set()
        if isinstance(node.get("sval"), str):  # DROP TABLE names its tables as a list of strings
            found.add(node["sval"])
        return found.union(*(_relations(value) for value in node.values()))
    return set().union(*(_relations(item) for item in node)) if isinstance(node, list) else set()
