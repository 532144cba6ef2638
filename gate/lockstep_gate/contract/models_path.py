"""Models path: `package.module:Base` and its like, imported, and every MetaData found at it.

At the path may stand a MetaData, a declarative base or any mapped class, SQLModel, a Table, a Flask-SQLAlchemy `db`,
or a list of these; several paths are joined by commas. Without a `:attribute` it is whatever the module has.
"""

from __future__ import annotations

import importlib
import operator
from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData

from lockstep_gate.contract.needs import ModelsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

CURE = (
    "give it as package.module:Base, where Base is a declarative base, a MetaData, SQLModel, or Flask-SQLAlchemy's db"
)


def metadatas(path: str) -> tuple[MetaData, ...]:
    """Return each MetaData that a path leads to, once; raise ModelsError where there is none."""
    found: dict[int, MetaData] = {}
    for part in path.split(","):
        here = list(_at(part.strip()))
        if not here:
            raise ModelsError(f"there is no MetaData at {part.strip()}", CURE)
        found |= {id(one): one for one in here}
    with_tables = tuple(one for one in found.values() if one.tables)
    if not with_tables:
        raise ModelsError(
            f"the MetaData at {path} has no table", "name the module that defines the tables, or one that imports it"
        )
    return with_tables


def _at(path: str) -> Iterator[MetaData]:
    name, colon, attributes = path.partition(":")
    if not name or (colon and not attributes):
        raise ModelsError(f"{path!r} leads to no models", CURE)
    value: Any = _imported(name)
    if not colon:
        return _in_module(value)
    try:
        return _of(operator.attrgetter(attributes)(value))
    except AttributeError:
        raise ModelsError(f"{name} has no {attributes}", CURE) from None


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModelsError(
            f"{name} cannot be imported: there is no module {error.name}",
            "run this where the app is importable: from its top directory, or installed",
        ) from error
    except (Exception, SystemExit) as error:  # a module may raise anything
        reason = str(error).partition("\n")[0]
        raise ModelsError(f"{name} cannot be imported: {type(error).__name__}: {reason}", "correct it") from error


def _in_module(module: ModuleType) -> Iterator[MetaData]:
    for value in vars(module).values():
        if isinstance(value, MetaData):
            yield value
        elif isinstance(value, type) or hasattr(value, "metadatas"):
            yield from _of(value)


def _of(value: Any) -> Iterator[MetaData]:
    if isinstance(value, MetaData):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _of(one)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            yield from _of(one)
    elif isinstance(getattr(value, "metadatas", None), dict):  # Flask-SQLAlchemy 3: one for each bind
        yield from _of(value.metadatas)
    elif isinstance(getattr(value, "metadata", None), MetaData):
        yield value.metadata


def of_value(value: Any) -> tuple[MetaData, ...]:
    """Return each MetaData that a value stands for, once; none where it stands for none."""
    return tuple({id(one): one for one in _of(value)}.values())
