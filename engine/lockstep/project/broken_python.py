"""Broken Python: tell from what a revision raised whether its own code is at fault.

What asks for rows, a file, a variable or the network may work elsewhere: a throw-away database has none of them. A name
that is not defined, or an argument that nothing takes, works nowhere.
"""

from __future__ import annotations

_KINDS = frozenset({
    "NameError", "UnboundLocalError", "TypeError", "AttributeError", "SyntaxError", "IndentationError", "ImportError",
    "ModuleNotFoundError", "RecursionError", "ZeroDivisionError",
    # SQLAlchemy's and Alembic's, for what cannot be said to any database
    "ArgumentError", "CompileError", "UnsupportedCompilationError", "IdentifierError", "InvalidRequestError",
    "NoReferencedTableError", "NoReferencedColumnError", "NoReferenceError", "NoForeignKeysError",
    "AmbiguousForeignKeysError", "CircularDependencyError", "ObjectNotExecutableError", "DuplicateColumnError",
    "CommandError",
})  # fmt: skip


def is_broken(kind: str, text: str) -> bool:
    """Tell by an exception's class and text; a None where a row was expected comes of the throw-away database."""
    is_given_more = kind == "TypeError" and text.startswith(("upgrade() missing", "downgrade() missing"))  # by env.py
    return kind in _KINDS and "NoneType" not in text and "MockConnection" not in text and not is_given_more
