"""Plan: which revisions a run applies, in which order, from where the database is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.errors import Refused, Usage
from lockstep.project import seal

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.script import Script, ScriptDirectory

    from lockstep.ledger.steps import Entry


@dataclass(frozen=True)
class Step:
    """One revision to run in one direction; `alembic` is Alembic's own step, which knows how."""

    revision: str
    message: str
    direction: str  # up | down
    path: Path
    seal: str
    alembic: Any

    @property
    def label(self) -> str:
        """Return the name a person reads: the slug of the file, or the revision id."""
        return slug(self.path, self.revision)


@dataclass(frozen=True)
class Plan:
    """What is there and what is to be done; `ahead` holds revisions of the database that have no file here."""

    heads: tuple[str, ...]
    steps: tuple[Step, ...]
    ahead: tuple[str, ...] = ()

    @property
    def target_heads(self) -> tuple[str, ...]:
        """Return the revisions this plan brings, the last first."""
        return tuple(step.revision for step in self.steps[-1:])


def slug(path: Path, revision: str) -> str:
    """Return what a person calls a revision: its file's name without date and id."""
    rest = path.stem.partition(revision)[2].lstrip("_-")
    return rest or (path.stem if revision in path.stem else f"{path.stem} ({revision})")


def make(script: ScriptDirectory, heads: tuple[str, ...], steps_of: Callable[[], list[Any]]) -> Plan:
    """Return the plan from `heads`; `steps_of` asks Alembic for its steps. Raise Refused or Usage."""
    ahead = tuple(head for head in heads if not _known(script, head))
    if ahead:
        return Plan(heads, (), ahead)
    return Plan(heads, tuple(_step(item) for item in alembic_says(steps_of)))


def upgrade_steps(script: ScriptDirectory, heads: tuple[str, ...], target: str) -> list[Any]:
    """Return Alembic's steps up to a target; with more than one head and no target named, raise Refused."""
    ends = script.get_heads()
    if target == "head" and len(ends) > 1:
        raise Refused(
            f"there are {len(ends)} heads: {', '.join(ends)}",
            'join them with `migrator revision --merge -m "join heads"` (Alembic: merge heads), or name one of them',
        )
    return list(script._upgrade_revs(target, heads))  # noqa: SLF001 - what alembic.command.upgrade itself calls


def downgrade_steps(script: ScriptDirectory, heads: tuple[str, ...], target: str) -> list[Any]:
    """Return Alembic's steps down to a target."""
    try:
        return list(script._downgrade_revs(target, heads))  # noqa: SLF001
    except AttributeError as error:  # Alembic asks each file for it, and takes one that has none for a bug
        raise Refused(
            f"a revision on the way down has no downgrade: {' '.join(str(error).split())}",
            "write `def downgrade()` in it, or restore a backup",
        ) from None


def alembic_says(ask: Callable[[], Any]) -> Any:
    """Return what Alembic answers, its own errors turned into ours."""
    from alembic.util import CommandError  # noqa: PLC0415

    try:
        return ask()
    except CommandError as error:
        if cure := getattr(error, "cure", None):  # autogenerate's own Refusal: it knows what to write instead
            raise _refused(error.message, cure) from None
        text = " ".join(str(error).split())
        if "more than one" in text.lower() or "Multiple head" in text:
            raise Refused(text, "name one head, or join them with `alembic merge heads`") from None
        raise Usage(text, "`migrator history` and `alembic history` list the revisions") from None


def _refused(message: str, cure: str) -> Refused:
    """Return a refusal of autogenerate's as ours; several at once are listed before the last line."""
    lines = tuple(line for line in cure.splitlines() if line)
    if len(lines) > 1:
        return Refused(message.rstrip("."), "change the models as said above", details=lines)
    return Refused(message.rstrip("."), cure.rstrip("."))


def check_seals(applied: list[Script], entries: dict[str, Entry], accepted: str | None) -> dict[str, str]:
    """Return the seals to record: of applied revisions the ledger has none of, and of the `accepted` one.

    Raises Refused where another applied revision was edited since.
    """
    missing: dict[str, str] = {}
    edited: list[str] = []
    for revision in applied:
        current = seal.of_file(Path(revision.path))
        known = entries.get(revision.revision)
        back = known is not None and known.direction == "down" and known.state == "finished"  # and stamped since
        if known is None or known.seal is None or back or revision.revision == accepted:
            missing[revision.revision] = current
        elif known.seal != current and known.state == "finished":
            edited.append(f"{slug(Path(revision.path), revision.revision)} ({revision.revision})")
    if edited:
        raise Refused(
            f"applied revisions were edited since: {', '.join(edited)}",
            "put the files back and write a new revision; if the change means nothing, --accept-edited REV records it",
        )
    return missing


def refuse_half_taken_back(applied: list[Script], entries: dict[str, Entry]) -> None:
    """Raise Refused where a downgrade was cut off outside a transaction: Alembic's table does not tell."""
    for revision in applied:
        known = entries.get(revision.revision)
        if known and (known.direction, known.state) == ("down", "started"):
            raise Refused(
                f"{slug(Path(revision.path), revision.revision)} is half taken back: a downgrade of it was cut off",
                "finish that with `migrator downgrade` first",
            )


def applied_revisions(script: ScriptDirectory, heads: tuple[str, ...]) -> list[Script]:
    """Return the revisions at and below the heads, newest first."""
    if not heads:
        return []
    return [item for item in script.iterate_revisions(heads, "base", implicit_base=True, inclusive=True) if item]


def seals(script: ScriptDirectory, heads: tuple[str, ...]) -> dict[str, str]:
    """Return the seals that the files of the revisions at and below the heads have."""
    return {item.revision: seal.of_file(Path(item.path)) for item in applied_revisions(script, heads)}


def _step(item: Any) -> Step:
    revision = item.revision
    path = Path(revision.module.__file__)
    return Step(
        revision.revision, revision.doc or "", "up" if item.is_upgrade else "down", path, seal.of_file(path), item
    )


def _known(script: ScriptDirectory, head: str) -> bool:
    from alembic.util import CommandError  # noqa: PLC0415

    try:
        return script.get_revision(head) is not None
    except CommandError:
        return False
