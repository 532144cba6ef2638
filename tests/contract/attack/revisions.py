"""Revisions against the release: each with the verdict that is right.

`deferred`: it breaks the release, and that can be proved. `said`: it may, or it does in a way that cannot be proved. `clean`:
every operation works as before, and nothing is said. `@APP@`, `@WORKER@` and `@DB@` stand for names.
"""

from __future__ import annotations

from typing import NamedTuple

DEFERRED, SAID, CLEAN = "deferred", "said", "clean"
SUMMARY = (
    "CREATE VIEW account_summary AS SELECT a.id AS account_id, a.email, count(o.id) AS orders "
    "FROM accounts a LEFT JOIN orders o ON o.account_id = a.id GROUP BY a.id"
)


class Revision(NamedTuple):
    """One revision, or several with `-->` between them: the statements, and what is right of the last."""

    name: str
    sql: str
    right: str
    only_new: bool = False  # connections from before go on as they did
    right_before_16: str = ""  # where an older server does something else, or shows it otherwise

    @property
    def steps(self) -> list[str]:
        return self.sql.split("-->")

    def right_on(self, version: int) -> str:
        """Return the verdict that is right on a server, by its major version."""
        return self.right_before_16 if self.right_before_16 and version < 16 else self.right


def revision(name: str, right: str, *sql: str, only_new: bool = False, before_16: str = "") -> Revision:
    """Make one of statements."""
    return Revision(name, "; ".join(sql), right, only_new, before_16)


_r = revision


COLUMNS = (
    _r(
        "widen-int-to-bigint", SAID, "DROP VIEW account_summary", "ALTER TABLE orders ALTER amount TYPE bigint", SUMMARY
    ),
    _r("widen-real-to-double", SAID, "ALTER TABLE orders ALTER weight TYPE double precision"),
    _r("json-to-jsonb", SAID, "ALTER TABLE accounts ALTER raw TYPE jsonb USING raw::jsonb"),
    _r("text-to-citext", SAID, "ALTER TABLE tickets ALTER title TYPE citext"),
    _r("wider-varchar", CLEAN, "ALTER TABLE items ALTER note TYPE varchar(40)"),
    _r("varchar-to-text", CLEAN, "ALTER TABLE items ALTER note TYPE text"),
    _r(
        "collation-nondeterministic",
        DEFERRED,
        "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        "ALTER TABLE accounts ALTER nickname TYPE text COLLATE ci",
    ),
    _r("collation-c", SAID, 'ALTER TABLE accounts ALTER nickname TYPE text COLLATE "C"'),
    _r("drop-default-nullable", SAID, "ALTER TABLE accounts ALTER is_active DROP DEFAULT"),
    _r("drop-default-required", DEFERRED, "ALTER TABLE accounts ALTER slug DROP DEFAULT"),
    _r("default-to-other-label", SAID, "ALTER TABLE accounts ALTER status SET DEFAULT 'blocked'"),
    _r("default-other-time", SAID, "ALTER TABLE orders ALTER placed_at SET DEFAULT '2020-01-01'"),
    _r(
        "default-raises",
        DEFERRED,
        "CREATE FUNCTION new_ref() RETURNS uuid LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not yet'; END $$",
        "ALTER TABLE orders ALTER ref SET DEFAULT new_ref()",
    ),
    _r(
        "default-not-allowed",
        DEFERRED,
        "CREATE FUNCTION new_ref() RETURNS uuid LANGUAGE sql AS $$ SELECT gen_random_uuid() $$",
        "REVOKE EXECUTE ON FUNCTION new_ref() FROM PUBLIC",
        "ALTER TABLE orders ALTER ref SET DEFAULT new_ref()",
    ),
    _r(
        "default-too-long",
        DEFERRED,
        "ALTER TABLE accounts ALTER code TYPE varchar(12)",
        "ALTER TABLE accounts ALTER plan SET DEFAULT (1 / 0)::text",
    ),
    _r(
        "new-generated-column-not-null",
        SAID,
        "DELETE FROM items WHERE qty = 0",
        "ALTER TABLE items ADD COLUMN share integer GENERATED ALWAYS AS (100 / nullif(qty, 0)) STORED NOT NULL",
    ),
    _r(
        "new-generated-column-may-fail",
        SAID,
        "DELETE FROM items",
        "ALTER TABLE items ADD COLUMN n integer GENERATED ALWAYS AS (note::integer) STORED",
    ),
    _r(
        "generated-expression-changed",
        SAID,
        "ALTER TABLE accounts DROP COLUMN label",
        "ALTER TABLE accounts ADD COLUMN label text GENERATED ALWAYS AS (upper(name)) STORED NOT NULL",
    ),
    _r(
        "generated-made-plain",
        SAID,
        "ALTER TABLE accounts ALTER label DROP EXPRESSION",
        "ALTER TABLE accounts ALTER label DROP NOT NULL",
    ),
    _r("identity-always", SAID, "ALTER TABLE accounts ALTER id SET GENERATED ALWAYS"),
    _r("identity-dropped", DEFERRED, "ALTER TABLE accounts ALTER id DROP IDENTITY"),
    _r("new-column", CLEAN, "ALTER TABLE accounts ADD COLUMN phone text"),
    _r("new-column-with-default", CLEAN, "ALTER TABLE accounts ADD COLUMN points integer NOT NULL DEFAULT 0"),
    _r(
        "new-column-required",
        DEFERRED,
        "ALTER TABLE tickets ADD COLUMN kind text NOT NULL DEFAULT 'x'",
        "ALTER TABLE tickets ALTER kind DROP DEFAULT",
    ),
    _r(
        "new-required-column-filled-by-trigger",
        SAID,
        "ALTER TABLE accounts ADD COLUMN region text",
        "UPDATE accounts SET region = 'eu'",
        "ALTER TABLE accounts ALTER region SET NOT NULL",
        "CREATE FUNCTION fill_region() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.region := coalesce(NEW.region, 'eu'); RETURN NEW; END $$",
        "CREATE TRIGGER accounts_region BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION fill_region()",
    ),
    _r("new-column-name-of-a-joined-table", SAID, "ALTER TABLE accounts ADD COLUMN position integer"),
    _r("new-column-meets-trigger-of-new-star", SAID, "ALTER TABLE counters ADD COLUMN unit text"),
    _r("plpgsql-variable-meets-new-column", DEFERRED, "ALTER TABLE audit_log ADD COLUMN w text"),
    _r("unmapped-column-of-a-trigger-dropped", DEFERRED, "ALTER TABLE accounts DROP COLUMN search"),
    _r("unmapped-column-dropped", CLEAN, "ALTER TABLE accounts DROP COLUMN spare"),
    _r("column-of-a-trigger-target-dropped", DEFERRED, "ALTER TABLE audit_log DROP COLUMN verb"),
    _r(
        "column-of-a-trigger-target-required",
        SAID,
        "DELETE FROM audit_log",
        "ALTER TABLE audit_log ADD COLUMN who text NOT NULL",
    ),
    _r("column-of-a-called-function-renamed", DEFERRED, "ALTER TABLE orders RENAME COLUMN weight TO grams"),
    _r("column-dropped", DEFERRED, "ALTER TABLE accounts DROP COLUMN nickname"),
    _r("column-narrowed", DEFERRED, "ALTER TABLE orders ALTER position TYPE smallint"),
    _r("not-null-dropped", SAID, "ALTER TABLE tickets ALTER title DROP NOT NULL"),
    _r("required", DEFERRED, "UPDATE accounts SET nickname = ''", "ALTER TABLE accounts ALTER nickname SET NOT NULL"),
    _r(
        "statistics-and-storage",
        CLEAN,
        "ALTER TABLE accounts ALTER name SET STATISTICS 500",
        "ALTER TABLE accounts SET (fillfactor = 80)",
        "COMMENT ON TABLE accounts IS 'x'",
    ),
)
RELATIONS = (
    _r("rename-table", DEFERRED, "ALTER TABLE notes RENAME TO notes_all"),
    _r(
        "rename-table-with-view",
        SAID,
        "ALTER TABLE accounts RENAME TO customers",
        "CREATE VIEW accounts AS SELECT * FROM customers",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON accounts TO @APP@",
    ),
    _r(
        "rename-table-with-view-and-where",
        SAID,
        "ALTER TABLE notes RENAME TO notes_all",
        "CREATE VIEW notes AS SELECT * FROM notes_all WHERE text <> 't'",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO @APP@",
    ),
    _r(
        "view-with-instead-of-trigger-no-id",
        SAID,
        "ALTER TABLE tickets RENAME TO tickets_all",
        "CREATE VIEW tickets AS SELECT DISTINCT id, title FROM tickets_all",
        "CREATE FUNCTION ti() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO tickets_all VALUES (NEW.id, NEW.title); RETURN NULL; END $$",
        "CREATE TRIGGER ti INSTEAD OF INSERT OR UPDATE OR DELETE ON tickets FOR EACH ROW EXECUTE FUNCTION ti()",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON tickets TO @APP@",
    ),
    _r("drop-unmapped-audit-table", DEFERRED, "DROP TABLE audit_log"),
    _r("rename-unmapped-audit-table", DEFERRED, "ALTER TABLE audit_log RENAME TO audit_log_2"),
    _r("move-unmapped-audit-table", DEFERRED, "CREATE SCHEMA crm", "ALTER TABLE counters_history SET SCHEMA crm"),
    _r("drop-unmapped", CLEAN, "DROP TABLE unmapped"),
    _r(
        "change-unmapped",
        CLEAN,
        "ALTER TABLE unmapped ADD COLUMN n integer NOT NULL",
        "ALTER TABLE unmapped ADD CHECK (n > 0)",
        "CREATE UNIQUE INDEX ON unmapped (what)",
    ),
    _r(
        "new-table",
        CLEAN,
        "CREATE TABLE fresh (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text UNIQUE CHECK (what <> ''))",
    ),
    _r("new-table-refers", SAID, "CREATE TABLE fresh (id bigint PRIMARY KEY, account_id bigint REFERENCES accounts)"),
    _r(
        "swap-table-like-including-all",
        DEFERRED,
        "ALTER TABLE accounts RENAME TO accounts_old",
        "CREATE TABLE accounts (LIKE accounts_old INCLUDING ALL)",
        "INSERT INTO accounts (id, email, name, nickname, status, code, version) OVERRIDING SYSTEM VALUE "
        "SELECT id, email, name, nickname, status, code, version FROM accounts_old",
        "ALTER TABLE accounts ALTER code SET DEFAULT 'C'",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON accounts TO @APP@",
    ),
    _r(
        "swap-labels-identity-starts-at-1",
        DEFERRED,
        "INSERT INTO labels (name) VALUES ('a'), ('b')",
        "ALTER TABLE order_labels DROP CONSTRAINT order_labels_label_id_fkey",
        "ALTER TABLE labels RENAME TO labels_old",
        "CREATE TABLE labels (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text NOT NULL)",
        "INSERT INTO labels SELECT * FROM labels_old",
        "ALTER TABLE order_labels ADD FOREIGN KEY (label_id) REFERENCES labels ON DELETE CASCADE",
    ),
    _r("partition-detached-with-rows", SAID, "ALTER TABLE events DETACH PARTITION events_2024"),
    _r("partition-dropped", SAID, "DROP TABLE readings_2024"),
    _r("partition-default-dropped", DEFERRED, "DROP TABLE events_rest"),
    _r("partition-check-on-leaf", SAID, "ALTER TABLE events_rest ADD CONSTRAINT few CHECK (at < '2030-01-01')"),
    _r("partition-not-null-on-leaf", SAID, "ALTER TABLE events_rest ADD CONSTRAINT few CHECK (payload <> '{}')"),
    _r(
        "partition-unique-on-leaf",
        SAID,
        "DELETE FROM events_2024",
        "CREATE UNIQUE INDEX ON events_2024 (((payload ->> 'n') IS NULL))",
    ),
    _r(
        "partition-trigger-on-leaf",
        SAID,
        "CREATE FUNCTION leaf() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.at > '2030-01-01' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER leaf BEFORE INSERT ON events_rest FOR EACH ROW EXECUTE FUNCTION leaf()",
    ),
    _r(
        "partition-added",
        CLEAN,
        "CREATE TABLE readings_2026 PARTITION OF readings FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    ),
    _r(
        "partition-hash-complete",
        SAID,
        "ALTER TABLE tickets RENAME TO tickets_old",
        "CREATE TABLE tickets (LIKE tickets_old INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY HASH (id)",
        "CREATE TABLE tickets_0 PARTITION OF tickets FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "CREATE TABLE tickets_1 PARTITION OF tickets FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
        "INSERT INTO tickets SELECT * FROM tickets_old",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON tickets TO @APP@",
    ),
    _r(
        "partition-hash-incomplete",
        DEFERRED,
        "ALTER TABLE tickets RENAME TO tickets_old",
        "CREATE TABLE tickets (LIKE tickets_old INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY HASH (id)",
        "CREATE TABLE tickets_0 PARTITION OF tickets FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON tickets TO @APP@",
    ),
    _r(
        "inherits",
        SAID,
        "CREATE TABLE notes_more (extra text) INHERITS (notes)",
        "INSERT INTO notes_more VALUES (1, 'x')",
    ),
    _r(
        "view-definition-narrowed",
        SAID,
        "CREATE OR REPLACE VIEW account_summary AS SELECT a.id AS account_id, a.email, 0::bigint AS orders FROM accounts a WHERE a.id < 0",
    ),
    _r("view-dropped", SAID, "DROP VIEW account_summary"),
    _r("view-revoked", SAID, "REVOKE SELECT ON account_summary FROM @APP@"),
    _r("view-invoker", SAID, "ALTER VIEW account_summary SET (security_barrier = true)"),
    _r("view-owner", SAID, "ALTER VIEW account_summary OWNER TO @WORKER@"),
    _r("table-owner", SAID, "ALTER TABLE countries OWNER TO @WORKER@"),
    _r("view-remade", CLEAN, "DROP VIEW account_summary", SUMMARY),
    _r(
        "matview-with-no-data",
        DEFERRED,
        "DROP MATERIALIZED VIEW daily_totals",
        "CREATE MATERIALIZED VIEW daily_totals AS SELECT date '2024-01-01' AS day, 10::bigint AS total WITH NO DATA",
        "GRANT SELECT ON daily_totals TO @APP@",
    ),
    _r(
        "matview-other-rows",
        SAID,
        "DROP MATERIALIZED VIEW daily_totals",
        "CREATE MATERIALIZED VIEW daily_totals AS SELECT date '2024-01-01' AS day, 11::bigint AS total",
        "GRANT SELECT ON daily_totals TO @APP@",
    ),
    _r("matview-refreshed", CLEAN, "REFRESH MATERIALIZED VIEW daily_totals"),
    _r(
        "publication-of-table-without-key",
        DEFERRED,
        "ALTER TABLE notes DROP CONSTRAINT notes_pkey",
        "CREATE PUBLICATION p FOR TABLE notes",
    ),
    _r("publication", CLEAN, "CREATE PUBLICATION p FOR TABLE notes"),
    _r(
        "set-schema-with-search-path",
        SAID,
        "CREATE SCHEMA crm",
        "GRANT USAGE ON SCHEMA crm TO @APP@",
        "ALTER TABLE notes SET SCHEMA crm",
        "ALTER ROLE @APP@ SET search_path = public, crm",
        only_new=True,
    ),
    _r(
        "set-schema",
        DEFERRED,
        "CREATE SCHEMA crm",
        "GRANT USAGE ON SCHEMA crm TO @APP@",
        "ALTER TABLE notes SET SCHEMA crm",
    ),
    _r(
        "moved-to-schema-of-the-app-role",
        CLEAN,
        "CREATE SCHEMA @APP@",
        "GRANT USAGE ON SCHEMA @APP@ TO @APP@",
        "ALTER TABLE notes SET SCHEMA @APP@",
    ),
    _r(
        "schema-of-the-app-role-same-shape",
        DEFERRED,
        "CREATE SCHEMA @APP@",
        "GRANT USAGE ON SCHEMA @APP@ TO @APP@",
        "CREATE TABLE @APP@.counters (LIKE public.counters INCLUDING ALL)",
        "GRANT ALL ON @APP@.counters TO @APP@",
    ),
    _r("temp-table-of-the-name-harmless", CLEAN, "CREATE TEMP TABLE counters AS SELECT * FROM public.counters"),
    _r("silenced-foreign-keys", SAID, "ALTER TABLE orders DISABLE TRIGGER ALL"),
)
CONSTRAINTS = (
    _r("unique-violated", SAID, "DELETE FROM tickets", "ALTER TABLE tickets ADD CONSTRAINT one UNIQUE (title)"),
    _r("unique-index-violated", SAID, "DELETE FROM tickets", "CREATE UNIQUE INDEX one ON tickets (title)"),
    _r("exclude-violated", SAID, "DELETE FROM tickets", "ALTER TABLE tickets ADD CONSTRAINT ex EXCLUDE (title WITH =)"),
    _r("check-violated", SAID, "ALTER TABLE tickets ADD CONSTRAINT no CHECK (title <> 't') NOT VALID"),
    _r(
        "check-dropped",
        CLEAN,
        "ALTER TABLE accounts ADD COLUMN n int CHECK (n > 0)",
        "ALTER TABLE accounts DROP CONSTRAINT accounts_n_check",
    ),
    _r(
        "foreign-key-added",
        SAID,
        "ALTER TABLE subscriptions ADD FOREIGN KEY (account_id) REFERENCES accounts NOT VALID",
    ),
    _r("foreign-key-dropped", SAID, "ALTER TABLE orders DROP CONSTRAINT orders_account_id_fkey"),
    _r(
        "foreign-key-no-cascade",
        SAID,
        "ALTER TABLE orders DROP CONSTRAINT orders_account_id_fkey",
        "ALTER TABLE orders ADD CONSTRAINT orders_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts",
    ),
    _r("foreign-key-not-deferrable", SAID, "ALTER TABLE teams ALTER CONSTRAINT fk_leader NOT DEFERRABLE"),
    _r(
        "unique-not-deferrable",
        SAID,
        "ALTER TABLE orders DROP CONSTRAINT uq_orders_position",
        "ALTER TABLE orders ADD CONSTRAINT uq_orders_position UNIQUE (account_id, position)",
    ),
    _r(
        "unique-deferrable-for-on-conflict",
        SAID,
        "ALTER TABLE accounts DROP CONSTRAINT uq_accounts_email",
        "ALTER TABLE accounts ADD CONSTRAINT uq_accounts_email UNIQUE (email) DEFERRABLE",
    ),
    _r(
        "unique-constraint-to-index",
        SAID,
        "CREATE UNIQUE INDEX accounts_email ON accounts (email)",
        "ALTER TABLE accounts DROP CONSTRAINT uq_accounts_email",
    ),
    _r(
        "unique-constraint-renamed",
        SAID,
        "ALTER TABLE accounts RENAME CONSTRAINT uq_accounts_email TO accounts_email_key",
    ),
    _r("unique-dropped", SAID, "ALTER TABLE accounts DROP CONSTRAINT uq_accounts_email"),
    _r(
        "unique-partial-predicate-changed",
        SAID,
        "DROP INDEX uq_subscriptions_active",
        "CREATE UNIQUE INDEX uq_subscriptions_active ON subscriptions (account_id) WHERE active AND account_id > 0",
    ),
    _r("unique-partial-dropped", SAID, "DROP INDEX uq_subscriptions_active"),
    _r("exclude-constraint-dropped", SAID, "ALTER TABLE bookings DROP CONSTRAINT no_overlap"),
    _r(
        "primary-key-changed",
        SAID,
        "ALTER TABLE counters DROP CONSTRAINT counters_pkey",
        "ALTER TABLE counters ADD COLUMN id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
    ),
    _r("index-on-long-text", SAID, "DELETE FROM library.documents --> CREATE INDEX ON library.documents (body)"),
    _r("index-on-short-text", CLEAN, "CREATE INDEX ON accounts (name)"),
    _r("index-on-number", CLEAN, "CREATE INDEX ON orders (amount)"),
    _r("index-on-foreign-key", CLEAN, "CREATE INDEX ON orders (account_id)"),
    _r("index-on-lower", CLEAN, "CREATE INDEX ON accounts (lower(name))"),
    _r("index-expression-fails", SAID, "DELETE FROM items --> CREATE INDEX ON items ((100 / qty))"),
    _r("index-cast-fails", SAID, "DELETE FROM items --> CREATE INDEX ON items ((note::integer))"),
    _r("index-dropped", CLEAN, "CREATE INDEX byname ON accounts (name)", "DROP INDEX byname"),
)
TYPES = (
    _r("enum-label-added", SAID, "ALTER TYPE account_status ADD VALUE 'archived'"),
    _r("enum-label-renamed", DEFERRED, "ALTER TYPE account_status RENAME VALUE 'blocked' TO 'shut'"),
    _r(
        "enum-order-changed",
        SAID,
        "ALTER TABLE accounts ALTER status DROP DEFAULT",
        "ALTER TYPE account_status RENAME TO old_status",
        "CREATE TYPE account_status AS ENUM ('blocked', 'active')",
        "ALTER TABLE accounts ALTER status TYPE account_status USING status::text::account_status",
        "ALTER TABLE accounts ALTER status SET DEFAULT 'active'",
        "DROP TYPE old_status",
    ),
    _r(
        "domain-check-added",
        SAID,
        "ALTER DOMAIN doc_kind ADD CONSTRAINT known CHECK (VALUE IN ('letter', 'memo')) NOT VALID",
    ),
    _r("domain-check-dropped", SAID, "ALTER DOMAIN doc_kind DROP CONSTRAINT doc_kind_check"),
    _r("domain-not-null", SAID, "ALTER DOMAIN doc_kind SET NOT NULL"),
    _r("type-renamed", DEFERRED, "ALTER TYPE account_status RENAME TO status_of_account"),
    _r("type-usage-revoked", SAID, "REVOKE USAGE ON TYPE account_status FROM PUBLIC"),
    _r("extension-trgm-dropped", SAID, "DROP EXTENSION pg_trgm"),
    _r("extension-moved", SAID, "CREATE SCHEMA extensions", "ALTER EXTENSION pg_trgm SET SCHEMA extensions"),
    _r("cast-added", SAID, "CREATE CAST (account_status AS text) WITH INOUT AS IMPLICIT"),
    _r("new-type", CLEAN, "CREATE TYPE colour AS ENUM ('red')", "CREATE DOMAIN plain AS text"),
)
CODE = (
    _r(
        "trigger-raises",
        DEFERRED,
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$",
        "CREATE TRIGGER no BEFORE DELETE ON accounts FOR EACH ROW EXECUTE FUNCTION no()",
    ),
    _r(
        "trigger-raises-sometimes",
        SAID,
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.balance >= 0 THEN RAISE EXCEPTION 'no'; END IF; RETURN OLD; END $$",
        "CREATE TRIGGER no BEFORE DELETE ON accounts FOR EACH ROW EXECUTE FUNCTION no()",
    ),
    _r(
        "trigger-on-audit",
        SAID,
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF true THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER no BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION no()",
    ),
    _r("check-on-audit", SAID, "ALTER TABLE audit_log ADD CONSTRAINT c CHECK (verb <> 'INSERT') NOT VALID"),
    _r("unique-on-audit", SAID, "DELETE FROM audit_log", "CREATE UNIQUE INDEX ON audit_log (what)"),
    _r(
        "trigger-function-replaced-returns-null",
        SAID,
        "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := now(); RETURN NULL; END $$",
    ),
    _r(
        "trigger-function-search-path-emptied",
        DEFERRED,
        "ALTER FUNCTION audit() SET search_path = ''",
        "ALTER FUNCTION keep_counter() SET search_path = ''",
    ),
    _r("trigger-function-definer", SAID, "ALTER FUNCTION audit() SECURITY DEFINER"),
    _r("trigger-filling-dropped", DEFERRED, "DROP TRIGGER accounts_fill ON accounts"),
    _r(
        "trigger-filling-dropped-other-stays",
        DEFERRED,
        "DROP TRIGGER accounts_fill ON accounts",
        "CREATE FUNCTION idle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "CREATE TRIGGER accounts_idle BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION idle()",
    ),
    _r(
        "trigger-filling-no-more",
        DEFERRED,
        "CREATE OR REPLACE FUNCTION fill_account() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.search := ''; RETURN NEW; END $$",
    ),
    _r("trigger-disabled", SAID, "ALTER TABLE accounts DISABLE TRIGGER accounts_touch"),
    _r("trigger-dropped", SAID, "DROP TRIGGER accounts_touch ON accounts"),
    _r("trigger-renamed", SAID, "ALTER TRIGGER accounts_touch ON accounts RENAME TO touching"),
    _r(
        "default-function-replaced-raises",
        DEFERRED,
        "CREATE OR REPLACE FUNCTION make_slug() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'give a slug'; END $$",
    ),
    _r(
        "default-function-replaced",
        SAID,
        "CREATE OR REPLACE FUNCTION make_slug() RETURNS text LANGUAGE sql AS $$ SELECT 'same' $$",
    ),
    _r("default-function-revoked", DEFERRED, "REVOKE EXECUTE ON FUNCTION make_slug() FROM PUBLIC"),
    _r("default-function-sequence-dropped", DEFERRED, "DROP SEQUENCE slug_seq"),
    _r("default-function-sequence-revoked", DEFERRED, "REVOKE ALL ON SEQUENCE slug_seq FROM @APP@"),
    _r("called-function-dropped", SAID, "DROP FUNCTION account_total(bigint)"),
    _r(
        "called-function-replaced",
        SAID,
        "CREATE OR REPLACE FUNCTION order_fee(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT 1 $$",
    ),
    _r(
        "called-function-overloaded",
        SAID,
        "CREATE FUNCTION account_total(integer) RETURNS numeric LANGUAGE sql AS $$ SELECT 1.0 $$",
    ),
    _r(
        "called-function-revoked",
        SAID,
        "DROP FUNCTION order_fee(integer)",
        "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        "CREATE FUNCTION order_fee(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT $1 / 10 $$",
    ),
    _r("builtin-shadowed", SAID, "CREATE FUNCTION lower(varchar) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$"),
    _r("builtin-function-revoked", DEFERRED, "REVOKE EXECUTE ON FUNCTION pg_catalog.gen_random_uuid() FROM PUBLIC"),
    _r("function-cheaper", CLEAN, "ALTER FUNCTION account_total(bigint) COST 200"),
    _r(
        "function-renamed-and-back",
        CLEAN,
        "ALTER FUNCTION order_fee(integer) RENAME TO f",
        "ALTER FUNCTION f(integer) RENAME TO order_fee",
    ),
    _r("new-function", CLEAN, "CREATE FUNCTION fresh() RETURNS integer LANGUAGE sql AS $$ SELECT 1 $$"),
    _r("rls-policy-narrowed", SAID, "ALTER POLICY notes_all ON notes USING (text <> 't') WITH CHECK (true)"),
    _r(
        "rls-policy-function-replaced",
        SAID,
        "CREATE OR REPLACE FUNCTION seen_by() RETURNS boolean LANGUAGE sql AS $$ SELECT false $$",
    ),
    _r("rls-enabled", DEFERRED, "ALTER TABLE tickets ENABLE ROW LEVEL SECURITY"),
    _r("rls-policy-dropped", DEFERRED, "DROP POLICY notes_all ON notes"),
    _r("rls-on-audit", SAID, "ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY"),
    _r("rule-instead", DEFERRED, "CREATE RULE r AS ON INSERT TO tickets DO INSTEAD NOTHING"),
    _r(
        "event-trigger-refuses-temp",
        SAID,
        "CREATE FUNCTION ev() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF current_user = '@APP@' THEN RAISE EXCEPTION 'no DDL'; END IF; END $$",
        "CREATE EVENT TRIGGER ev ON ddl_command_start EXECUTE FUNCTION ev()",
    ),
)
SEQUENCES = (
    _r("identity-restarted", DEFERRED, "ALTER TABLE accounts ALTER id RESTART WITH 1"),
    _r("sequence-restarted", DEFERRED, "ALTER SEQUENCE ticket_seq RESTART WITH 1"),
    _r("sequence-set-back", DEFERRED, "SELECT setval('orders_id_seq', 1, false)"),
    _r("sequence-restarted-higher", CLEAN, "ALTER TABLE accounts ALTER id RESTART WITH 100000"),
    _r("sequence-descending", DEFERRED, "ALTER SEQUENCE ticket_seq INCREMENT BY -1 MINVALUE -1000 START WITH 1"),
    _r("sequence-unmapped-by-ten", SAID, "ALTER SEQUENCE invoice_no INCREMENT BY 10"),
    _r("sequence-unmapped-dropped", SAID, "DROP SEQUENCE invoice_no"),
    _r("sequence-unmapped-restarted", SAID, "ALTER SEQUENCE invoice_no RESTART WITH 1"),
    _r(
        "column-default-to-sequence-starting-at-1",
        DEFERRED,
        "CREATE SEQUENCE orders_new_seq",
        "ALTER TABLE orders ALTER id SET DEFAULT nextval('orders_new_seq')",
        "GRANT USAGE ON SEQUENCE orders_new_seq TO @APP@",
    ),
    _r(
        "column-default-to-closed-sequence",
        DEFERRED,
        "CREATE SEQUENCE orders_new_seq START 100000",
        "REVOKE ALL ON SEQUENCE orders_new_seq FROM @APP@",
        "ALTER TABLE orders ALTER id SET DEFAULT nextval('orders_new_seq')",
    ),
    _r(
        "serial-to-identity",
        DEFERRED,
        "ALTER TABLE orders ALTER id DROP DEFAULT",
        "DROP SEQUENCE orders_id_seq",
        "ALTER TABLE orders ALTER id ADD GENERATED BY DEFAULT AS IDENTITY",
    ),
    _r(
        "serial-to-identity-well",
        CLEAN,
        "ALTER TABLE labels ALTER id DROP DEFAULT",
        "DROP SEQUENCE labels_id_seq",
        "ALTER TABLE labels ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START WITH 1000)",
    ),
    _r("rows-with-keys-of-their-own", DEFERRED, "INSERT INTO notes (id, text) VALUES (1001, 'x'), (1002, 'y')"),
)
ROLES = (
    _r("revoke-connect", DEFERRED, "REVOKE CONNECT ON DATABASE @DB@ FROM PUBLIC, @APP@", only_new=True),
    _r("role-nologin", DEFERRED, "ALTER ROLE @APP@ NOLOGIN", only_new=True),
    _r("role-valid-until", DEFERRED, "ALTER ROLE @APP@ VALID UNTIL '2020-01-01'", only_new=True),
    _r("role-password", SAID, "ALTER ROLE @APP@ PASSWORD 'another'", only_new=True),
    _r("role-limit", DEFERRED, "ALTER ROLE @APP@ CONNECTION LIMIT 0", only_new=True),
    _r("role-renamed", DEFERRED, "ALTER ROLE @APP@ RENAME TO @APP@_2", only_new=True),
    _r("role-search-path", DEFERRED, "CREATE SCHEMA crm", "ALTER ROLE @APP@ SET search_path = crm", only_new=True),
    _r("role-set-role", DEFERRED, "GRANT @WORKER@ TO @APP@", "ALTER ROLE @APP@ SET role = '@WORKER@'", only_new=True),
    _r("role-statement-timeout", SAID, "ALTER ROLE @APP@ SET statement_timeout = '100ms'", only_new=True),
    _r("role-logs", CLEAN, "ALTER ROLE @APP@ SET log_min_duration_statement = 1000"),
    _r("database-read-only", DEFERRED, "ALTER DATABASE @DB@ SET default_transaction_read_only = on", only_new=True),
    _r("database-datestyle", SAID, "ALTER DATABASE @DB@ SET datestyle = 'ISO, DMY'", only_new=True),
    _r("database-timezone", SAID, "ALTER DATABASE @DB@ SET timezone = 'Asia/Tokyo'", only_new=True),
    _r(
        "database-search-path",
        DEFERRED,
        "CREATE SCHEMA crm",
        "CREATE TABLE crm.notes (id serial PRIMARY KEY, title text)",
        "GRANT USAGE ON SCHEMA crm TO @APP@",
        "GRANT ALL ON crm.notes TO @APP@",
        "ALTER DATABASE @DB@ SET search_path = crm, public",
        only_new=True,
    ),
    _r(
        "database-search-path-harmless", CLEAN, "CREATE SCHEMA crm", "ALTER DATABASE @DB@ SET search_path = public, crm"
    ),
    _r("temporary-revoked", SAID, "REVOKE TEMPORARY ON DATABASE @DB@ FROM PUBLIC"),
    _r("schema-of-functions-closed", DEFERRED, "REVOKE USAGE ON SCHEMA library FROM @APP@"),
    _r("insert-on-audit-revoked", SAID, "REVOKE INSERT ON audit_log FROM @APP@"),
    _r("other-role", CLEAN, "GRANT SELECT ON accounts TO @WORKER@"),
)
DATA = (
    _r("lookup-rows-deleted", SAID, "UPDATE orders SET country_code = NULL", "DELETE FROM countries WHERE code = 'DE'"),
    _r("truncated", SAID, "TRUNCATE events"),
    _r("unknown-word-written", SAID, "UPDATE accounts SET plan = 'trial' WHERE email = 'seed@x.org'"),
    _r("known-word-written", CLEAN, "UPDATE accounts SET plan = 'free'"),
    _r("rows-filled", CLEAN, "UPDATE accounts SET spare = name"),
    _r("rows-inserted", CLEAN, "INSERT INTO countries VALUES ('IT', 'Italy')"),
)
TRIED = (
    _r("check-refuses-label", DEFERRED, "ALTER TABLE accounts ADD CONSTRAINT c CHECK (status <> 'blocked') NOT VALID"),
    _r("check-of-all-labels", CLEAN, "ALTER TABLE accounts ADD CONSTRAINT c CHECK (status IN ('active', 'blocked'))"),
    _r("check-refuses-false", DEFERRED, "ALTER TABLE accounts ADD CONSTRAINT c CHECK (is_active) NOT VALID"),
    _r("check-of-booleans", CLEAN, "ALTER TABLE accounts ADD CONSTRAINT c CHECK (is_active IN (true, false))"),
    _r("check-shorter", DEFERRED, "ALTER TABLE accounts ADD CONSTRAINT c CHECK (length(name) <= 20) NOT VALID"),
    _r("check-of-some-texts", SAID, "ALTER TABLE accounts ADD CONSTRAINT c CHECK (name <> 'nobody') NOT VALID"),
)
REVISIONS = (*TRIED, *COLUMNS, *RELATIONS, *CONSTRAINTS, *TYPES, *CODE, *SEQUENCES, *ROLES, *DATA)
