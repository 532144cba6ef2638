"""Release contract: where what this release needs comes from, and the digest that names the release.

In this order: `contract` (written when the image was built), `models` as a file, `models` as something to import, and
the target_metadata of env.py, once env.py has run. The digest of a models file is that of its bytes, as the app that
holds the same file takes it; every other one is that of the canonical JSON.
"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep import contract
from lockstep.errors import MigratorError, Usage
from lockstep.settings import project_options
from lockstep_gate.release import name_of_file, name_without_format

if TYPE_CHECKING:
    from sqlalchemy import MetaData

    from lockstep.contract import Contract
    from lockstep.project.environment import Project
    from lockstep.settings import Settings

NOTHING = contract.Contract(())


def needed(project: Project) -> Contract:
    """Return what this release needs of the schema; nothing where no models are known. Raises Usage or Refused."""
    if not project.settings.contract and project.models:
        return _of_models(project.models, project.models.read_bytes() if project.models.is_file() else b"")
    return _from_json_or_metadata(project) or NOTHING


@functools.lru_cache(maxsize=1)
def _of_models(path: Path, _text: bytes) -> Contract:
    """Derive a contract; once for a file as it is: a verb asks several times, and many models take seconds."""
    return contract.derive(contract.load_models(path))


def digest(project: Project) -> str | None:
    """Return 'sha256:…', which names this release; None where no models are known."""
    if not project.settings.contract and project.models:
        return name_of_file(project.models.read_bytes()) if project.models.is_file() else None
    found = _from_json_or_metadata(project)
    return name_without_format(found) if found else None


def is_imported(project: Project) -> bool:
    """Tell whether what the release needs comes from modules that are imported, whose files nobody has listed."""
    if project.settings.contract or project.models:
        return False
    return bool(project.settings.models) or _from_json_or_metadata(project) is not None


def is_declared(project: Project) -> bool:
    """Tell whether the project itself says what it needs, so that what it says has to be right."""
    return bool(project.settings.contract or project.settings.models)


def _from_json_or_metadata(project: Project) -> Contract | None:
    known = project.configured
    if "contract" not in known or (not is_declared(project) and known.get("derived_of") is not _metadata(project)):
        known |= {"contract": _found(project), "derived_of": _metadata(project)}
    found: Contract | None = known["contract"]
    return found


def _found(project: Project) -> Contract | None:
    if project.settings.contract:
        return _of_file(Path(project.settings.contract))
    if project.settings.models:
        return _joined(_imported(project.settings.models))
    # What env.py compares with is not written to be a contract: where none can be made of it, there is none.
    with contextlib.suppress(MigratorError):
        from lockstep_gate.contract import models_path  # noqa: PLC0415 - a run with nothing to do needs no SQLAlchemy

        return _joined(models_path.of_value(_metadata(project)), project.configured.get("include_object"))
    return None


def _metadata(project: Project) -> Any:
    return project.configured.get("target_metadata")


def _of_file(path: Path) -> Contract:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", error)
        raise Usage(f"the contract {path} cannot be read: {reason}", "write it when the image is built") from None
    return contract.Contract.from_json(text)


def compared(settings: Settings) -> Any:
    """Return the MetaData that the models declare, as Alembic compares it: one, or a list."""
    if not project_options.is_attribute(settings.models):
        return contract.load_models(settings.models)
    return list(_imported(settings.models))


def _imported(models: str) -> tuple[MetaData, ...]:
    """Return each MetaData that `package.module:attribute` leads to, as the gate finds it; raise Usage without one."""
    from lockstep_gate.contract import models_path  # noqa: PLC0415 - a run with nothing to do needs no SQLAlchemy

    try:
        return models_path.metadatas(models)
    except contract.ModelsError as error:
        raise Usage(
            f"models = {models}: {error.message}",
            "correct it, or add where it lies to prepend_sys_path in alembic.ini",
        ) from error


def _joined(models: tuple[MetaData, ...], include: Any = None) -> Contract | None:
    """Return one contract of all tables that the migrations make; None where there are none."""
    derived = contract.derive(*models)
    left_out = {
        (table.schema, table.name) for one in models for table in one.tables.values() if not _is_made(include, table)
    }
    kept = tuple(table for table in derived.tables if (table.schema, table.name) not in left_out)
    return contract.Contract(kept, derived.sequences) if kept or derived.sequences else None


def _is_made(include: Any, table: Any) -> bool:
    """Tell whether env.py's include_object leaves a table to the migrations."""
    if include is None:
        return True
    try:
        return bool(include(table, table.name, "table", False, None))
    except Exception:  # noqa: BLE001 - somebody else's, written for another moment
        return True
