"""The database of the release that is attacked: its tables, and the code behind them that real schemas have."""

from __future__ import annotations

import contextlib
import os

import psycopg2
import sqlalchemy as sa
from sqlalchemy import orm

from tests.contract.attack import models, operations

# Roles are the whole server's: each process of the tests has its own, as some revisions change them for a while.
_WHO = os.environ.get("PYTEST_XDIST_WORKER", "")
ROLE, WORKER = f"attacked_app{_WHO}", f"attacked_worker{_WHO}"
BEFORE = """
CREATE EXTENSION IF NOT EXISTS citext;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE SCHEMA library;
CREATE SEQUENCE slug_seq;
CREATE FUNCTION make_slug() RETURNS text LANGUAGE sql AS $$ SELECT 's' || nextval('slug_seq') $$;
"""
AFTER = """
ALTER DOMAIN doc_kind ADD CONSTRAINT doc_kind_check CHECK (VALUE <> '');
ALTER TABLE accounts ADD COLUMN search text;
ALTER TABLE accounts ADD COLUMN spare text;
CREATE TABLE audit_log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text NOT NULL, verb text NOT NULL,
                        at timestamptz NOT NULL DEFAULT now());
CREATE TABLE unmapped (id bigint PRIMARY KEY, what text);
CREATE TABLE counters_history (key text, value integer, at timestamptz DEFAULT now());
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
  $$ DECLARE w text := TG_TABLE_NAME; BEGIN INSERT INTO audit_log (what, verb) SELECT w, TG_OP FROM (SELECT 1) x WHERE NOT EXISTS
     (SELECT FROM audit_log l WHERE w IS NULL); RETURN NULL; END $$;
CREATE TRIGGER accounts_audit AFTER INSERT OR UPDATE OR DELETE ON accounts FOR EACH ROW EXECUTE FUNCTION audit();
CREATE FUNCTION fill_account() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN NEW.code := coalesce(NEW.code, 'C' || NEW.id); NEW.search := lower(NEW.name); RETURN NEW; END $$;
CREATE TRIGGER accounts_fill BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION fill_account();
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN NEW.updated_at := clock_timestamp() AT TIME ZONE 'UTC'; RETURN NEW; END $$;
CREATE TRIGGER accounts_touch BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION keep_counter() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO counters_history VALUES (NEW.*); RETURN NULL; END $$;
CREATE TRIGGER counters_keep AFTER INSERT OR UPDATE ON counters FOR EACH ROW EXECUTE FUNCTION keep_counter();
CREATE FUNCTION account_total(a bigint) RETURNS numeric LANGUAGE sql STABLE AS
  $$ SELECT coalesce(sum(amount), 0) FROM orders WHERE account_id = a $$;
CREATE FUNCTION order_fee(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT $1 / 10 $$;
CREATE FUNCTION seen_by() RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
CREATE VIEW account_summary AS SELECT a.id AS account_id, a.email, count(o.id) AS orders
  FROM accounts a LEFT JOIN orders o ON o.account_id = a.id GROUP BY a.id;
CREATE MATERIALIZED VIEW daily_totals AS SELECT date '2024-01-01' AS day, 10::bigint AS total;
CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE TABLE readings_2024 PARTITION OF readings FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE readings_2025 PARTITION OF readings FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY notes_all ON notes USING (seen_by()) WITH CHECK (seen_by());
INSERT INTO countries VALUES ('DE', 'Germany'), ('FR', 'France');
INSERT INTO counters VALUES ('seed', 1);
"""
GRANTS = f"""
GRANT USAGE ON SCHEMA public, library TO {ROLE};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, library TO {ROLE};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public, library TO {ROLE};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {ROLE};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {ROLE};
"""
ROLES = f"""
DO $$ BEGIN CREATE ROLE {ROLE} LOGIN PASSWORD 'made-up'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE {WORKER} LOGIN PASSWORD 'made-up'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
"""
# What a revision may have done to the roles, which are the whole server's.
ROLES_AGAIN = f"""
ALTER ROLE {ROLE} LOGIN VALID UNTIL 'infinity' CONNECTION LIMIT -1 NOSUPERUSER INHERIT NOBYPASSRLS PASSWORD 'made-up';
ALTER ROLE {ROLE} RESET ALL;
ALTER ROLE ALL RESET ALL;
REVOKE {WORKER} FROM {ROLE};
GRANT EXECUTE ON FUNCTION pg_catalog.gen_random_uuid() TO PUBLIC;
"""


def make(url: str) -> None:
    """Make the release's tables, code, rights and rows in an empty database."""
    engine = sa.create_engine(_with_driver(url), poolclass=sa.NullPool)
    tables = [table for table in models.Base.metadata.tables.values() if not table.info.get("view")]
    with engine.begin() as connection:
        run(connection, ROLES + BEFORE)
        models.Base.metadata.create_all(connection, tables=tables, checkfirst=False)
        run(connection, AFTER + GRANTS)
    with engine.connect() as connection, orm.Session(connection) as session:
        operations.seed(session)
    app = sa.create_engine(_with_driver(as_app(url)), poolclass=sa.NullPool)
    failed = {name: error for name, error in operations.run(app, [1000]).items() if error}
    assert not failed, failed


def run(connection: sa.Connection, text: str) -> None:
    connection.exec_driver_sql(text, execution_options={"no_parameters": True})


def roles_again(url: str) -> None:
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(ROLES_AGAIN)


def as_app(url: str) -> str:
    """The URL of the app's role."""
    return sa.make_url(url).set(username=ROLE, password="made-up").render_as_string(hide_password=False)


def _with_driver(url: str) -> sa.URL:
    return sa.make_url(url).set(drivername="postgresql+psycopg2")
