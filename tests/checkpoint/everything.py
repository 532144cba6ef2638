"""Everything: revisions that make each kind of object, some of them in ways that are easily lost on the way."""

EVERYTHING = (
    (
        "CREATE EXTENSION citext",
        "CREATE SCHEMA books",
        "COMMENT ON SCHEMA books IS 'what was earned'",
        "CREATE ROLE checkpoint_reader NOLOGIN",
        "CREATE ROLE \"Checkpoint writer\" LOGIN CONNECTION LIMIT 3 VALID UNTIL '2040-01-01 00:00:00+00'",
        "ALTER ROLE \"Checkpoint writer\" SET statement_timeout = '3s'",
        'GRANT checkpoint_reader TO "Checkpoint writer"',
        "ALTER DEFAULT PRIVILEGES IN SCHEMA books GRANT SELECT ON TABLES TO checkpoint_reader",
        "GRANT USAGE ON SCHEMA books TO checkpoint_reader",
    ),
    (
        "CREATE TYPE mood AS ENUM ('calm', 'wild')",
        "CREATE TYPE point3 AS (x int, y int, z int)",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
        "CREATE DOMAIN percent AS numeric(5, 2) DEFAULT 0 NOT NULL CONSTRAINT in_range CHECK (VALUE BETWEEN 0 AND 100)",
        "CREATE TYPE books.span AS RANGE (subtype = date)",
        "CREATE SEQUENCE books.invoice INCREMENT 5 START 100 CACHE 3",
        "SELECT nextval('books.invoice'), nextval('books.invoice')",
        "CREATE SEQUENCE untouched",
    ),
    (
        """CREATE TABLE person (
             id bigint GENERATED ALWAYS AS IDENTITY (START WITH 7 INCREMENT BY 2) PRIMARY KEY,
             code uuid NOT NULL DEFAULT gen_random_uuid(),
             "Weird ""na""me" text COLLATE "C" DEFAULT 'it''s 100%',
             email text NOT NULL UNIQUE NULLS NOT DISTINCT,
             is_in mood NOT NULL DEFAULT 'calm', place point3, age positive, share percent, tags text[],
             data jsonb, raw bytea, num numeric, f float8, at timestamp, gap interval, ip inet, bits bit(3),
             chars char(5),
             shout text GENERATED ALWAYS AS (upper(email)) STORED,
             made timestamptz NOT NULL DEFAULT now(),
             boss bigint REFERENCES person DEFERRABLE INITIALLY DEFERRED,
             EXCLUDE USING gist (int4range(age, age, '[]') WITH &&) WHERE (age > 150)
           ) WITH (fillfactor = 70, autovacuum_enabled = false)""",
        "ALTER TABLE person ALTER COLUMN data SET STORAGE EXTERNAL, ALTER COLUMN email SET STATISTICS 500",
        "ALTER TABLE person ADD COLUMN gone int",
        "ALTER TABLE person DROP COLUMN gone",
        "ALTER TABLE person ADD COLUMN later text DEFAULT 'late'",
        "ALTER TABLE person ADD CONSTRAINT old_enough CHECK (age >= 18) NOT VALID",
        "COMMENT ON TABLE person IS 'who'",
        "COMMENT ON COLUMN person.email IS $$it's; -- a comment$$",
        "COMMENT ON CONSTRAINT old_enough ON person IS 'not yet valid'",
        """INSERT INTO person (email, is_in, place, share, tags, data, raw, num, f, at, gap, ip, bits, chars, boss)
           VALUES ('a@x', 'wild', '(1,2,3)', 12.5, ARRAY['a', NULL, 'b,"c'], '{"a": [1, null]}', '\\x00ff', 1e40,
                   'NaN', '2020-01-01 00:00', '-1 year 2 days', '10.0.0.1', B'101', 'ab', NULL),
                  (E'tab\\there', 'calm', NULL, 0, '{}', NULL, '', 'Infinity', 0.1, 'infinity', '00:00:01',
                   '::1/64', NULL, '', 7),
                  (E'two\\nlines \\\\ back%slash', 'calm', NULL, 1, NULL, '"x"', NULL, NULL, -0.0, NULL, NULL,
                   NULL, NULL, NULL, 9)""",
        "UPDATE person SET later = NULL WHERE email = 'a@x'",
        "DELETE FROM person WHERE email LIKE 'nobody%'",
    ),
    (
        "CREATE TABLE part (id int, at date NOT NULL, v text) PARTITION BY RANGE (at)",
        "CREATE TABLE part_2025 PARTITION OF part FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
        "CREATE TABLE part_other (at date NOT NULL, v text, id int)",
        "ALTER TABLE part ATTACH PARTITION part_other DEFAULT",
        "CREATE INDEX part_at ON part (at)",
        "ALTER TABLE part ADD PRIMARY KEY (id, at)",
        "INSERT INTO part VALUES (1, '2025-03-03', 'a'), (2, '2030-03-03', 'b')",
        "CREATE TABLE base (id int); CREATE TABLE heir (more int) INHERITS (base); INSERT INTO heir VALUES (1, 2)",
        "CREATE UNLOGGED TABLE fast (id int)",
    ),
    (
        """CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
             -- Name: x; Type: TABLE; Schema: public; Owner: y
             NEW.v := NEW.v || '%s' || '!'; RETURN NEW;
           END $$""",
        (
            "CREATE FUNCTION adults(int) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public "
            "AS 'SELECT count(*) FROM person WHERE age > $1'"
        ),
        "CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN n * 2",
        "CREATE PROCEDURE nothing() LANGUAGE plpgsql AS 'BEGIN NULL; END'",
        "REVOKE EXECUTE ON FUNCTION adults(int) FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION adults(int) TO checkpoint_reader",
        "CREATE AGGREGATE sum2 (int) (sfunc = int4pl, stype = int, initcond = '0')",
        "CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq)",
        "CREATE CAST (mood AS text) WITH INOUT AS ASSIGNMENT",
        (
            "CREATE TRIGGER touched BEFORE INSERT OR UPDATE OF v ON part FOR EACH ROW WHEN (NEW.v <> '') "
            "EXECUTE FUNCTION touch()"
        ),
        (
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON part_other DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
            "EXECUTE FUNCTION touch()"
        ),
        "ALTER TABLE part_other DISABLE TRIGGER late",
        "CREATE TABLE log (id int); CREATE RULE quiet AS ON DELETE TO log DO INSTEAD NOTHING",
    ),
    (
        (
            "CREATE VIEW books.adult WITH (security_barrier, security_invoker) AS SELECT id, email FROM public.person "
            "WHERE age >= 18 WITH LOCAL CHECK OPTION"
        ),
        'GRANT SELECT (email), UPDATE (email) ON books.adult TO "Checkpoint writer"',
        "CREATE MATERIALIZED VIEW counted AS SELECT is_in, count(*) FROM person GROUP BY 1",
        "CREATE UNIQUE INDEX counted_is_in ON counted (is_in)",
        "CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS one WITH NO DATA",
        (
            "CREATE INDEX person_lower ON person (lower(email) text_pattern_ops DESC NULLS LAST) INCLUDE (age) "
            "WHERE age IS NOT NULL"
        ),
        "CREATE INDEX person_data ON person USING gin (data jsonb_path_ops)",
        "CREATE STATISTICS person_both (dependencies, mcv) ON age, email FROM person",
        "ALTER TABLE person ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE POLICY own ON person AS RESTRICTIVE FOR UPDATE TO checkpoint_reader USING (age > 1) WITH CHECK (true)",
        "GRANT SELECT, INSERT ON person TO checkpoint_reader WITH GRANT OPTION",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        "ALTER TABLE log REPLICA IDENTITY FULL",
        "CREATE PUBLICATION all_of_it FOR TABLE person (id, email) WHERE (id > 0), part WITH (publish = 'insert')",
        "ALTER TABLE log OWNER TO checkpoint_reader",
        (
            "CREATE TABLE books.ledger (id int PRIMARY KEY, person bigint NOT NULL REFERENCES "
            "public.person ON DELETE CASCADE)"
        ),
        "INSERT INTO books.ledger VALUES (10, 7), (9, 9)",
        "CREATE FUNCTION ddl_watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END'",
        "CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION ddl_watch()",
        "DO $do$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle = ''German''', current_database()); END $do$",
        "CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple)",
        (
            "CREATE EXTENSION postgres_fdw SCHEMA books; CREATE SERVER far FOREIGN DATA WRAPPER "
            "postgres_fdw OPTIONS (host 'x')"
        ),
        "CREATE FOREIGN TABLE distant (id int OPTIONS (column_name 'b')) SERVER far",
    ),
)
