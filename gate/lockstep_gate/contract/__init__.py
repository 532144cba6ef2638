"""Contract: what a release needs of the schema, derived from its models, as canonical JSON whose digest names it.

Holding it against what a schema offers is the engine's.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lockstep_gate.contract.needs import FORMAT, Column, Contract, ContractError, ModelsError, Table

if TYPE_CHECKING:
    from lockstep_gate.contract.derivation import derive
    from lockstep_gate.contract.models_file import load_models

__all__ = ["FORMAT", "Column", "Contract", "ContractError", "ModelsError", "Table", "derive", "load_models"]

# What reads models needs SQLAlchemy, which takes longer to load than a whole run that has nothing to derive.
_FROM_MODELS = {"derive": "derivation", "load_models": "models_file"}


def __getattr__(name: str) -> Any:
    if name not in _FROM_MODELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FROM_MODELS[name]}"), name)
