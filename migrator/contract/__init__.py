"""Contract: the models of a release in, what it needs of the schema out, and whether the schema gives it.

`derive` reads the models, `migrator.catalog.read` the schema, and `broken` compares the two.
"""

from __future__ import annotations

from migrator.contract.compare import Untouched, broken
from migrator.contract.derived import derive, of_catalog
from migrator.contract.load import digest, load_models
from migrator.contract.needs import FORMAT, Column, Contract, ContractError, ModelsError, Need, Table
from migrator.contract.rules import ERROR, RULES, WARNING, Rule

__all__ = [
    "ERROR", "FORMAT", "RULES", "WARNING", "Column", "Contract", "ContractError", "ModelsError", "Need", "Rule",
    "Table", "Untouched", "broken", "derive", "digest", "load_models", "of_catalog",
]  # fmt: skip
