"""Catalog query: the SQL that reads a snapshot from a server of a certain version.

Two questions: which relations the names mean, then all about those, as rows of one shape. Plain rows and
stored expressions compared as hashes: building JSON and printing expressions costs several times the rest.
"""

from __future__ import annotations

from functools import cache

from lockstep.postgres import prepared

_NAMED = """
  SELECT schema, name, to_regclass(
           CASE WHEN schema IS NULL THEN '' ELSE quote_ident(schema) || '.' END || quote_ident(name))::oid AS oid
  FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS w (schema, name)"""

# All that any release can mean: what the search path shows, and in other schemas what this role could change.
# Not the ledger, what extensions and identity columns bring along, nor partitions, which come and go as data does.
# A partitioned table depends on its own key.
_ALL = """
  SELECT CASE WHEN pg_table_is_visible(c.oid) THEN NULL ELSE nspname END AS schema, relname AS name, c.oid
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE c.oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT relispartition
    AND nspname NOT IN ('migrator', 'information_schema') AND nspname !~ '^pg_'
    AND (pg_table_is_visible(c.oid) OR pg_has_role(relowner, 'USAGE'))
    AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'i')
                      AND NOT (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid))"""

# Rows of (section, relation, view column, base column, schema, name). A view's stored query names for each of
# its columns the table and column it comes from (0: computed).
_RELATIONS = """
WITH RECURSIVE wanted AS MATERIALIZED ({wanted}),
trail (oid, view, number, base_number) AS (
  SELECT oid, NULL::oid, NULL::int, NULL::int FROM wanted JOIN pg_class USING (oid) WHERE relkind = 'v'
  UNION
  SELECT m[2]::oid, c.oid, m[1]::int, m[3]::int
  FROM trail JOIN pg_class c ON c.oid = trail.oid AND c.relkind = 'v'
  JOIN pg_rewrite r ON r.ev_class = c.oid AND r.rulename = '_RETURN',
  regexp_matches(r.ev_action::text,
    ':resno (\\d+) :resname (?:[^ \\\\]|\\\\.)+ :ressortgroupref \\d+ :resorigtbl (\\d+) :resorigcol (\\d+)', 'g') m)
SELECT 'name', oid, NULL, NULL, NULL, schema, name FROM wanted WHERE oid IS NOT NULL
UNION ALL SELECT 'origin', oid, view, number, base_number, NULL, NULL FROM trail WHERE view IS NOT NULL
UNION ALL SELECT 'role', oid, NULL, NULL, NULL, NULL, rolname FROM pg_roles WHERE rolname = %(role)s"""

# Rows of (section, relation, name, number, value, flags, type, modifier).
_CONTENT = """
WITH RECURSIVE closed AS MATERIALIZED (
  SELECT oid, relname FROM pg_class
  WHERE CASE WHEN relkind = 'S' THEN NOT has_sequence_privilege({me}, oid, 'USAGE, UPDATE') ELSE false END),
-- Nothing answers for these, nor for views of them, and to ask what can be written to them is an error.
mute (oid) AS (
  SELECT ftrelid FROM pg_foreign_table JOIN pg_foreign_server s ON s.oid = ftserver
  JOIN pg_foreign_data_wrapper w ON w.oid = srvfdw WHERE fdwhandler = 0
  UNION
  SELECT ev_class FROM mute
  JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = mute.oid
    AND d.classid = 'pg_rewrite'::regclass
  JOIN pg_rewrite r ON r.oid = d.objid)
SELECT 'column', attrelid, attname, attnum, NULL::text,
    attnotnull::int + 2 * atthasdef::int + 4 * (attidentity = 'd')::int + 8 * (attidentity = 'a')::int
    + 16 * (attgenerated <> '')::int, atttypid, atttypmod
  FROM pg_attribute WHERE attrelid {these} AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'relation', c.oid, relname,
    -- Of a table it is known, and asking would wait for who holds it.
    CASE WHEN relkind IN ('r', 'p') THEN 28 WHEN c.oid IN (SELECT oid FROM mute) THEN 0
         WHEN relkind IN ('v', 'f') THEN pg_relation_is_updatable(c.oid, true) ELSE 0 END, nspname,
    CASE WHEN relkind IN ('r', 'p') THEN 28 WHEN c.oid IN (SELECT oid FROM mute) THEN 0
         WHEN relkind IN ('v', 'f') THEN pg_relation_is_updatable(c.oid, false) ELSE 0 END
    + 32 * (relrowsecurity
            AND NOT coalesce((SELECT rolsuper OR rolbypassrls FROM pg_roles r WHERE r.oid = {me}), false)
            AND (relforcerowsecurity OR {me} IS NULL OR NOT pg_has_role({me}, relowner, 'USAGE')))::int
    + 64 * ({me} IS NOT NULL AND NOT has_schema_privilege({me}, n.oid, 'USAGE'))::int
    + 128 * (relkind <> 'p'
             OR EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = c.oid AND partdefid <> 0)
             -- Hash partitions are complete where their shares add up to the whole.
             OR (SELECT abs(coalesce(sum(1.0 / m[1]::numeric), 0) - 1) < 0.0000001 FROM pg_inherits h
                        JOIN pg_class p ON p.oid = h.inhrelid,
                        regexp_match(pg_get_expr(p.relpartbound, p.oid),
                                     '^FOR VALUES WITH \\(modulus (\\d+), remainder') m
                  WHERE h.inhparent = c.oid))::int,
    ascii(relkind::text)::oid, NULL
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid {these}
UNION ALL
SELECT 'null default', adrelid, NULL, adnum, NULL, NULL, NULL, NULL
  FROM pg_attrdef WHERE adrelid {these} AND strpos(adbin::text, ':constisnull true') > 0
    AND starts_with(pg_get_expr(adbin, adrelid), 'NULL::')
UNION ALL
SELECT 'option', oid, split_part(o, '=', 1), NULL, split_part(o, '=', 2), NULL, NULL, NULL
  FROM pg_class, unnest(reloptions) o WHERE oid {these} AND reloptions IS NOT NULL
UNION ALL
SELECT 'shut column', c.oid, NULL, n, NULL, NULL, NULL, NULL
  FROM pg_class c CROSS JOIN generate_series(1, relnatts) n
  WHERE c.oid {these}
    AND CASE WHEN c.oid IN (SELECT oid FROM mute) THEN false
             WHEN relkind IN ('v', 'f') THEN NOT pg_column_is_updatable(c.oid, n::int2, true) ELSE false END
UNION ALL
SELECT CASE WHEN {nulls} THEN 'UNIQUE NULLS NOT DISTINCT' ELSE 'UNIQUE' END, indrelid,
    (SELECT relname FROM pg_class x WHERE x.oid = indexrelid), NULL,
    concat_ws(' ', indkey, '|', indclass, md5(indexprs::text), md5(indpred::text)), NULL, NULL, NULL
  FROM pg_index i WHERE indrelid {these} AND indisunique AND indislive
UNION ALL
SELECT CASE WHEN contype = 'x' THEN 'EXCLUDE' WHEN contype = 'f' THEN 'FOREIGN KEY'
            WHEN conbin::text ~ '^\\{{NULLTEST :arg \\{{VAR [^{{}}]*\\}} :nulltesttype 1 ' THEN 'NOT NULL'
            ELSE 'CHECK' END,
    conrelid, conname, NULL,
    concat_ws(' ', array_to_string(conkey, ' '), '|',
      CASE contype WHEN 'c' THEN md5(conbin::text) WHEN 'x' THEN pg_get_constraintdef(c.oid)
           ELSE concat_ws(' ', confrelid, confkey, confdeltype, confupdtype, condeferrable) END), NULL, NULL, NULL
  FROM pg_constraint c WHERE conrelid {these} AND contype IN ('c', 'x', 'f') {enforced}
UNION ALL
SELECT 'REFERENCE', confrelid, conname, NULL,
    concat_ws(' ', array_to_string(confkey, ' '), '|', conrelid, conkey, confdeltype, confupdtype), NULL, NULL, NULL
  FROM pg_constraint c WHERE confrelid {these} AND contype = 'f' AND conparentid = 0 {enforced}
UNION ALL
SELECT 'TRIGGER', tgrelid, tgname, tgtype, concat_ws(' ', '|', tgfoid, tgtype, md5(tgqual::text)), NULL, NULL, NULL
  FROM pg_trigger WHERE tgrelid {these} AND NOT tgisinternal AND tgenabled IN ('O', 'A')
UNION ALL
SELECT CASE WHEN is_instead THEN 'RULE INSTEAD' ELSE 'RULE' END, ev_class, rulename, NULL,
    '| ' || md5(ev_action::text), NULL, NULL, NULL
  FROM pg_rewrite WHERE ev_class {these} AND rulename <> '_RETURN' AND ev_type <> '1' AND ev_enabled IN ('O', 'A')
UNION ALL
SELECT 'policy', polrelid, polname, polpermissive::int,
    CASE WHEN coalesce(pg_get_expr(polqual, polrelid), 'true') = 'true'
          AND coalesce(pg_get_expr(polwithcheck, polrelid), 'true') = 'true'
         THEN '' ELSE md5(concat_ws(' ', polqual, '|', polwithcheck)) END, NULL, ascii(polcmd::text)::oid, NULL
  FROM pg_policy WHERE polrelid {these}
    AND ({me} IS NULL OR EXISTS (SELECT FROM unnest(polroles) r WHERE r = 0 OR pg_has_role({me}, r, 'USAGE')))
UNION ALL
SELECT 'refused ' || verb, c.oid, attname, attnum, NULL, NULL, NULL, NULL
  FROM pg_class c CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) verb
  LEFT JOIN pg_attribute a ON verb <> 'DELETE' AND attrelid = c.oid AND attnum > 0 AND NOT attisdropped
  WHERE c.oid {these} AND relkind <> 'S' AND NOT has_table_privilege({me}, c.oid, verb)
    AND (attnum IS NULL OR NOT has_column_privilege({me}, c.oid, attnum, verb))
UNION ALL
SELECT 'refused USAGE', oid, NULL, NULL, NULL, NULL, NULL, NULL FROM closed WHERE oid {these}
UNION ALL
SELECT 'closed sequence', a.adrelid, s.relname, a.adnum, NULL, NULL, NULL, NULL
  FROM closed s
  JOIN pg_depend x ON x.refclassid = 'pg_class'::regclass AND x.refobjid = s.oid AND x.classid = 'pg_attrdef'::regclass
  JOIN pg_attrdef a ON a.oid = x.objid WHERE a.adrelid {these}
UNION ALL
SELECT 'type', t.oid, typname, (SELECT count(*) FROM pg_constraint WHERE contypid = t.oid AND contype = 'c')::int,
    nspname, pg_type_is_visible(t.oid)::int + 2 * (typtype = 'd')::int + 4 * typnotnull::int
    + 8 * coalesce(NOT starts_with(typdefault, 'NULL::'), false)::int, typbasetype, typtypmod
  FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
  WHERE typtype IN ('e', 'd') AND nspname NOT IN ('pg_catalog', 'information_schema')
UNION ALL
SELECT 'label', enumtypid, enumlabel, (rank() OVER (PARTITION BY enumtypid ORDER BY enumsortorder))::int,
    NULL, NULL, NULL, NULL FROM pg_enum
UNION ALL
SELECT 'array', typarray, NULL, NULL, NULL, NULL, oid, NULL
  FROM pg_type WHERE typtype IN ('e', 'd') AND oid >= 16384 AND typarray <> 0"""
_NULLS_NOT_DISTINCT_SINCE, _NOT_ENFORCED_SINCE = 15, 18

SPELLINGS = "SELECT t, m, format_type(t, m) FROM unnest(%(types)s::oid[], %(modifiers)s::int[]) AS w (t, m)"


@cache
def relations(everything: bool) -> str:
    """Which relations are meant: by `schemas` and `names`, or everything; and the `role`, if it exists."""
    return _RELATIONS.replace("{wanted}", _ALL if everything else _NAMED)


@cache
def content(server_version: int, oids: str = "%(oids)s::oid[]", role: str = "%(role)s::oid") -> str:
    """All about the relations `oids`, and the rights of the role with the oid `role` (or NULL)."""
    return _CONTENT.format(
        these=f"= ANY({oids})",
        me=role,
        nulls="indnullsnotdistinct" if server_version >= _NULLS_NOT_DISTINCT_SINCE else "false",
        enforced="AND conenforced" if server_version >= _NOT_ENFORCED_SINCE else "",
    )


@cache
def prepared_relations(everything: bool) -> prepared.Statement:
    """Return the first question, to be asked again and again; both kinds take the same arguments."""
    text = relations(everything)
    for number, name in enumerate(("schemas", "names", "role"), 1):
        text = text.replace(f"%({name})s", f"${number}")
    return prepared.Statement(f"lockstep_{'all' if everything else 'named'}", ("text[]", "text[]", "name"), text)


@cache
def prepared_content(server_version: int) -> prepared.Statement:
    """Return the second question, to be asked again and again."""
    return prepared.Statement("lockstep_content", ("oid[]", "oid"), content(server_version, "$1", "$2"))
