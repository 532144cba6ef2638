"""Ledger: what was applied, when, by which commit, how long it took and waited, and which releases the schema serves.

The schema `migrator` in the same database. Runs are written on the control connection; a step's row on the
migrating connection, in the step's own transaction, so that neither can exist without the other.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from lockstep import __version__
from lockstep.errors import Refused
from lockstep.ledger import backfill_tables
from lockstep.postgres import prepared

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lockstep.errors import MigratorError
    from lockstep.postgres.control import Control

SCHEMA = "migrator"

# Additive only: an older migrator (a rollback) has to be able to work on a newer ledger.
UPGRADES: tuple[str, ...] = (
    """
    CREATE TABLE migrator.run (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        verb text NOT NULL, road text NOT NULL, commit text, version text, host text,
        started timestamptz NOT NULL DEFAULT clock_timestamp(), finished timestamptz,
        outcome text, error text, message text, revision text,
        from_heads text[], to_heads text[], ignored_releases text);
    CREATE TABLE migrator.step (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run bigint NOT NULL REFERENCES migrator.run (id),
        revision text NOT NULL,
        direction text NOT NULL CHECK (direction IN ('up', 'down', 'stamp', 'adopt')),
        state text NOT NULL CHECK (state IN ('started', 'finished')),
        seal text, message text,
        started timestamptz NOT NULL DEFAULT clock_timestamp(), finished timestamptz,
        statements int, duration_ms int, waited_ms int, attempts int,
        digests text[] NOT NULL DEFAULT '{}', uncertain bool NOT NULL DEFAULT false);
    CREATE INDEX step_revision ON migrator.step (revision, id);
    CREATE TABLE migrator.release (
        digest text PRIMARY KEY, commit text, recorded timestamptz NOT NULL DEFAULT now(),
        served_since timestamptz NOT NULL DEFAULT now(), contract jsonb, broken_by text, broken_at timestamptz);
    CREATE TABLE migrator.instance (
        id uuid PRIMARY KEY, release text NOT NULL, commit text, host text,
        started timestamptz NOT NULL DEFAULT now(), seen timestamptz NOT NULL DEFAULT now(), ended timestamptz);
    CREATE INDEX instance_release ON migrator.instance (release, seen);
    CREATE TABLE migrator.deferred (
        revision text PRIMARY KEY, since timestamptz NOT NULL DEFAULT now(),
        reason text NOT NULL, waits_for text[] NOT NULL);
    """,
    "ALTER TABLE migrator.run ADD COLUMN run_id text; CREATE INDEX run_run_id ON migrator.run (run_id);",
    """
    CREATE TABLE migrator.state (
        one bool PRIMARY KEY DEFAULT true CHECK (one), heads text[] NOT NULL, seals text NOT NULL,
        step bigint NOT NULL, rights bigint NOT NULL, noted timestamptz NOT NULL DEFAULT now());
    """,
    backfill_tables.UPGRADE,
    # What an app that never reported may need, as a run found the schema: kept while no run after it was done.
    "ALTER TABLE migrator.run ADD COLUMN found jsonb",
    # Who an instance is: the role it signs in with (told by the server itself), its driver, its tenants' schemas.
    """
    ALTER TABLE migrator.instance ADD COLUMN role text, ADD COLUMN driver text, ADD COLUMN schemas text[];
    ALTER TABLE migrator.instance ALTER COLUMN role SET DEFAULT session_user;
    CREATE TABLE migrator.unknown (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run bigint NOT NULL REFERENCES migrator.run (id),
        revision text NOT NULL, release text NOT NULL, rule text NOT NULL, place text NOT NULL,
        needs text NOT NULL, offers text NOT NULL, cure text NOT NULL,
        said timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE INDEX unknown_revision ON migrator.unknown (revision, id);
    """,
)


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


def version(control: Control) -> int:
    """Return the ledger's version in the database; 0 when there is none."""
    if control.row("SELECT to_regclass('migrator.ledger') IS NULL")[0]:
        return 0
    return int(control.row("SELECT coalesce(max(version), 0) FROM migrator.ledger")[0])


def prepare(control: Control) -> bool:
    """Make or upgrade the ledger, under the run lock; True when it is new. Raise Refused without the right."""
    have = version(control)
    if have >= len(UPGRADES):
        return False
    import psycopg2.errors  # noqa: PLC0415

    statements = [
        "CREATE SCHEMA IF NOT EXISTS migrator",
        "CREATE TABLE IF NOT EXISTS migrator.ledger (version int PRIMARY KEY, made timestamptz NOT NULL DEFAULT now())",
    ]
    for number in range(have, len(UPGRADES)):
        statements += [UPGRADES[number], f"INSERT INTO migrator.ledger (version) VALUES ({number + 1})"]  # noqa: S608 - quoted names, and texts of our own
    try:
        control.rows("BEGIN; " + "; ".join(statement.rstrip().rstrip(";") for statement in statements) + "; COMMIT")
    except psycopg2.errors.InsufficientPrivilege as error:
        control.rows("ROLLBACK")
        raise Refused(
            f"this role may not make the ledger: {error.diag.message_primary}",
            "run the migrator with the role that owns the database (GRANT CREATE ON DATABASE … TO …)",
        ) from None
    except Exception:
        if not control.raw.closed:
            control.rows("ROLLBACK")
        raise
    return have == 0


def start_run(control: Control, verb: str, road: str, commit: str, run_id: str = "") -> int:
    """Write a run's first row and return its id; runs that never ended are marked interrupted.

    Safe because the lock is held: an open row of another run can only belong to one that died.
    Both in one message, and so in one transaction.
    """
    return int(
        control.row(
            "UPDATE migrator.run SET outcome = 'interrupted', finished = clock_timestamp(), "
            "message = 'the process or its connection died; found by the next run' WHERE finished IS NULL; "
            "INSERT INTO migrator.run (verb, road, commit, version, host, run_id) "
            "VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
            (verb, road, commit, __version__, os.uname().nodename, run_id or None),
        )[0]
    )


def finish_run(
    control: Control,
    run: int,
    outcome: str,
    *,
    heads: tuple[tuple[str, ...], tuple[str, ...]],
    error: MigratorError | None = None,
    revision: str | None = None,
) -> None:
    """Write how a run ended, and between which heads."""
    control.rows(
        "UPDATE migrator.run SET finished = clock_timestamp(), outcome = %s, error = %s, message = %s, revision = %s, "
        "from_heads = %s, to_heads = %s, found = CASE WHEN %s <> 'done' THEN found END WHERE id = %s",
        (
            outcome,
            type(error).__name__ if error else None,
            error.message if error else None,
            revision,
            list(heads[0]),
            list(heads[1]),
            outcome,
            run,
        ),
    )


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
    """Prepare the word on a step's end before the first step: what happens under its locks, clients wait for."""
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


def live_instances(control: Control, retention_ms: int) -> int:
    """Return how many app instances reported within the retention time, by the database's clock."""
    if version(control) == 0:
        return 0
    return int(
        control.row(
            "SELECT count(*) FROM migrator.instance WHERE ended IS NULL "
            "AND seen > clock_timestamp() - make_interval(secs => %s)",
            (retention_ms / 1000,),
        )[0]
    )


def defer(control: Control, revisions: list[str], reason: str, waits_for: list[str]) -> None:
    """Write which revisions are held back, and for which releases; the first reason stands with its time."""
    for revision in revisions:
        control.rows(
            "INSERT INTO migrator.deferred (revision, reason, waits_for) VALUES (%s, %s, %s) "
            "ON CONFLICT (revision) DO UPDATE SET reason = excluded.reason, waits_for = excluded.waits_for",
            (revision, reason, waits_for),
        )


def forget_deferred(control: Control, *, but: list[str]) -> None:
    """Take away what is not held back any more: a later release may have left a revision out."""
    control.rows("DELETE FROM migrator.deferred WHERE revision <> ALL (%s)", (but,))


def deferred(control: Control) -> dict[str, tuple[str, Any]]:
    """Return the revisions held back, each with the reason and since when."""
    return {row[0]: (row[1], row[2]) for row in control.rows("SELECT revision, reason, since FROM migrator.deferred")}


def ignore_releases(control: Control, run: int, reason: str) -> None:
    """Write the reason an operator gave for breaking live releases."""
    control.rows("UPDATE migrator.run SET ignored_releases = %s WHERE id = %s", (reason, run))
