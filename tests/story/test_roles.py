"""Two roles: the app's may read and write rows, report itself, and nothing else."""

from __future__ import annotations

import contextlib

import psycopg2
import pytest
from sqlalchemy import make_url

from local.story import place as places
from lockstep.develop.sandbox import embedded
from lockstep.postgres.address import address
from lockstep.postgres.control import Control
from lockstep.upgrade import grants
from tests.story.rig import sql, written

DENIED = {"42501"}
# Every kind of statement that changes a schema, a role or what others may do: none of them may go through as the app.
DDL = """
CREATE SCHEMA s
CREATE SCHEMA AUTHORIZATION CURRENT_USER
CREATE TABLE t (id int)
CREATE TABLE migrator.t (id int)
CREATE TEMPORARY TABLE t (id int)
CREATE UNLOGGED TABLE t (id int)
CREATE TABLE t AS SELECT 1 AS one
CREATE TABLE t (LIKE users)
SELECT * INTO t FROM users
CREATE VIEW v AS SELECT 1 AS one
CREATE TEMPORARY VIEW v AS SELECT 1 AS one
CREATE MATERIALIZED VIEW v AS SELECT 1 AS one
CREATE SEQUENCE s
CREATE TEMPORARY SEQUENCE s
CREATE INDEX ON users (name)
CREATE INDEX CONCURRENTLY ON users (name)
CREATE TYPE t AS ENUM ('a')
CREATE TYPE t AS (a int)
CREATE DOMAIN d AS int
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'
CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'
CREATE AGGREGATE a (int) (sfunc = int4pl, stype = int)
CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq)
CREATE CAST (text AS int) WITH INOUT
CREATE COLLATION c (locale = 'C')
CREATE CONVERSION c FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1
CREATE TEXT SEARCH CONFIGURATION c (copy = simple)
CREATE TEXT SEARCH DICTIONARY d (template = simple)
CREATE STATISTICS s ON name, email FROM users
CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()
CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION suppress_redundant_updates_trigger()
CREATE RULE r AS ON INSERT TO users DO INSTEAD NOTHING
CREATE POLICY p ON users
CREATE EXTENSION citext
CREATE LANGUAGE plpython3u
CREATE FOREIGN DATA WRAPPER w
CREATE SERVER s FOREIGN DATA WRAPPER w
CREATE PUBLICATION p
CREATE PUBLICATION p FOR TABLE users
CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p
CREATE ACCESS METHOD a TYPE TABLE HANDLER heap_tableam_handler
CREATE DATABASE d
CREATE TABLESPACE t LOCATION '/tmp'
CREATE ROLE r
ALTER TABLE users ADD COLUMN extra int
ALTER TABLE users DROP COLUMN name
ALTER TABLE users ALTER COLUMN name DROP NOT NULL
ALTER TABLE users RENAME TO people
ALTER TABLE users RENAME COLUMN name TO title
ALTER TABLE users ENABLE ROW LEVEL SECURITY
ALTER TABLE users DISABLE TRIGGER ALL
ALTER TABLE users OWNER TO CURRENT_USER
ALTER TABLE users SET SCHEMA migrator
ALTER INDEX ix_users_organisation_id RENAME TO i
ALTER SEQUENCE users_id_seq RESTART
ALTER SCHEMA public RENAME TO s
ALTER SCHEMA migrator OWNER TO CURRENT_USER
ALTER DATABASE {database} SET work_mem = '1MB'
ALTER DATABASE {database} OWNER TO CURRENT_USER
ALTER ROLE {owner} PASSWORD 'x'
ALTER ROLE CURRENT_USER SUPERUSER
ALTER ROLE CURRENT_USER CREATEROLE
ALTER ROLE CURRENT_USER BYPASSRLS
ALTER ROLE ALL SET work_mem = '1MB'
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO PUBLIC
ALTER SYSTEM SET work_mem = '1MB'
DROP TABLE users
DROP TABLE migrator.release
DROP INDEX ix_users_organisation_id
DROP SEQUENCE users_id_seq
DROP SCHEMA public CASCADE
DROP SCHEMA migrator CASCADE
DROP ROLE {owner}
DROP OWNED BY {owner}
REASSIGN OWNED BY {owner} TO CURRENT_USER
SET ROLE {owner}
SET SESSION AUTHORIZATION {owner}
GRANT {owner} TO CURRENT_USER
COMMENT ON TABLE users IS 'mine'
TRUNCATE users
TRUNCATE migrator.instance
REINDEX TABLE users
REFRESH MATERIALIZED VIEW v
COPY users TO PROGRAM 'true'
COPY users TO '/tmp/users'
SELECT setval('users_id_seq', 1)
SELECT * FROM migrator.alembic_version
UPDATE migrator.alembic_version SET version_num = ''
DELETE FROM migrator.alembic_version
INSERT INTO migrator.release (digest) VALUES ('x')
UPDATE migrator.release SET broken_by = NULL
DELETE FROM migrator.release
INSERT INTO migrator.run (verb, road) VALUES ('x', 'x')
UPDATE migrator.run SET outcome = 'done'
DELETE FROM migrator.run
INSERT INTO migrator.step (run, revision, direction, state) VALUES (1, 'x', 'up', 'finished')
UPDATE migrator.step SET seal = ''
DELETE FROM migrator.step
INSERT INTO migrator.deferred (revision, reason, waits_for) VALUES ('x', 'x', '{{}}')
UPDATE migrator.deferred SET reason = ''
DELETE FROM migrator.deferred
INSERT INTO migrator.ledger (version) VALUES (99)
UPDATE migrator.ledger SET version = 99
DELETE FROM migrator.ledger
BEGIN; LOCK TABLE migrator.release IN ACCESS EXCLUSIVE MODE
CREATE USER u
CREATE GROUP g
CREATE USER MAPPING FOR CURRENT_USER SERVER s
IMPORT FOREIGN SCHEMA s FROM SERVER s INTO public
CREATE OPERATOR CLASS c FOR TYPE int USING btree AS STORAGE int
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION int4in(cstring))
ALTER FUNCTION pg_catalog.pg_sleep(double precision) RENAME TO s
ALTER TYPE int4 OWNER TO CURRENT_USER
ALTER EXTENSION plpgsql UPDATE
ALTER TABLE users ADD CONSTRAINT c CHECK (id > 0)
ALTER TABLE users INHERIT organisations
ALTER TABLE users REPLICA IDENTITY FULL
ALTER TABLE users SET (fillfactor = 50)
ALTER TABLE users ALTER COLUMN name SET STATISTICS 5
DROP DATABASE {database}
DROP EXTENSION plpgsql
CLUSTER users USING users_pkey
LOAD 'x'
COPY users FROM PROGRAM 'true'
COPY users FROM '/etc/passwd'
COPY migrator.alembic_version FROM STDIN
DO $$ BEGIN EXECUTE 'DROP TABLE users'; END $$
DO LANGUAGE plpgsql 'BEGIN CREATE TABLE t (); END'
SELECT set_config('role', '{owner}', false)
SELECT set_config('session_authorization', '{owner}', false)
SELECT pg_catalog.lo_import('/etc/passwd')
SELECT pg_catalog.pg_read_file('PG_VERSION')
SELECT pg_catalog.pg_ls_dir('.')
SELECT pg_catalog.pg_reload_conf()
SELECT pg_catalog.pg_switch_wal()
SELECT rolpassword FROM pg_catalog.pg_authid
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()
UPDATE pg_catalog.pg_class SET relname = 'x'
DELETE FROM pg_catalog.pg_attribute
MERGE INTO migrator.release r USING users u ON true WHEN MATCHED THEN DELETE
WITH d AS (DELETE FROM migrator.step RETURNING 1) SELECT * FROM d
EXPLAIN ANALYZE DELETE FROM migrator.step
"""
# These fail for want of what they name, whoever asks; that they fail is all that counts.
NOT_THERE = {"42704", "42P01", "55000", "0A000"}


@pytest.fixture(scope="module")
def migrated(migrated_once):
    """A database migrated for release 1, the app's role made on the way."""
    return migrated_once


@contextlib.contextmanager
def session(place, user):
    with contextlib.closing(psycopg2.connect(place.url(user))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


@pytest.mark.parametrize("statement", DDL.strip().splitlines())
def test_the_apps_role_cannot(migrated, statement):
    with session(migrated, migrated.app) as cursor, pytest.raises(psycopg2.Error) as refused:
        cursor.execute(statement.format(owner=migrated.owner, database=migrated.name))
    assert refused.value.pgcode in DENIED | NOT_THERE, refused.value


def test_the_apps_role_has_its_rights_on_the_ledger_and_no_other(migrated):
    tables = migrated.rows(
        "SELECT c.relname, min(a.attname) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
        "WHERE c.relnamespace = 'migrator'::regnamespace AND c.relkind = 'r' GROUP BY 1"
    )
    may = set()
    with contextlib.closing(psycopg2.connect(migrated.url(migrated.app))) as connection, connection.cursor() as cursor:
        for table, column in tables:
            for verb, statement in (
                ("SELECT", f"SELECT FROM migrator.{table}"),
                ("INSERT", f"INSERT INTO migrator.{table} DEFAULT VALUES"),
                ("UPDATE", f'UPDATE migrator.{table} SET "{column}" = DEFAULT'),
                ("DELETE", f"DELETE FROM migrator.{table}"),
                ("TRUNCATE", f"TRUNCATE migrator.{table} CASCADE"),
                ("ALTER", f"ALTER TABLE migrator.{table} ADD COLUMN mine int"),
                ("DROP", f"DROP TABLE migrator.{table} CASCADE"),
            ):
                try:
                    cursor.execute(statement)
                except psycopg2.errors.InsufficientPrivilege:
                    pass
                except psycopg2.Error:
                    may.add((table, verb))  # it got as far as the rows
                else:
                    may.add((table, verb))
                connection.rollback()
    reads = {(table, "SELECT") for table in ("release", "run", "step", "instance", "deferred")}
    assert may == reads | {("instance", verb) for verb in ("INSERT", "UPDATE", "DELETE")}


def test_the_apps_role_reads_and_writes_rows_and_reports_itself(migrated):
    with session(migrated, migrated.app) as cursor:
        cursor.execute("INSERT INTO users (email, name) VALUES ('a@example.org', 'a')")
        cursor.execute("UPDATE users SET name = 'b'")
        cursor.execute("SELECT name FROM users")
        assert cursor.fetchall() == [("b",)]
        cursor.execute("DELETE FROM users")
        cursor.execute("INSERT INTO migrator.instance (id, release) VALUES (gen_random_uuid(), 'x')")
        cursor.execute("DELETE FROM migrator.instance")
        cursor.execute("SELECT count(*) FROM migrator.release")


def test_check_has_no_right_to_report_after_an_upgrade(migrated, first):
    done = first.migrator(migrated, "check")
    assert done.code == 0, done.out + done.err
    assert f"checked    the rights of {migrated.app}" in done.out


# A right, what takes it back, and what is reported of it, as a superuser would give them by mistake.
TOO_MANY = """
GRANT TRUNCATE ON users TO {app} | REVOKE TRUNCATE ON users FROM {app} | may TRUNCATE public.users
GRANT TRIGGER ON users TO {app} | REVOKE TRIGGER ON users FROM {app} | may TRIGGER public.users
GRANT REFERENCES (id) ON users TO {app} | REVOKE REFERENCES (id) ON users FROM {app} | may REFERENCES public.users
GRANT UPDATE ON users_id_seq TO {app} | REVOKE UPDATE ON users_id_seq FROM {app} | may UPDATE public.users_id_seq
GRANT UPDATE (broken_by) ON migrator.release TO {app} | REVOKE UPDATE (broken_by) ON migrator.release FROM {app} | \
may UPDATE migrator.release
GRANT DELETE ON migrator.alembic_version TO {app} | REVOKE ALL ON migrator.alembic_version FROM {app} | \
may DELETE migrator.alembic_version
GRANT SELECT ON users TO PUBLIC | REVOKE SELECT ON users FROM PUBLIC | like everybody, may SELECT public.users
GRANT SELECT ON users TO {app} WITH GRANT OPTION | REVOKE GRANT OPTION FOR SELECT ON users FROM {app} | \
may pass on SELECT on public.users
GRANT CREATE ON SCHEMA public TO PUBLIC | REVOKE CREATE ON SCHEMA public FROM PUBLIC | may CREATE in schema public
GRANT CREATE ON DATABASE {name} TO {app} | REVOKE CREATE ON DATABASE {name} FROM {app} | may CREATE in the database
GRANT TEMPORARY ON DATABASE {name} TO PUBLIC | REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC | \
may TEMPORARY in the database
ALTER ROLE {app} CREATEDB | ALTER ROLE {app} NOCREATEDB | may create databases
ALTER ROLE {app} BYPASSRLS | ALTER ROLE {app} NOBYPASSRLS | bypasses row level security
ALTER ROLE {app} SUPERUSER | ALTER ROLE {app} NOSUPERUSER | is a superuser
GRANT pg_read_all_data TO {app} | REVOKE pg_read_all_data FROM {app} | is a member of pg_read_all_data
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f OWNER TO {app} | DROP FUNCTION f | \
owns function public.f()
""".replace("\\\n", "")


@pytest.mark.parametrize("example", TOO_MANY.strip().splitlines())
def test_a_right_too_many_is_found_with_what_takes_it_away(server, migrated, example):
    names = {"app": migrated.app, "owner": migrated.owner, "name": migrated.name}
    given, taken, finding = (part.strip() for part in example.format(**names).split(" | "))
    url = server.named(migrated.name)
    control = Control(psycopg2.connect(url), address(url))
    with contextlib.closing(control):
        control.rows(given)
        try:
            control.rows("SET search_path = pg_catalog")
            found = dict(grants.excess(control, migrated.app))
        finally:
            control.rows("SET search_path = public")
            control.rows(taken)
        assert finding in found
        assert grants.excess(control, migrated.app) == []
    assert found[finding].startswith(("REVOKE ", "ALTER ROLE ", "give it to "))


def test_check_refuses_a_right_too_many_and_says_what_takes_it_away(place, first):
    first.migrator(place, "upgrade")
    place.rows(f"GRANT TRUNCATE ON users TO {place.app}")
    done = first.migrator(place, "check")
    assert done.code == 1
    what = f"the app's role {place.app} may TRUNCATE public.users"
    cure = f"{what}: REVOKE TRUNCATE ON public.users FROM {place.app}, PUBLIC"
    assert f"finding    {cure}" in done.out.splitlines()
    assert done.last == f"refused: 1 checks did not hold. Cure: {cure}. (exit 1; run it again after that change)"


def test_new_tables_carry_the_apps_rights_from_the_transaction_that_makes_them(place, first, tmp_path):
    assert first.migrator(place, "upgrade").code == 0
    notes = sql("notes", "CREATE TABLE notes (id bigint GENERATED BY DEFAULT AS IDENTITY, n serial)")
    # The run ends with the second one: what is there then came with the table.
    done = written(first, tmp_path / "next", notes, sql("fails", "SELECT 1/0")).migrator(place, "upgrade")
    assert done.code == 4, done.out + done.err
    with session(place, place.app) as cursor:
        cursor.execute("INSERT INTO notes DEFAULT VALUES RETURNING id, n")
        assert cursor.fetchall() == [(1, 1)]
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("TRUNCATE notes")


def test_a_schema_that_a_revision_makes_is_open_to_the_app_and_to_nobody_else(place, first, tmp_path):
    made = written(
        first, tmp_path / "next", sql("a1", "CREATE SCHEMA billing"), sql("a2", "CREATE TABLE billing.t (n serial)")
    )
    done = made.migrator(place, "upgrade")
    assert done.code == 0, done.out + done.err
    with session(place, place.app) as cursor:
        cursor.execute("INSERT INTO billing.t DEFAULT VALUES")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("CREATE TABLE billing.u ()")
    public = "SELECT count(*) FROM pg_class, aclexplode(relacl) e WHERE e.grantee = 0 AND relname IN ('t', 't_n_seq')"
    assert place.rows(public) == [(0,)]


def test_rights_that_were_taken_away_are_given_back_by_the_next_upgrade(place, first):
    first.migrator(place, "upgrade")
    place.rows(f"REVOKE ALL ON users, migrator.instance FROM {place.app}")
    place.rows("GRANT CREATE ON SCHEMA public TO PUBLIC")
    place.rows(f"GRANT TEMPORARY ON DATABASE {place.name} TO PUBLIC")
    done = first.migrator(place, "upgrade")
    assert f"granted    {place.app}: " in done.out
    assert first.migrator(place, "check").code == 0
    with session(place, place.app) as cursor:
        cursor.execute("SELECT count(*) FROM users, migrator.instance")


def test_what_postgresql_lets_every_role_do_to_itself_changes_nothing(migrated):
    with session(migrated, migrated.app) as cursor:
        cursor.execute("DROP OWNED BY CURRENT_USER")
        cursor.execute("REASSIGN OWNED BY CURRENT_USER TO CURRENT_USER")
        cursor.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC")
        cursor.execute("SELECT count(*) FROM users, migrator.instance, migrator.release")
        cursor.execute("ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC")


def test_the_apps_password_is_in_no_output_and_not_in_the_servers_log(first):
    with embedded.throwaway({"log_statement": "all", "log_min_duration_statement": "0"}) as server:
        with places.made(server.url()) as place:
            secret = "s3cret-that-nobody-sees"
            # Another password than the owner's, which the test itself has sent in clear.
            done = first.migrator(place, "upgrade", MIGRATOR_APP_PASSWORD=secret)
            assert done.code == 0, done.out + done.err
            url = make_url(place.url(place.app)).set(password=secret).render_as_string(hide_password=False)
            psycopg2.connect(url).close()
            history = first.migrator(place, "history", "--json", MIGRATOR_APP_PASSWORD=secret)
            again = first.migrator(place, "upgrade", "--json", MIGRATOR_APP_PASSWORD=secret)
        log = server.data.with_name("postgres.log").read_text()
    assert f"CREATE ROLE {place.app}" in log.replace('"', "")
    for text in (done.out, done.err, history.out, again.out, again.err, log):
        assert secret not in text


def test_a_role_that_may_not_make_roles_says_what_to_do_and_leaves_no_release_recorded(server, place, first):
    server.execute("ALTER ROLE {} NOCREATEROLE", place.owner)
    done = first.migrator(place, "upgrade")
    assert done.code == 1
    assert done.last.startswith(f"refused: this role may not create the app's role {place.app}")
    assert "Cure: create it by hand (CREATE ROLE" in done.last
    assert place.rows("SELECT count(*) FROM migrator.release") == [(0,)]
