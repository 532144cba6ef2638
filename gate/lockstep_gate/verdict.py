"""Verdict: what the ledger says of a release, or why it has said nothing yet.

One question: is there a row of my release that no revision broke? Revision ids are never compared, so a schema ahead of
this release is fine for as long as it serves it.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text

from lockstep_gate import connections, exits, faults, sqlstate
from lockstep_gate.faults import Fault

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lockstep_gate.release import Release

QUESTION = text("SELECT digest, broken_by FROM migrator.release WHERE digest IN :names").bindparams(
    bindparam("names", expanding=True)
)


class State(enum.Enum):
    """What the ledger says of a release, or why it has said nothing yet."""

    SERVED = "served"
    NOT_RECORDED = "not recorded"
    BROKEN = "broken"
    NO_LEDGER = "no ledger"
    UNREACHABLE = "unreachable"
    UNREPORTED = "unreported"
    UNASKED = "unasked"


EXIT_CODES = {
    State.SERVED: exits.DONE.code,
    State.NOT_RECORDED: exits.REFUSED.code,
    State.BROKEN: exits.REFUSED.code,
    State.NO_LEDGER: exits.REFUSED.code,
    State.UNREACHABLE: exits.UNREACHABLE.code,
}
WAITABLE = (State.NOT_RECORDED, State.NO_LEDGER, State.UNREACHABLE)


@dataclass(frozen=True)
class Verdict:
    """The answer: `reason` may be shown to clients, `cure` and `detail` are for the operator.

    `name` is the one of the release's names that the ledger knows, where that is not the preferred one.
    """

    state: State
    reason: str
    cure: str = ""
    detail: str = ""
    name: str = field(default="", compare=False)

    def __str__(self) -> str:
        """Return reason, detail and cure in one line."""
        reason = f"{self.reason} ({self.detail})" if self.detail else self.reason
        return f"{reason}; {self.cure}" if self.cure else reason


SERVED = Verdict(State.SERVED, "the schema serves this release")
UNASKED = Verdict(State.UNASKED, "the ledger has not been asked yet")
NOT_RECORDED = Verdict(
    State.NOT_RECORDED,
    "the schema has not been migrated for this release",
    "run `migrator upgrade` of this release, then ask again",
)
NO_LEDGER = Verdict(
    State.NO_LEDGER,
    "the database has not been migrated: it has no ledger",
    "run `migrator upgrade` of this release, then ask again",
)


class LastVerdict:
    """The last verdict, in memory: what a request costs is one look at `is_open`."""

    def __init__(self) -> None:
        """Begin closed."""
        self.verdict = UNASKED

    @property
    def is_open(self) -> bool:
        """Whether this release may serve."""
        return self.verdict.state is State.SERVED

    def hear(self, verdict: Verdict) -> bool:
        """Take in a verdict and say whether anything changed. An outage closes no gate that is open."""
        if self.is_open and verdict.state is State.UNREACHABLE:
            return False
        changed = verdict != self.verdict
        self.verdict = verdict
        return changed


def ask(engine: Any, release: Release) -> Verdict:
    """Ask the ledger whether the schema serves a release; `engine` as Gate takes it."""
    through = connections.of(engine)
    try:
        return ask_through(through, release)
    finally:
        through.close()


def ask_through(through: connections.Connections, release: Release) -> Verdict:
    """Ask the same; whatever the database says is a verdict too."""
    try:
        return through.run(lambda connection: ask_on(connection, release))
    except Exception as error:
        if not faults.is_of_database(error):
            raise
        return of_error(error)


def ask_on(connection: Connection, release: Release) -> Verdict:
    """Ask on a connection that is there; errors of the database pass through."""
    rows = {row.digest: row.broken_by for row in connection.execute(QUESTION, {"names": list(release.names)})}
    name = next((name for name in release.names if name in rows), None)
    if name is None:
        return NOT_RECORDED
    if rows[name] is None:
        return SERVED if name == release.digest else dataclasses.replace(SERVED, name=name)
    return Verdict(
        State.BROKEN,
        f"revision {rows[name]} changed the schema in a way that this release cannot live with",
        f"deploy a newer release, or take revision {rows[name]} back with `migrator downgrade`",
        name=name,
    )


def of_error(error: Exception) -> Verdict:
    """Return what an error of the database says of a release: not reached, or not migrated."""
    detail = faults.first_line(error)
    if faults.kind(error) is not Fault.MISFIT:
        return unreachable(detail)
    if sqlstate.of(error) == sqlstate.INSUFFICIENT_PRIVILEGE:
        return Verdict(
            State.NO_LEDGER,
            "this role may not read the ledger",
            "let `migrator upgrade` grant it (MIGRATOR_APP_ROLE names the role), then ask again",
            detail,
        )
    return NO_LEDGER


def unreachable(detail: str) -> Verdict:
    """Return the verdict of a database that does not answer."""
    return Verdict(
        State.UNREACHABLE,
        "the database cannot be reached",
        "see that it runs and that DATABASE_URL is right, then ask again",
        detail,
    )
