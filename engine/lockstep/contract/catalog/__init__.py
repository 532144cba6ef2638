"""Catalog: a frozen snapshot of what the schema offers under the names that releases use."""

from __future__ import annotations

from lockstep.contract.catalog.reading import read
from lockstep.contract.catalog.refresh import Known, know, refresh
from lockstep.contract.catalog.snapshot import VERBS, Catalog, Column, Constraint, Name, NamedType, Policy, Relation

__all__ = [
    "VERBS", "Catalog", "Column", "Constraint", "Known", "Name", "NamedType", "Policy", "Relation", "know", "read",
    "refresh",
]  # fmt: skip
