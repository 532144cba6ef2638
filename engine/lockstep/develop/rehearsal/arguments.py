"""Arguments: the flags of `migrator rehearse`, each with its environment variable."""

# ruff: noqa: ISC004 - the help texts are longer than a line

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

# flag, destination, metavar (None: a switch), variable, default, help
_FLAGS = (
    ("--from", "start", "REV", "MIGRATOR_REHEARSE_FROM", "", "rehearse what comes after this revision; `base`: all"),
    ("--to", "end", "REV", "MIGRATOR_REHEARSE_TO", "head", "the last revision to rehearse"),
    ("--against", "against", "REF", "MIGRATOR_REHEARSE_AGAINST", "", "rehearse what this git ref does not have; "
     "default: the main branch, else the last revision"),
    ("--rows", "rows", "N", "MIGRATOR_REHEARSE_ROWS", "10000", "rows to make up in each table that is touched"),
    ("--seed", "seed", "FILE", "MIGRATOR_REHEARSE_SEED", "", "SQL that fills the database before made-up rows do"),
    ("--shadow-url", "shadow_url", "URL", "MIGRATOR_SHADOW_URL", "", "a server where databases may be made; "
     "default: one from the wheel, started for this"),
    ("--format", "format", "NAME", "MIGRATOR_REHEARSE_FORMAT", "text", "text, markdown, json, github or sarif"),
    ("--html", "html", "FILE", "MIGRATOR_REHEARSE_HTML", "", "write a page to look at, too"),
    ("--load", "load", None, "MIGRATOR_REHEARSE_LOAD", "", "apply the revisions again under readers and writers, "
     "and measure how long these wait"),
    ("--long-transaction", "long_transaction", "TIME", "MIGRATOR_REHEARSE_LONG_TRANSACTION", "",
     "with a transaction held open that long (implies --load)"),
    ("--compare", "compare", None, "MIGRATOR_REHEARSE_COMPARE", "", "the same with plain Alembic (implies --load)"),
)  # fmt: skip


def add(sub: argparse.ArgumentParser) -> None:
    """Add the flags to the verb's parser."""
    for flag, name, metavar, variable, default, text in _FLAGS:
        given = os.environ.get(variable, "")
        told = f"{text} (env: {variable}{f'; default {default}' if default else ''})"
        if metavar is None:
            on = given.strip().lower() in {"1", "true", "yes", "on"}
            sub.add_argument(flag, dest=name, action="store_true", default=on, help=told)
        else:
            sub.add_argument(flag, dest=name, metavar=metavar, default=given or default, help=told)
