"""`migrator checkpoint`: write what all revisions lead to as one file, from which an empty database can be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.develop import replay
from lockstep.develop.checkpoint import rows, snapshot
from lockstep.errors import EXIT_DONE, Refused
from lockstep.project import checkpoint_file, environment, plan
from lockstep.upgrade import checkpoint_sql

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.develop.checkpoint.snapshot import Snapshot
    from lockstep.project.environment import Project
    from lockstep.report import Report
    from lockstep.settings import Settings

WITHOUT = "do without one: fresh databases then get every revision in turn"


def main(settings: Settings, report: Report, _arguments: Namespace) -> int:
    """Replay the revisions twice, write what they lead to, and prove that loading it leads there too."""
    project = environment.load(settings)
    heads = plan.alembic_says(project.script.get_heads)
    if len(heads) != 1:
        raise Refused(
            f"there are {len(heads)} heads{': ' if heads else ''}{', '.join(heads)}",
            "join them with `migrator revision --merge`" if heads else "write a revision first",
        )
    named = settings.checkpoint not in ("", checkpoint_file.NONE)
    place = Path(settings.checkpoint) if named else Path(project.script.dir) / checkpoint_file.NAME
    # One replay after the other: where they share a server, two at once would meet each other's roles.
    with replay.at(settings, project) as first:
        one = first.snapshot()
    own = _own_columns(settings, project, one)
    made = checkpoint_file.Checkpoint(one.server, first.heads, first.seals, one.sql(own), own)
    partial = place.with_name(place.name + ".partial")
    partial.write_bytes(checkpoint_file.text(made).encode())
    try:
        if wrong := _unequal(settings, project, partial, one):
            raise Refused(f"a checkpoint would lead elsewhere than the revisions: {wrong[0]}", WITHOUT, details=wrong)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
    report.data |= {"file": str(place), "heads": list(made.heads), "revisions": len(made.seals), "own_columns": own}
    report.line(f"wrote      {place}: {len(made.seals)} revisions, PostgreSQL {made.server}")
    for column in own:
        report.line(f"left out   {column}: each database gets a value of its own, by the column's default")
    return report.finish(
        EXIT_DONE, "done", f"done: the checkpoint stands for {', '.join(made.heads)}; read and commit it"
    )


def findings(settings: Settings, project: Project, report: Report) -> list[str]:
    """Return what is wrong with the project's checkpoint, where it has one: replay, load and compare."""
    place = checkpoint_file.path(settings.checkpoint, project.script.dir)
    if not place:
        return []
    try:
        found = checkpoint_file.read(place)
        checkpoint_sql.require_same(found, checkpoint_sql.here(project.script, found))
        with replay.at(settings, project, found.head) as first:
            one = first.snapshot()
        wrong = _unequal(settings, project, place, one)
    except Refused as error:
        return [f"{error.message}; {error.cure}"]
    if not wrong:
        report.line(f"checked    that the checkpoint leads where its {len(found.seals)} revisions lead")
    return [
        f"the checkpoint {Path(place).name} leads elsewhere than the revisions: {text}; {checkpoint_file.ANEW}"
        for text in wrong
    ]


def _own_columns(settings: Settings, project: Project, one: Snapshot) -> tuple[str, ...]:
    """Replay once more; return the columns that are each database's own, or raise Refused."""
    with replay.at(settings, project) as second:
        other = second.snapshot()
        with snapshot.looking(second.url) as cursor:
            own = rows.own_columns(other.tables, one.tables, cursor, second.since)
    if wrong := snapshot.differences(one, other, own):
        raise Refused(f"two replays lead to different databases: {wrong[0]}", WITHOUT, details=tuple(wrong))
    return own


def _unequal(settings: Settings, project: Project, place: str, one: Snapshot) -> tuple[str, ...]:
    """Load a checkpoint into an empty database; return in which ways it is not the one that was replayed."""
    found = checkpoint_file.read(place)
    with replay.at(settings, project, found.head, checkpoint=place) as loaded:
        if not loaded.loaded:
            return (f"it is for PostgreSQL {found.server}, and cannot be tried on {one.server}",)
        return tuple(snapshot.differences(one, loaded.snapshot(), found.own))
