"""Changes: what the property test draws: create, alter, drop, rename, replace, grant and set of each kind of object."""

from __future__ import annotations

TABLES = (
    "accounts", "orders", "items", "tickets", "notes", "counters", "labels", "countries", "subscriptions", "bookings",
    "library.documents", "events", "events_rest", "readings_2024", "order_labels", "persons", "employees", "teams",
    "audit_log", "counters_history", "unmapped", "daily_totals", "account_summary",
)  # fmt: skip
COLUMNS = (
    "id", "name", "email", "nickname", "status", "plan", "balance", "is_active", "slug", "code", "label", "version", "amount",
    "placed_at", "ref", "position", "qty", "note", "title", "text", "value", "key", "what", "verb", "spare", "search", "at",
)  # fmt: skip
FUNCTIONS = (
    "make_slug()", "audit()", "fill_account()", "touch()", "keep_counter()", "account_total(bigint)", "order_fee(integer)",
    "seen_by()",
)  # fmt: skip
SEQUENCES = ("slug_seq", "ticket_seq", "invoice_no", "orders_id_seq", "accounts_id_seq", "labels_id_seq")
CONSTRAINTS = (
    ("accounts", "uq_accounts_email"), ("orders", "uq_orders_position"), ("orders", "orders_account_id_fkey"),
    ("bookings", "no_overlap"), ("teams", "fk_leader"), ("counters", "counters_pkey"), ("countries", "countries_name_key"),
    ("order_labels", "order_labels_label_id_fkey"),
)  # fmt: skip
TRIGGERS = (
    ("accounts", "accounts_audit"), ("accounts", "accounts_fill"), ("accounts", "accounts_touch"), ("counters", "counters_keep"),
)  # fmt: skip
LITERALS = ("NULL", "'x'", "1", "0", "now()", "gen_random_uuid()", "1 / 0", "'blocked'", "true")
TYPES = ("text", "varchar(3)", "varchar(400)", "bigint", "citext", "numeric", "jsonb", "double precision")
VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")
BODIES = (
    "BEGIN RETURN NEW; END", "BEGIN RETURN NULL; END", "BEGIN RAISE EXCEPTION 'no'; END",
    "BEGIN INSERT INTO audit_log (what, verb) VALUES (TG_TABLE_NAME, TG_OP); RETURN NEW; END",
    "BEGIN IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END",
)  # fmt: skip


def _pick(options, number):
    return options[number % len(options)]


def _function(number: int) -> str:
    name = _pick(FUNCTIONS, number)
    if name in {"audit()", "fill_account()", "touch()", "keep_counter()"}:
        return (
            f"CREATE OR REPLACE FUNCTION {name} RETURNS trigger LANGUAGE plpgsql AS $$ {_pick(BODIES, number // 8)} $$"
        )
    result = {"make_slug()": "text", "seen_by()": "boolean", "order_fee(integer)": "integer"}.get(name, "numeric")
    arguments = "(a bigint)" if name.startswith("account_total") else name[name.index("(") :]
    body = _pick(("SELECT NULL", "SELECT (1 / 0)::text", "SELECT '1'"), number // 8)
    return f"CREATE OR REPLACE FUNCTION {name.split('(')[0]}{arguments} RETURNS {result} LANGUAGE sql AS $$ {body}::{result} $$"


CHANGES = {
    "add column": lambda t, c, n: f"ALTER TABLE {t} ADD COLUMN {_pick((c, 'fresh', 'position', 'w'), n)} text",
    "add column with default": lambda t, c, n: f"ALTER TABLE {t} ADD COLUMN fresh integer NOT NULL DEFAULT {_pick(('0', '7'), n)}",
    "add generated": lambda t, c, n: f"ALTER TABLE {t} ADD COLUMN fresh text GENERATED ALWAYS AS ({c}::text) STORED",
    "drop column": lambda t, c, n: f"ALTER TABLE {t} DROP COLUMN {c}{_pick(('', ' CASCADE'), n)}",
    "rename column": lambda t, c, n: f"ALTER TABLE {t} RENAME COLUMN {c} TO renamed",
    "type": lambda t, c, n: f"ALTER TABLE {t} ALTER {c} TYPE {_pick(TYPES, n)} USING {c}::text::{_pick(TYPES, n)}",
    "collation": lambda t, c, n: f'ALTER TABLE {t} ALTER {c} TYPE text COLLATE "{_pick(("C", "POSIX"), n)}"',
    "default": lambda t, c, n: f"ALTER TABLE {t} ALTER {c} SET DEFAULT {_pick(LITERALS, n)}",
    "drop default": lambda t, c, n: f"ALTER TABLE {t} ALTER {c} DROP DEFAULT",
    "not null": lambda t, c, n: f"ALTER TABLE {t} ALTER {c} {_pick(('SET', 'DROP'), n)} NOT NULL",
    "identity": lambda t, c, n: f"ALTER TABLE {t} ALTER id {_pick(('SET GENERATED ALWAYS', 'DROP IDENTITY', 'RESTART WITH 1', 'RESTART WITH 900000'), n)}",
    "drop table": lambda t, c, n: f"DROP TABLE {t}{_pick(('', ' CASCADE'), n)}",
    "rename table": lambda t, c, n: f"ALTER TABLE {t} RENAME TO renamed",
    "move table": lambda t, c, n: f"CREATE SCHEMA crm; ALTER TABLE {t} SET SCHEMA crm",
    "table to view": lambda t, c, n: f"ALTER TABLE {t} RENAME TO beneath; CREATE VIEW {t} AS SELECT * FROM beneath{_pick(('', ' WHERE false'), n)}",
    "create table": lambda t, c, n: "CREATE TABLE fresh (id integer PRIMARY KEY, name text)",
    "inherit": lambda t, c, n: f"CREATE TABLE fresh () INHERITS ({t})",
    "detach": lambda t, c, n: f"ALTER TABLE {_pick(('events DETACH PARTITION events_2024', 'events DETACH PARTITION events_rest', 'readings DETACH PARTITION readings_2024'), n)}",
    "check": lambda t, c, n: f"ALTER TABLE {t} ADD CHECK ({c}::text <> '{_pick(('t', 'INSERT', 'zzz'), n)}') NOT VALID",
    "unique": lambda t, c, n: f"CREATE UNIQUE INDEX ON {t} ({c})",
    "index": lambda t, c, n: f"CREATE INDEX ON {t} ({_pick((c, f'lower({c}::text)', f'length({c}::text)'), n)})",
    "drop constraint": lambda t, c, n: "ALTER TABLE {} DROP CONSTRAINT {}".format(*_pick(CONSTRAINTS, n)),
    "rename constraint": lambda t, c, n: "ALTER TABLE {} RENAME CONSTRAINT {} TO renamed".format(*_pick(CONSTRAINTS, n)),
    "refer": lambda t, c, n: f"CREATE TABLE fresh (id bigint REFERENCES {t})",
    "drop trigger": lambda t, c, n: "DROP TRIGGER {1} ON {0}".format(*_pick(TRIGGERS, n)),
    "disable trigger": lambda t, c, n: "ALTER TABLE {} DISABLE TRIGGER {}".format(*_pick(TRIGGERS, n)),
    "create trigger": lambda t, c, n: (
        f"CREATE FUNCTION fresh() RETURNS trigger LANGUAGE plpgsql AS $$ {_pick(BODIES, n)} $$; CREATE TRIGGER fresh "
        f"{_pick(('BEFORE', 'AFTER'), n // 5)} {_pick(VERBS[1:], n)} ON {t} FOR EACH ROW EXECUTE FUNCTION fresh()"
    ),
    "rule": lambda t, c, n: f"CREATE RULE fresh AS ON {_pick(VERBS[1:], n)} TO {t} DO {_pick(('INSTEAD', 'ALSO'), n // 3)} NOTHING",
    "replace function": lambda t, c, n: _function(n),
    "drop function": lambda t, c, n: f"DROP FUNCTION {_pick(FUNCTIONS, n)}{_pick(('', ' CASCADE'), n // 8)}",
    "rename function": lambda t, c, n: f"ALTER FUNCTION {_pick(FUNCTIONS, n)} RENAME TO renamed",
    "function settings": lambda t, c, n: f"ALTER FUNCTION {_pick(FUNCTIONS, n)} {_pick(('COST 5', 'SECURITY DEFINER', chr(83) + 'ET search_path = pg_catalog'), n // 8)}",
    "create function": lambda t, c, n: f"CREATE FUNCTION {_pick(('fresh', 'order_fee', 'lower'), n)}(text) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$",
    "sequence": lambda t, c, n: f"ALTER SEQUENCE {_pick(SEQUENCES, n)} {_pick(('RESTART WITH 1', 'INCREMENT BY 3', 'CACHE 5', 'INCREMENT BY -1 MINVALUE -9', 'RESTART WITH 700000'), n // 6)}",
    "set sequence": lambda t, c, n: f"SELECT setval('{_pick(SEQUENCES, n)}', {_pick((1, 600000), n // 6)})",
    "drop sequence": lambda t, c, n: f"DROP SEQUENCE {_pick(SEQUENCES, n)}{_pick(('', ' CASCADE'), n // 6)}",
    "revoke": lambda t, c, n: f"REVOKE {_pick(VERBS, n)} ON {t} FROM @APP@",
    "revoke function": lambda t, c, n: f"REVOKE EXECUTE ON FUNCTION {_pick(FUNCTIONS, n)} FROM PUBLIC",
    "revoke sequence": lambda t, c, n: f"REVOKE ALL ON SEQUENCE {_pick(SEQUENCES, n)} FROM @APP@",
    "revoke schema": lambda t, c, n: f"REVOKE USAGE ON SCHEMA {_pick(('library', 'public'), n)} FROM @APP@, PUBLIC",
    "grant": lambda t, c, n: f"GRANT {_pick((*VERBS, 'TRUNCATE'), n)} ON {t} TO {_pick(('@APP@', '@WORKER@'), n)}",
    "row security": lambda t, c, n: f"ALTER TABLE {t} {_pick(('ENABLE', 'DISABLE'), n)} ROW LEVEL SECURITY",
    "policy": lambda t, c, n: f"ALTER POLICY notes_all ON notes USING ({_pick(('true', 'false', chr(105) + 'd > 5'), n)})",
    "enum": lambda t, c, n: f"ALTER TYPE account_status {_pick(('RENAME VALUE ' + chr(39) + 'active' + chr(39) + ' TO ' + chr(39) + 'on' + chr(39), 'RENAME TO renamed'), n)}",
    "domain": lambda t, c, n: f"ALTER DOMAIN doc_kind {_pick(('SET NOT NULL', 'ADD CHECK (length(VALUE) < 3) NOT VALID', 'DROP CONSTRAINT doc_kind_check'), n)}",
    "view": lambda t, c, n: f"CREATE OR REPLACE VIEW account_summary AS SELECT id AS account_id, email, {_pick((0, 1), n)}::bigint AS orders FROM accounts",
    "extension": lambda t, c, n: f"DROP EXTENSION {_pick(('pg_trgm', 'citext'), n)}",
    "schema of the role": lambda t, c, n: f"CREATE SCHEMA @APP@; GRANT USAGE ON SCHEMA @APP@ TO @APP@; CREATE TABLE @APP@.{t} (LIKE {t} INCLUDING ALL); GRANT ALL ON @APP@.{t} TO @APP@",
    "rows": lambda t, c, n: _pick((f"DELETE FROM {t}", f"UPDATE {t} SET {c} = {c}", f"TRUNCATE {t} CASCADE"), n),
}  # fmt: skip
NAMES = tuple(CHANGES)


def sql(change: tuple[str, int, int, int]) -> str:
    """The statements of one drawn change."""
    name, table, column, number = change
    return CHANGES[name](_pick(TABLES, table), _pick(COLUMNS, column), number)
