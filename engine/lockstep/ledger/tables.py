"""Tables: the ledger's tables, version by version, in the schema `migrator` of the database that is migrated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.errors import Refused
from lockstep.ledger import backfill_tables

if TYPE_CHECKING:
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
