"""Release: the names that one build of the app goes by in the ledger. Which of them comes first is decided here alone.

A release is named by the digest of its contract. Ledgers that exist hold releases named by the digest of a models
file's bytes, and engines that are out record those; so a build whose models are one file is known by both names, the
file's first. Engines that are given a contract.json or an import path record the digest of the contract's JSON without
its format, which is its last name. Whoever asks takes the first name that the ledger knows, so that either may be
recorded, now and later.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep_gate.contract import FORMAT, Contract, ModelsError

if TYPE_CHECKING:
    from collections.abc import Mapping

MODELS_FILE_FIRST = True


@dataclass(frozen=True)
class Release:
    """One build of the app: its names in the ledger, the one it prefers first, and the commit it was built from."""

    names: tuple[str, ...]
    commit: str = "unknown"

    @property
    def digest(self) -> str:
        """Return the name that it prefers."""
        return self.names[0]

    def __str__(self) -> str:
        """Return 'release sha256:3f1c7a90b5d2 (commit 0123456789ab)'."""
        kind, _, digest = self.digest.partition(":")
        return f"release {kind}:{digest[:12]} (commit {self.commit[:12]})"


def name_of_file(content: bytes) -> str:
    """Return the name of a release by the bytes of its models file."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def name_of_contract(contract: Contract) -> str:
    """Return the name of a release by its contract; the format is part of it, as another may digest otherwise."""
    return f"contract{FORMAT}:{contract.digest}"


def name_without_format(contract: Contract) -> str:
    """Return the name that the engine records for a contract that comes from no models file."""
    return f"sha256:{contract.digest}"


def names(contract: Contract | None, models_file: bytes | None = None) -> tuple[str, ...]:
    """Return every name of a release, the preferred one first."""
    by_contract = (name_of_contract(contract),) if contract is not None else ()
    by_file = (name_of_file(models_file),) if models_file is not None else ()
    without_format = (name_without_format(contract),) if contract is not None else ()
    preferred = (*by_file, *by_contract) if MODELS_FILE_FIRST else (*by_contract, *by_file)
    return (*preferred, *without_format)


def commit_of(environ: Mapping[str, str]) -> str:
    """Return the commit this process was built from: baked into the image, else the platform's, else 'unknown'."""
    return environ.get("IMAGE_COMMIT") or environ.get("RENDER_GIT_COMMIT") or "unknown"


def of(source: Any, commit: str = "unknown") -> Release:
    """Return the release of whatever says what it needs; raise ModelsError or ContractError.

    A Release or a Contract; the path of a contract.json, or of a models file (.py); `package.module:Base`; or what such
    a path leads to: a MetaData, a declarative base, a Flask-SQLAlchemy `db`, or a list of these.
    """
    if isinstance(source, Release):
        return source
    if isinstance(source, Path) or (isinstance(source, str) and source.endswith((".json", ".py"))):
        return _of_file(Path(source), commit)
    return Release(names(contract_of(source)), commit)


def contract_of(source: Any) -> Contract:
    """Return the contract of what says what a release needs, as `of` takes it; raise ModelsError or ContractError."""
    from lockstep_gate.contract import derive, models_path  # noqa: PLC0415 - they need SQLAlchemy

    if isinstance(source, Contract):
        return source
    if isinstance(source, Path) or (isinstance(source, str) and source.endswith((".json", ".py"))):
        return _contract_of_file(Path(source))
    if isinstance(source, str):
        return derive(*models_path.metadatas(source))
    found = models_path.of_value(source)
    if not found:
        raise ModelsError(f"a {type(source).__name__} says nothing of what a release needs", models_path.CURE)
    return derive(*found)


def _of_file(path: Path, commit: str) -> Release:
    is_models = path.suffix != ".json"
    return Release(names(_contract_of_file(path), _read(path) if is_models else None), commit)


def _contract_of_file(path: Path) -> Contract:
    from lockstep_gate.contract import derive, load_models  # noqa: PLC0415 - they need SQLAlchemy

    if path.suffix != ".json":
        return derive(load_models(path))
    try:
        return Contract.from_json(_read(path).decode())
    except UnicodeDecodeError:
        raise ModelsError(f"{path} is not JSON", "write it with `python -m lockstep_gate contract`") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelsError(f"cannot read {path}: {error.strerror}", "see that the path is right") from error
