"""Contract: the models of a release in, what it needs of the schema out, and whether the schema gives it.

`derive` reads the models, `lockstep.contract.catalog.read` the schema, and `broken` compares the two.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lockstep.contract.compare import Untouched, broken
from lockstep.contract.needs import FORMAT, Column, Contract, ContractError, ModelsError, Need, Table
from lockstep.contract.rules import ERROR, RULES, WARNING, Rule

if TYPE_CHECKING:
    from lockstep.contract.derived import derive, of_catalog
    from lockstep.contract.load import digest, load_models

__all__ = [
    "ERROR", "FORMAT", "RULES", "WARNING", "Column", "Contract", "ContractError", "ModelsError", "Need", "Rule",
    "Table", "Untouched", "broken", "derive", "digest", "load_models", "of_catalog",
]  # fmt: skip

# What reads models needs SQLAlchemy, which takes longer to load than a whole run that has nothing to derive.
_FROM_MODELS = {"derive": "derived", "of_catalog": "derived", "digest": "load", "load_models": "load"}


def __getattr__(name: str) -> Any:
    if name not in _FROM_MODELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FROM_MODELS[name]}"), name)
