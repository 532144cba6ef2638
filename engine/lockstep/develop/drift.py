"""Drift: how a database's catalog differs from what the models make. Changes nothing.

What the models make is read from a throw-away database that the revisions have brought to head. Where none can be had,
as in an image without PostgreSQL's binaries, Alembic's own comparison has to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.develop import proving, replay
from lockstep.develop.autogenerate import comparison
from lockstep.errors import Usage
from lockstep.postgres import connect
from lockstep.postgres.address import address
from lockstep.project import environment

if TYPE_CHECKING:
    from lockstep.develop.autogenerate.comparison import Comparison
    from lockstep.develop.autogenerate.definitions import Definitions
    from lockstep.postgres.address import Address
    from lockstep.project.environment import Project
    from lockstep.settings import Settings


def find(where: Address, settings: Settings, project: Project) -> tuple[list[str], list[str]]:
    """Return each difference between a database and the project's models, and tables that nobody of ours made."""
    try:
        with replay.at(settings, project) as replayed:
            compared = proving.compare(settings, project, replayed.url)
    except Usage as missing:
        if "throw-away" not in missing.message:
            raise
        return _by_alembic(where, settings, project), []
    found: list[Comparison] = []
    _inside(where, settings, project, lambda context: found.append(comparison.made(context, wanted=compared.wanted)))
    return _told(found[0], compared.now)


def _told(found: Comparison, by_revisions: Definitions) -> tuple[list[str], list[str]]:
    strangers = {
        one.key[1:3] for one in found.differences
        if one.key.kind == "table" and one.wanted is None and one.key not in by_revisions.things
    }  # fmt: skip
    lines = [one.line() for one in found.differences if one.key[1:3] not in strangers]
    lines += [f"{one.key} is called {one.name} in the models" for one in found.renamed]
    return lines, [".".join(filter(None, place)) for place in sorted(strangers, key=str)]


def _by_alembic(where: Address, settings: Settings, project: Project) -> list[str]:
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - only this comparison needs it

    found: list[str] = []

    def work(context: Any) -> None:
        found.extend(map(_shown, compare_metadata(context, context.opts["target_metadata"])))

    _inside(where, settings, project, work)
    return found


def _inside(where: Address, settings: Settings, project: Project, work: Any) -> None:
    engine = connect.migrating_engine(where, settings)
    own = settings.database_url and address(settings.database_url, settings.url_source).dsn
    redirect = where.dsn if where.dsn != own else ""
    project.config.attributes[environment.COMPARE] = environment.READS
    try:
        environment.inside(
            project, lambda context, _: work(context), connect=engine.connect, reads=True, redirect=redirect
        )
    finally:
        project.config.attributes.pop(environment.COMPARE, None)


def _shown(item: Any) -> str:
    """Return one difference of Alembic's in a few words."""
    first = item[0] if isinstance(item, list) else item
    names = [str(getattr(part, "name", part)) for part in first[1:] if part is not None and not isinstance(part, dict)]
    return f"{first[0]} {' '.join(names)}"[:200]
