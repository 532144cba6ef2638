"""Drafting: write the revision files that lead from a throw-away database at head to the models.

What Alembic proposes, taken apart into safe steps, is a draft. It is tried, and where it does not lead to the models
and back, what it was to settle is written once more in the server's own words. What still does not is refused.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from sqlalchemy.exc import SAWarning

from lockstep.develop import autogenerate, proving
from lockstep.develop.autogenerate import comparison
from lockstep.postgres import connect
from lockstep.postgres.address import address
from lockstep.project import environment, plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.project.environment import Project
    from lockstep.settings import Settings

# As autogenerate writes it, with all options: nobody does by hand.
_MADE_SEQUENCE = re.compile(r'CREATE SEQUENCE (?:"(?:[^"]|"")*"\.)?"((?:[^"]|"")*)" AS \w+ INCREMENT BY -?\d+ MINVALUE')


def written(project: Project, settings: Settings, message: str, url: str, heads: tuple[str, ...]) -> list[Path]:
    """Write what differs; return the files in their order. Raise Refused, with nothing left behind."""
    attributes = project.config.attributes
    attributes[comparison.SEQUENCES] = _sequences(project)
    compared = proving.compare(settings, project, url)
    if not compared:
        if unmet := proving.unserved(settings, project, url, compared.ours):
            raise proving.refused(proving.Failed(proving.UNSERVED, unmet))
        return []
    engine = connect.migrating_engine(address(url), settings)
    attributes[comparison.WANTED] = compared.wanted
    paths = drafted(project, message, engine.connect, url)
    failed = proving.tried(settings, url, heads, compared) if paths else proving.leads_nowhere(compared)
    if failed:
        proving.removed(paths)
        attributes[comparison.EXACT] = frozenset(one.key for one in compared.differences)
        paths = drafted(project, message, engine.connect, url)
        failed = proving.tried(settings, url, heads, compared) if paths else failed
    if failed:
        proving.removed(paths)
        raise proving.refused(failed)
    return paths


def drafted(project: Project, message: str, connect: Callable[[], Any] | None = None, url: str = "") -> list[Path]:
    """Have Alembic write what differs on that database, taken apart into safe steps; an empty revision without one."""
    compares = connect is not None
    project.config.attributes[environment.COMPARE] = compares
    hook = autogenerate.hook if compares else None
    with warnings.catch_warnings():
        # Of types that SQLAlchemy does not know, and of what Alembic does not compare: the catalogs are compared.
        warnings.simplefilter("ignore", SAWarning)
        made = environment.command(
            project,
            lambda: plan.alembic_says(
                lambda: command.revision(
                    project.config, message, autogenerate=compares, process_revision_directives=hook
                )
            ),
            connect=connect,
            redirect=url,
            compared=autogenerate.beside if compares and project.settings.safe_autogenerate else None,
        )
    scripts = made if isinstance(made, list) else [made]
    paths = [Path(script.path) for script in scripts if script is not None]
    _format(paths)
    return paths


def _sequences(project: Project) -> frozenset[str]:
    """Return the sequences that autogenerate wrote: those it takes away again when the models lose them."""
    texts = (Path(item.path).read_text(encoding="utf-8") for item in project.script.walk_revisions())
    return frozenset(name.replace('""', '"') for text in texts for name in _MADE_SEQUENCE.findall(text))


def _format(paths: list[Path]) -> None:
    """Format what was written, where the formatter is installed (a development dependency)."""
    if paths and importlib.util.find_spec("ruff"):
        subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", *map(str, paths)], check=False)
