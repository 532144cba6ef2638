"""Lockstep section: what a project says in `[lockstep]`, for callers that have Alembic's Config and no settings."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from lockstep.settings import project_options

if TYPE_CHECKING:
    from alembic.config import Config


def read(config: Config | None) -> dict[str, str]:
    """Return the options that are said; raise Usage where the file cannot be read or says what cannot be."""
    file = config and (config.config_file_name or getattr(config, "toml_file_name", None))
    if not config or not file or not os.path.isfile(file):  # noqa: PTH113 - a Config of Python's may name no file
        return {}
    found = project_options.read(os.path.realpath(file), config.config_ini_section)._asdict()
    return {name: value for name, value in found.items() if value}


def words(text: str | None) -> tuple[str, ...]:
    """Return the parts of an option that lists names, with commas or white space between them."""
    return tuple(part for part in re.split(r"[\s,]+", text or "") if part)
