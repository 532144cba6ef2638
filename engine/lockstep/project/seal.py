"""Seal: a digest of what a revision file means, by which an edit of an applied revision is noticed.

It is taken over the syntax tree, so that a comment, a format, a docstring, a type annotation or a licence header never
breaks it and a changed statement always does. The tree is written out by our own walk: `ast.dump` differs between
Python versions.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
from typing import TYPE_CHECKING

from lockstep.errors import StepFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_KIND = "ast1:"
_SEAL = re.compile(f"{_KIND}[0-9a-f]{{64}}")
_IGNORED_FIELDS = {"ctx", "kind", "type_comment", "type_params", "returns", "annotation", "type_ignores"}
_known: dict[str, str] = {}
_TYPING_MODULES = {"typing", "collections.abc", "__future__", "typing_extensions"}


def of_file(path: Path) -> str:
    """Return the seal of a revision file; raise StepFailed when it is not Python."""
    found = path.stat()
    return _of_file(path, found.st_mtime_ns, found.st_size)


@functools.cache
def _of_file(path: Path, _changed_ns: int, _size: int) -> str:
    """Return it once per content: a run asks more than once, and a syntax tree takes a while."""
    return of_source(path.read_bytes(), path.name)


def of_source(source: bytes, name: str = "revision") -> str:
    """Return 'ast1:' and a digest of the normalised syntax tree."""
    if known := _known.get(digest_of(source)):
        return known
    try:
        written = _written(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        text = " ".join(str(error).split())
        raise StepFailed(f"{name} is not valid Python: {text}", "correct the file") from None
    return _KIND + hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()


def digest_of(source: bytes) -> str:
    """Return what `know` knows the seal of a file by."""
    return hashlib.sha256(source).hexdigest()


def know(seals: Mapping[str, str]) -> None:
    """Take the seals of files by the digests of their bytes, as a manifest has them: a syntax tree takes a while.

    Those that were made in another way are left out.
    """
    _known.update({digest: one for digest, one in seals.items() if _SEAL.fullmatch(one)})


def _written(node: object) -> str:
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        node = ast.Assign(targets=[node.target], value=node.value)  # an annotation means nothing when it runs
    if isinstance(node, ast.AST):
        fields = ((name, _written(_without_docstring(node, name, value))) for name, value in ast.iter_fields(node)
                  if name not in _IGNORED_FIELDS and value is not None)  # fmt: skip
        return f"{type(node).__name__}({','.join(f'{name}={text}' for name, text in fields if text != '[]')})"
    if isinstance(node, list):
        return "[" + ",".join(_in_order(node)) + "]"
    return f"{type(node).__name__}:{node!r}"


def _in_order(nodes: list[object]) -> list[str]:
    """Return the items of a list, without noise, neighbouring imports sorted: a formatter moves them."""
    if nodes and isinstance(nodes[0], ast.alias):
        return sorted(map(_written, nodes))
    written: list[str] = []
    imports: list[str] = []
    for node in nodes:
        if _is_noise(node):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(_written(node))
            continue
        written += [*sorted(imports), _written(node)]
        imports = []
    return written + sorted(imports)


def _without_docstring(node: ast.AST, name: str, value: object) -> object:
    holder = isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    if holder and name == "body" and isinstance(value, list) and value and _is_text(value[0]):
        return value[1:]
    return value


def _is_text(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_noise(node: object) -> bool:
    """Tell whether a statement does nothing when the file runs: imports for annotations, bare annotations, pass."""
    if isinstance(node, ast.ImportFrom):
        return node.module in _TYPING_MODULES
    if isinstance(node, ast.Import):
        return all(item.name in _TYPING_MODULES for item in node.names)
    if isinstance(node, ast.If):
        guard = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", "")
        return guard == "TYPE_CHECKING" and not node.orelse
    if isinstance(node, ast.AnnAssign):
        return node.value is None
    return isinstance(node, ast.Pass)
