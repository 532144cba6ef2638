"""Contract: what a release needs, held against what the schema offers.

`derive` (the gate's) reads the models, `lockstep.contract.catalog.read` the schema, and `broken` compares the two.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lockstep.contract.compare import Untouched, broken
from lockstep.contract.need import Need
from lockstep.contract.rules import ERROR, RULES, WARNING, Rule
from lockstep_gate.contract import FORMAT, Column, Contract, ContractError, ModelsError, Table

if TYPE_CHECKING:
    from lockstep.contract.as_it_stands import of_catalog
    from lockstep_gate.contract import derive, load_models

__all__ = [
    "ERROR", "FORMAT", "RULES", "WARNING", "Column", "Contract", "ContractError", "ModelsError", "Need", "Rule",
    "Table", "Untouched", "broken", "derive", "load_models", "of_catalog",
]  # fmt: skip

# What reads models needs SQLAlchemy, which takes longer to load than a whole run that has nothing to derive.
_FROM_MODELS = {
    "derive": "lockstep_gate.contract",
    "load_models": "lockstep_gate.contract",
    "of_catalog": "lockstep.contract.as_it_stands",
}


def __getattr__(name: str) -> Any:
    if name not in _FROM_MODELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_FROM_MODELS[name]), name)
