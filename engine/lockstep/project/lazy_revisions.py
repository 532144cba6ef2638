"""Lazy revisions: give Alembic the history from a manifest, and load a revision file when it is to be run.

Of a thousand revisions a deploy runs one or two; loading all the others would be most of its work.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from alembic.script import Script
from alembic.script.revision import RevisionMap
from alembic.util import load_python_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from alembic.script import ScriptDirectory

_TOLD = ("revision", "down_revision", "depends_on", "branch_labels", "__doc__")


class LazyRevision(ModuleType):
    """A revision file that stands for itself until one of its functions is asked for."""

    def __init__(self, path: Path, told: dict[str, Any], load: Callable[[Path], ModuleType]) -> None:
        """Take what the file is known to say of its place in the history, and how to load it."""
        super().__init__(path.stem)
        self.__dict__.update(told, __file__=str(path))
        self.__load: Callable[[Path], ModuleType] | None = load
        self.__error: BaseException | None = None

    def __getattr__(self, name: str) -> Any:
        """Load the file, for a name that it may have given to something: everything in it is there from then on."""
        if not name.startswith("_"):
            self.__read()
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"{self.__dict__['__file__']} has no {name}") from None

    def __read(self) -> None:
        """Load the file once; what was raised by it is raised again, for it is not run a second time."""
        if self.__error:
            raise self.__error
        if self.__load:
            load, self.__load = self.__load, None
            try:
                self.__dict__.update(load(Path(self.__dict__["__file__"])).__dict__)
            except BaseException as error:
                self.__error = error
                raise


def described(scripts: Iterable[Script], beside: Path) -> str:
    """Return what files say of their places in the history, as JSON; their paths as seen from a directory."""
    return json.dumps(
        [[os.path.relpath(item.path, beside), *(_said(item.module, name) for name in _TOLD)] for item in scripts]
    )


def _said(module: ModuleType, name: str) -> str | list[str] | None:
    value = getattr(module, name, None)
    return value if value is None or isinstance(value, str) else list(value)


def put_in(script: ScriptDirectory, told: str, beside: Path, load: Callable[[Path], ModuleType]) -> None:
    """Let Alembic take the history from what is told, not from the files; `load` loads one of them."""
    scripts = [_script(beside, load, *one) for one in json.loads(told)]
    script.revision_map = RevisionMap(lambda: scripts)


def _script(beside: Path, load: Callable[[Path], ModuleType], name: str, *values: Any) -> Script:
    told = {word: tuple(value) if isinstance(value, list) else value for word, value in zip(_TOLD, values, strict=True)}
    path = (beside / name).resolve()
    return Script(LazyRevision(path, told, load), told["revision"], path)


def of_file(path: Path) -> ModuleType:
    """Load a revision file as Alembic does."""
    return load_python_file(path.parent, path.name)
