"""Backfill tables: what the ledger keeps of backfills. A range's row is the lease on it, and moves with its batches."""

from __future__ import annotations

# `revision` is null until the revision that declares it is recorded: nobody works on it before.
# A range is (cursor, upper] of one table's key: `rest` is what is not shared out yet, `walk` a part of it, `final`
# the last look over the predicate. Keys are kept as text, in the order of the key's columns.
UPGRADE = """
CREATE TABLE migrator.backfill (
    name text PRIMARY KEY, revision text, namespace text NOT NULL, relation text NOT NULL,
    assignments jsonb NOT NULL, predicate text NOT NULL, search_path text NOT NULL, batch_size int NOT NULL,
    before_serving bool NOT NULL, on_error text NOT NULL CHECK (on_error IN ('stop', 'set aside')),
    state text NOT NULL DEFAULT 'new'
        CHECK (state IN ('new', 'running', 'paused', 'failed', 'done', 'cancelled', 'reverted')),
    note text, estimate bigint, declared timestamptz NOT NULL DEFAULT clock_timestamp(),
    started timestamptz, finished timestamptz);
CREATE TABLE migrator.backfill_range (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    backfill text NOT NULL REFERENCES migrator.backfill (name) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('rest', 'walk', 'final')),
    namespace text, relation text, cursor text[], upper text[],
    rows bigint NOT NULL DEFAULT 0, seen bigint NOT NULL DEFAULT 0, batches bigint NOT NULL DEFAULT 0,
    done bool NOT NULL DEFAULT false) WITH (fillfactor = 50);
CREATE INDEX backfill_range_open ON migrator.backfill_range (backfill, id) WHERE NOT done;
CREATE TABLE migrator.backfill_worker (
    id uuid PRIMARY KEY, backfill text NOT NULL REFERENCES migrator.backfill (name) ON DELETE CASCADE,
    pid int NOT NULL, backend_start timestamptz NOT NULL, host text, started timestamptz NOT NULL DEFAULT now(),
    seen timestamptz NOT NULL DEFAULT now(), rows bigint NOT NULL DEFAULT 0, batches bigint NOT NULL DEFAULT 0,
    rate real, last_key text[], ends timestamptz, note text) WITH (fillfactor = 50);
CREATE TABLE migrator.backfill_aside (
    backfill text NOT NULL REFERENCES migrator.backfill (name) ON DELETE CASCADE,
    namespace text NOT NULL, relation text NOT NULL, key text[] NOT NULL, sqlstate text, message text,
    found timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (backfill, namespace, relation, key));
"""
