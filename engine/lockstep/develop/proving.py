"""Proving: try revisions that were just written: they have to run, lead to the models, and come back.

They are tried on a copy of the throw-away database that they were written against. If one fails, all are removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockstep import contract
from lockstep.contract import catalog
from lockstep.develop.autogenerate import comparison, differences, ownership
from lockstep.develop.sandbox import throwaway
from lockstep.errors import MigratorError, Refused, Unreachable
from lockstep.postgres import connect
from lockstep.postgres.address import address
from lockstep.project import environment, plan, release_contract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import sqlalchemy as sa

    from lockstep.develop.autogenerate.comparison import Comparison
    from lockstep.project.environment import Project
    from lockstep.settings import Settings

SHOWN = 30  # lines of a difference
UNSERVED = "leads to the models, which need what they do not make"


@dataclass(frozen=True)
class Failed:
    """What came of a try: which one of the three it was, and the lines that show it."""

    what: str
    lines: tuple[str, ...] = ()


def compare(settings: Settings, project: Project, url: str) -> Comparison:
    """Return how a throw-away database differs from what the project's models make."""
    found: list[Comparison] = []

    def work(context: Any, _arguments: dict[str, Any]) -> None:
        found.append(comparison.made(context))
        context.connection.rollback()

    _inside(settings, project, url, work)
    return found[0]


def applied(settings: Settings, project: Project, url: str) -> None:
    """Run what is pending on a throw-away database, as Alembic alone does."""
    _inside(
        settings, project, url,
        lambda context, given: _run(context, given, lambda now: plan.upgrade_steps(project.script, now, "head")),
    )  # fmt: skip


def unserved(settings: Settings, project: Project, url: str, ours: ownership.Ours) -> tuple[str, ...]:
    """Return what the release's contract needs, and a throw-away database at head does not offer."""
    with connect.migrating_engine(address(url), settings._replace(database_url=url)).connect() as connection:
        return _unserved(connection, project, ours)


def _unserved(connection: sa.Connection, project: Project, ours: ownership.Ours) -> tuple[str, ...]:
    needed = release_contract.needed(project)
    unmet = contract.broken(needed, catalog.read(connection, needed.relations))
    return tuple(str(one) for one in unmet if one.severity == contract.ERROR and ours(one.schema, one.table))


def tried(settings: Settings, head: str, heads: tuple[str, ...], first: Comparison) -> Failed | None:
    """Run what is pending on a copy of the database at `head`, and back to `heads`; return what failed."""
    with throwaway.copied(head) as url:
        project = environment.load(settings)  # with the files that were just written
        failed: list[Failed] = []

        def work(context: Any, arguments: dict[str, Any]) -> None:
            failed.extend(_there_and_back(context, project, arguments, heads, first))

        try:
            _inside(settings, project, url, work)
        except Unreachable:
            raise
        except MigratorError as error:
            return Failed(f"does not run: {error.message}", error.details)
        return failed[0] if failed else None


def _there_and_back(
    context: Any, project: Project, arguments: dict[str, Any], heads: tuple[str, ...], first: Comparison
) -> list[Failed]:
    try:
        _run(context, arguments, lambda now: plan.upgrade_steps(project.script, now, "head"))
    except Exception as error:  # noqa: BLE001 - a revision may raise anything
        return [Failed(f"does not run: {_said(error)}")]
    compared = comparison.made(context, wanted=first.wanted)
    if compared:
        return [Failed("does not lead to the models", compared.lines())]
    if unmet := _unserved(context.connection, project, compared.ours):
        return [Failed(UNSERVED, unmet)]
    context.connection.rollback()
    target = heads[0] if heads else "base"
    try:
        _run(context, arguments, lambda now: plan.downgrade_steps(project.script, now, target))
    except Exception as error:  # noqa: BLE001 - as above
        return [Failed(f"does not come back: {_said(error)}")]
    back = comparison.read(context)
    every = {key for key in first.now.things if key.kind == "constraint"}
    lost, renamed, _ = differences.find(back, first.now, every, ownership.of(context))
    lines = [line.replace("the models make:      ", "it was before:        ") for one in lost for line in one.lines()]
    lines += [f"{one.key} was {one.name} before" for one in renamed]
    return [Failed("does not come back", tuple(lines))] if lines else []


def _run(context: Any, arguments: dict[str, Any], steps: Callable[[Any], list[Any]]) -> None:
    context._migrations_fn = lambda heads, _context: steps(heads)  # noqa: SLF001 - what Alembic's own commands set
    context.run_migrations(**arguments)
    context.connection.rollback()


def _inside(settings: Settings, project: Project, url: str, work: Callable[[Any, dict[str, Any]], None]) -> None:
    """Run env.py on a throw-away database, with the models."""
    environment.point(project, url)
    project.config.attributes |= {environment.COMPARE: True, comparison.OWN_GROUND: True}
    engine = connect.migrating_engine(address(url), settings._replace(database_url=url))
    try:
        environment.inside(project, work, connect=engine.connect, redirect=url)
    finally:
        for name in (environment.COMPARE, comparison.OWN_GROUND):
            project.config.attributes.pop(name, None)


def leads_nowhere(compared: Comparison) -> Failed:
    """Return what came of a draft with nothing in it."""
    return Failed("leads nowhere", compared.lines())


def refused(failed: Failed) -> Refused:
    """Return why nothing was written."""
    more = len(failed.lines) - SHOWN
    details = failed.lines[:SHOWN] + ((f"… and {more} more lines",) if more > 0 else ())
    return Refused(
        f"nothing was written: what autogenerate proposes {failed.what}",
        "write it by hand with `migrator revision --empty`, or change the models",
        details=details,
    )


def removed(paths: list[Path]) -> None:
    """Take written files away again."""
    for path in paths:
        path.unlink(missing_ok=True)


def _said(error: BaseException) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())[:400]
