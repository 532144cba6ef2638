"""Models fault: say where in the models the fault is, when they cannot be made."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from lockstep.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.runtime.migration import MigrationContext

_QUOTED = re.compile(r"['\"]([^'\"]+)['\"]")


@contextlib.contextmanager
def told(context: MigrationContext) -> Iterator[None]:
    """Turn what the models cannot be made for into one line that says where, and what of."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        said = getattr(error.orig, "diag", None)
        text = (said and said.message_primary) or str(error.orig).splitlines()[0]
        hint = (said and (said.message_hint or said.message_detail)) or ""
        statement = " ".join((error.statement or "").split())[:160]
        cure = "correct the models"
        if said and getattr(error.orig, "pgcode", "") in ("42704", "42883", "3F000", "42P01", "0A000"):
            cure += (
                "; or, if it is something that a revision or the platform makes: the throw-away database lacks it, "
                "write the revision first, or give it with `throwaway_seed` in [lockstep]"
            )
        raise Usage(
            f"{place(context, text)}PostgreSQL does not take the models: {text}{f' ({hint})' if hint else ''}", cure,
            details=(f"statement: {statement}",) if statement else (),
        ) from error  # fmt: skip
    except (sa.exc.SQLAlchemyError, NotImplementedError, TypeError, AttributeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise Usage(
            f"{place(context, text)}the models cannot be made: {type(error).__name__}: {text}", "correct the models"
        ) from error


def place(context: MigrationContext, text: str) -> str:
    """Return the file and the line of the models that a message is about, as far as its names tell; else nothing."""
    given = context.config.get_main_option("models") if context.config else None
    if not given or not Path(given).is_file():
        return ""
    lines = Path(given).read_text(encoding="utf-8", errors="replace").splitlines()
    names = [name for quoted in _QUOTED.findall(text) for name in (quoted, *reversed(quoted.split(".")))]
    for name in names:
        word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
        for number, line in enumerate(lines, 1):
            if word.search(line) and not line.lstrip().startswith("#"):
                return f"{Path(given).name}:{number}: "
    return f"{Path(given).name}: "
