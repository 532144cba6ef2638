"""Env ask: ask env.py where it would connect, when no variable and no alembic.ini names the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.errors import MigratorError
from lockstep.project import environment

if TYPE_CHECKING:
    from lockstep.settings import Settings


def completed(settings: Settings) -> Settings:
    """Return the settings with the URL that env.py has itself; as they are, where it has none to tell."""
    if settings.database_url or not (settings.config or settings.alembic):
        return settings
    try:
        url = environment.asked_url(environment.load(settings))
    except MigratorError:  # as the run itself will say
        return settings
    return settings._replace(database_url=url, url_source="the URL of env.py") if url else settings
