"""Drift: the database and the models in, what autogenerate would still write out. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.postgres import connect
from lockstep.postgres.address import address
from lockstep.project import environment

if TYPE_CHECKING:
    from lockstep.postgres.address import Address
    from lockstep.project.environment import Project
    from lockstep.settings import Settings


def find(where: Address, settings: Settings, project: Project) -> list[str]:
    """Return each difference between a database and the project's models, in a few words."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - only a comparison needs it

    found: list[str] = []

    def work(context: Any, _arguments: dict[str, Any]) -> None:
        found.extend(map(_shown, compare_metadata(context, context.opts["target_metadata"])))

    engine = connect.migrating_engine(where, settings)
    project.config.attributes[environment.COMPARE] = True
    own = settings.database_url and address(settings.database_url, settings.url_source).dsn
    redirect = where.dsn if where.dsn != own else ""
    environment.inside(project, work, connect=engine.connect, reads=True, redirect=redirect)
    return found


def _shown(item: Any) -> str:
    """Return one difference of Alembic's in a few words."""
    first = item[0] if isinstance(item, list) else item
    names = [str(getattr(part, "name", part)) for part in first[1:] if part is not None and not isinstance(part, dict)]
    return f"{first[0]} {' '.join(names)}"[:200]
