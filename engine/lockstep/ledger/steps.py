"""Steps: what became of each revision, written in the step's own transaction, so that neither is without the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lockstep.postgres import prepared

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lockstep.postgres.control import Control


class Applied(NamedTuple):
    """What became of one step; times in milliseconds."""

    revision: str
    label: str
    message: str
    direction: str
    duration_ms: int
    waited_ms: int
    attempts: int
    statements: int
    resumed: bool


class Entry(NamedTuple):
    """The last word of the ledger on a revision."""

    id: int
    revision: str
    direction: str
    state: str
    seal: str | None
    digests: tuple[str, ...] = ()
    uncertain: bool = False


_LAST_WORDS = (
    "SELECT DISTINCT ON (revision) id, revision, direction, state, seal, digests, uncertain "
    "FROM migrator.step {where} ORDER BY revision, id DESC"
)


def entries(control: Control) -> dict[str, Entry]:
    """Return the last entry of every revision the ledger knows."""
    return {row[1]: Entry(*row[:5], tuple(row[5]), row[6]) for row in control.rows(_LAST_WORDS.format(where=""))}


def entry(control: Control, revision: str) -> Entry | None:
    """Return the last entry of one revision."""
    rows = control.rows(_LAST_WORDS.format(where="WHERE revision = %s"), (revision,))
    return Entry(*rows[0][:5], tuple(rows[0][5]), rows[0][6]) if rows else None


def adopt(control: Control, run: int, seals: dict[str, str]) -> None:
    """Record revisions that were applied without the ledger, with the seals their files have now."""
    for revision, seal in seals.items():
        control.rows(
            "INSERT INTO migrator.step (run, revision, direction, state, seal, finished) "
            "VALUES (%s, %s, 'adopt', 'finished', %s, clock_timestamp())",
            (run, revision, seal),
        )


def accept_edited(control: Control, run: int, revision: str, seal: str) -> None:
    """Record the new seal of an applied revision that an operator accepted as it is now."""
    adopt(control, run, {revision: seal})


def mark_started(
    connection: Connection, run: int, revision: str, direction: str, seal: str | None, digests: list[str]
) -> int:
    """Write, in the transaction that is about to be committed, that a revision is under way; return the row's id."""
    [(row,)] = prepared.rows(
        connection,
        "INSERT INTO migrator.step (run, revision, direction, state, seal, digests) "
        "VALUES (%(run)s, %(revision)s, %(direction)s, 'started', %(seal)s, CAST(%(digests)s AS text[])) RETURNING id",
        {"run": run, "revision": revision, "direction": direction, "seal": seal, "digests": digests},
    )
    return int(row)


def forget_started(control: Control, step: int) -> None:
    """Take back that a revision is under way, where nothing of it is done."""
    control.rows(
        "DELETE FROM migrator.step WHERE id = %s AND state = 'started' AND digests = '{}' AND NOT uncertain", (step,)
    )


def is_started(connection: Connection, revision: str) -> bool:
    """Tell whether a part of the revision was done outside of this transaction."""
    asked = "SELECT 1 FROM migrator.step WHERE revision = %(revision)s AND state = 'started' LIMIT 1"
    return bool(prepared.rows(connection, asked, {"revision": revision}))


def mark_cursor(connection: Connection, step: int, digests: list[str]) -> None:
    """Write, in the transaction that is about to be committed, which statements it holds."""
    prepared.rows(
        connection,
        "UPDATE migrator.step SET digests = CAST(%(digests)s AS text[]), uncertain = false WHERE id = %(id)s",
        {"id": step, "digests": digests},
    )


def mark_statement(control: Control, step: int, digests: list[str], *, uncertain: bool) -> None:
    """Write that a statement outside a transaction begins (uncertain) or has ended."""
    control.rows("UPDATE migrator.step SET digests = %s, uncertain = %s WHERE id = %s", (digests, uncertain, step))


def mark_done(cursor: Any, step: int, digests: list[str]) -> None:
    """Write which statements are done, in the transaction of the last of them."""
    cursor.execute("UPDATE migrator.step SET digests = %s, uncertain = false WHERE id = %s", (digests, step))


# A step that took the run's own table away, or what its end is written to, must not be committed.
_END = """WITH taken AS (DELETE FROM migrator.deferred WHERE revision = $2),
there AS (SELECT finished, outcome, error, message, revision, from_heads, to_heads, found FROM migrator.run)
"""


_TYPES = ("bigint", "text", "text", "text", "text", "int", "int", "int", "int")


_FINISHED = prepared.Statement(
    "lockstep_finished",
    _TYPES,
    _END + "INSERT INTO migrator.step (run, revision, direction, state, seal, message, started, finished, statements, "
    "duration_ms, waited_ms, attempts) "
    "VALUES ($1, $2, $3, 'finished', $4, $5, now(), clock_timestamp(), $6, $7, $8, $9)",
)


_ENDED = prepared.Statement(
    "lockstep_ended",
    (*_TYPES, "bigint"),
    _END + "UPDATE migrator.step SET state = 'finished', finished = clock_timestamp(), run = $1, seal = $4, "  # noqa: S608 - texts of our own
    "message = $5, statements = $6, duration_ms = $7, waited_ms = $8, attempts = $9, uncertain = false "
    "WHERE id = $10 AND direction = $3",
)


def get_ready(connection: Connection) -> None:
    """Prepare what notes a step's end before the first step: clients wait for what is done under its locks."""
    prepared.prepare(connection, _FINISHED)
    connection.rollback()


def mark_finished(connection: Connection, row: int | None, applied: Applied, run: int, seal: str | None) -> None:
    """Write a finished step in its own transaction: a new row, or the end of the `row` that was started."""
    values = (
        run, applied.revision, applied.direction, seal, applied.message, applied.statements, applied.duration_ms,
        applied.waited_ms, applied.attempts,
    )  # fmt: skip
    statement, more = (_ENDED, (row,)) if row else (_FINISHED, ())
    prepared.prepare(connection, statement)
    statement.ask(connection, *values, *more)
