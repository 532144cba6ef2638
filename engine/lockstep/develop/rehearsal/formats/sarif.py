"""SARIF 2.1.0: findings for code scanning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lockstep import __version__
from lockstep.develop.rehearsal.formats.place import relative
from lockstep.develop.rehearsal.rules import RULES

if TYPE_CHECKING:
    from lockstep.develop.rehearsal.findings import Finding
    from lockstep.develop.rehearsal.rehearse import Rehearsal

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_WAIVER = {
    "id": "waiver",
    "shortDescription": {"text": "A waiver that does nothing"},
    "defaultConfiguration": {"level": "warning"},
}


def write(rehearsal: Rehearsal) -> str:
    """Return the log."""
    rules = [
        {
            "id": rule.id,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.why or rule.title},
            "defaultConfiguration": {"level": rule.level},
        }
        for rule in RULES
    ]
    driver = {"name": "migrator rehearse", "version": __version__, "rules": [*rules, _WAIVER]}
    results = [_result(finding) for finding in rehearsal.findings]
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(log, indent=2) + "\n"


def _result(finding: Finding) -> dict[str, Any]:
    parts = [finding.observed]
    parts += [f"Blocks {finding.blocks}."] if finding.blocks else []
    parts += [f"Write instead:\n{finding.instead}"] if finding.instead else []
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "level": finding.level,
        "message": {"text": "\n".join(parts)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(relative(finding.path))},
                    "region": {"startLine": finding.line or 1},
                }
            }
        ],
    }
    if finding.waived:
        result["suppressions"] = [{"kind": "inSource", "justification": finding.waived}]
    return result
