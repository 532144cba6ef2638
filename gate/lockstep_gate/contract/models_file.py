"""Models file: one file of models, loaded alone.

The file is loaded alone, so that the migrator needs none of the app's other code. Its imports are
checked on the syntax tree first: a stray `from app.settings import ...` is named before any of it runs.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import MetaData, Table

from lockstep_gate.contract.needs import ModelsError

if TYPE_CHECKING:
    from collections.abc import Iterator

ALLOWED = frozenset(sys.stdlib_module_names) | {"sqlalchemy"}
# The module has a name while it runs, by which its annotations are resolved: two threads would share it half made.
_LOADING = threading.RLock()


def load_models(path: str | Path) -> MetaData:
    """Return the one MetaData of a models file; raise ModelsError with one clear line and the cure."""
    path = Path(path)
    source = _read(path)
    with _LOADING:
        _check_imports(path, source)
        module = _execute(path, source)
    found = {id(one): one for one in _metadatas(module)}
    # A shared base without tables of its own beside the real one is harmless.
    candidates = [one for one in found.values() if one.tables] or list(found.values())
    if not candidates:
        raise ModelsError(
            f"{path} has no MetaData and no declarative Base", "define the tables on one MetaData in this file"
        )
    if len(candidates) > 1:
        raise ModelsError(
            f"{path} has {len(candidates)} MetaData objects with tables of their own",
            "put all tables on one MetaData",
        )
    return candidates[0]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelsError(
            f"cannot read the models file {path}: {error.strerror}", "give the path of the models file"
        ) from error


def _check_imports(path: Path, source: bytes) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(source, str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise ModelsError(f"{path}:{line} is not Python: {getattr(error, 'msg', error)}", "correct the file") from error
    for line, name in _imports(tree):
        if name.split(".")[0] not in ALLOWED:
            raise ModelsError(
                f"{path}:{line} imports {name}; a models file imports SQLAlchemy and the standard library only",
                "move what the tables need into the file itself, and the rest out of it",
            )


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def _execute(path: Path, source: bytes) -> types.ModuleType:
    # Declarative resolves string annotations through sys.modules, so the module has to be there; the
    # name is private, so that it shadows nothing. No .pyc: the bytes that were digested are what runs.
    module = types.ModuleType("_release_models_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12])
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - loading them is the job
    except SystemExit as error:
        raise ModelsError(f"{path} calls sys.exit while it is imported", "a models file only defines tables") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a file may raise anything
        line = _line(error, path)
        reason = str(error).partition("\n")[0]
        raise ModelsError(
            f"{path}{line} cannot be imported: {type(error).__name__}: {reason}", "correct the file"
        ) from error
    if printed.getvalue().strip():
        first = printed.getvalue().strip().splitlines()[0]
        raise ModelsError(f"{path} prints while it is imported: {first!r}", "a models file only defines tables")
    return module


def _line(error: BaseException, path: Path) -> str:
    """`:12`, the last line of the file that the traceback passes through."""
    line, trace = "", error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    return line


def _metadatas(module: types.ModuleType) -> Iterator[MetaData]:
    for value in vars(module).values():
        if isinstance(value, MetaData):
            yield value
        elif isinstance(value, Table) or (isinstance(value, type) and value.__module__ == module.__name__):
            metadata = getattr(value, "metadata", None)
            if isinstance(metadata, MetaData):
                yield metadata
