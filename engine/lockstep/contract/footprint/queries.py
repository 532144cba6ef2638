"""The SQL that reads what tables stand on: one named select for each kind of thing, put together as wanted.

All give rows of one shape (kind, oid, owner, schema, name, facts), so that one question reads everything. `owner` is
the relation that a thing belongs to, or 0; `facts` are texts in the order of `things.FIELDS`. Stored expressions are
printed, not compared as they are kept: the kept form changes with the place in the statement that made it.
"""

from __future__ import annotations

from functools import cache

from lockstep.contract.footprint.things import FIELDS

_USER_SCHEMA = "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'migrator')"
_LEAN_SINCE, _NOT_ENFORCED_SINCE, _MEMBER_OPTIONS_SINCE, _SQL_BODY_SINCE = 15, 18, 16, 14

# The relations to be read, and beside them nothing of theirs.
_SOME = "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = ANY(%(oids)s::oid[])"
_ALL = "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid >= 16384"
_WANTED = f"""
WITH rel AS MATERIALIZED ({{which}} AND relkind IN ('r', 'p', 'v', 'm', 'f') AND {_USER_SCHEMA}),
app (role) AS (SELECT unnest(%(roles)s::oid[]))
"""


def _rights(function: str, oid: str, letters: str) -> str:
    """Write which of these rights each role has, as `role:letters`; SQL for one text."""
    words = {
        "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "U": "USAGE", "X": "EXECUTE", "C": "CREATE",
        "c": "CONNECT", "T": "TEMPORARY",
    }  # fmt: skip
    parts = ", ".join(f"CASE WHEN {function}(role, {oid}, '{words[one]}') THEN '{one}' END" for one in letters)
    return f"(SELECT string_agg(concat(role, ':', {parts}), ' ' ORDER BY role) FROM app)"


_MEMBER = """(SELECT extname::text FROM pg_depend x JOIN pg_extension e ON e.oid = x.refobjid
  WHERE x.refclassid = 'pg_extension'::regclass AND x.deptype = 'e'
    AND x.classid = '{catalog}'::regclass AND x.objid = {oid})"""

# Which row of a published table is meant: by all its columns, or by an index that is checked at once.
_IDENTITY = """(SELECT {columns} FROM pg_index i WHERE i.indrelid = c.oid AND i.indimmediate
      AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END)"""
_IDENTIFIED = f"(c.relreplident = 'f' OR {_IDENTITY.format(columns='count(*)')} > 0)"
# Rows and columns that a publication leaves out must not be told by anything else than that identity.
_COVERED = f""" AND NOT EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
    LEFT JOIN {_IDENTITY.format(columns="(SELECT array_agg(k) FROM unnest(i.indkey::int2[]) k) AS keys")} identity
      ON true
    WHERE r.prrelid = c.oid AND (p.pubupdate OR p.pubdelete)
      AND ((r.prattrs IS NOT NULL AND (c.relreplident = 'f' OR NOT r.prattrs::int2[] @> keys))
        OR (c.relreplident <> 'f' AND EXISTS (
              SELECT FROM regexp_matches(r.prqual::text, ':varattno (\\d+)', 'g') m
               WHERE m[1]::int2 <> ALL (keys)))))"""
_AGGREGATE = """(SELECT concat_ws(' ', g.aggkind, g.aggnumdirectargs, g.aggtransfn, g.aggfinalfn, g.aggcombinefn,
    g.aggtranstype, g.agginitval, g.aggsortop, g.aggfinalmodify) FROM pg_aggregate g WHERE g.aggfnoid = p.oid)"""

# What a table has of its own: read again for the relations that were touched.
OF_RELATIONS = {
    "relation": f"""
SELECT 'relation', c.oid::bigint, 0::bigint, n.nspname, c.relname, ARRAY[
    c.relkind::text, c.relispopulated::text, c.relrowsecurity::text, c.relforcerowsecurity::text,
    pg_get_expr(c.relpartbound, c.oid), CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
    (SELECT string_agg(o, ' ' ORDER BY o) FROM unnest(c.reloptions) o
      WHERE o ~ '^(security|check_option)'),
    CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
    {_rights("has_table_privilege", "c.oid", "rawd")},
    (SELECT string_agg(inhparent::text, ' ' ORDER BY inhparent) FROM pg_inherits WHERE inhrelid = c.oid),
    (SELECT concat_ws(' ', bool_or(pubupdate), bool_or(pubdelete))
       FROM pg_publication p WHERE puballtables
         OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid) {{published}}),
    ({{identified}})::text,
    CASE WHEN c.relkind IN ('r', 'm') THEN c.relfilenode::text END,
    (SELECT count(*)::text FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgisinternal AND t.tgenabled <> 'O'),
    {_MEMBER.format(catalog="pg_class", oid="c.oid")}, c.relowner::regrole::text, c.relpersistence::text,
    c.relacl::text]
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid IN (SELECT oid FROM rel)""",
    "column": """
SELECT 'column', a.attnum::bigint, a.attrelid::bigint, NULL, a.attname, ARRAY[
    a.attnum::text, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
    CASE WHEN a.attcollation NOT IN (0, 100)
         THEN (SELECT concat(quote_ident(k.collname), CASE WHEN NOT k.collisdeterministic THEN ' nondeterministic' END)
                 FROM pg_collation k WHERE k.oid = a.attcollation) END,
    CASE WHEN a.atthasdef THEN (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d
                                 WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum) END,
    a.attidentity::text, a.attgenerated::text, a.atttypid::text, a.atttypmod::text]
  FROM pg_attribute a WHERE a.attrelid IN (SELECT oid FROM rel) AND a.attnum > 0 AND NOT a.attisdropped""",
    # PostgreSQL 18 keeps NOT NULL here too; a column tells it already.
    "constraint": """
SELECT 'constraint', k.oid::bigint, k.conrelid::bigint, NULL, k.conname, ARRAY[
    k.contype::text, pg_get_constraintdef(k.oid), k.condeferrable::text, k.condeferred::text, k.convalidated::text,
    k.confrelid::text,
    (SELECT string_agg(quote_ident(attname), ', ' ORDER BY place)
       FROM unnest(k.conkey) WITH ORDINALITY u (number, place)
       JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = number),
    k.conparentid::text, {enforced}]
  FROM pg_constraint k WHERE k.conrelid IN (SELECT oid FROM rel) AND k.contype IN ('c', 'x', 'f', 'u', 'p')""",
    "index": """
SELECT 'index', i.indexrelid::bigint, i.indrelid::bigint, NULL, c.relname, ARRAY[
    i.indisunique::text, i.indisprimary::text, i.indisvalid::text, i.indisready::text, i.indimmediate::text,
    regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE (UNIQUE )?INDEX .* ON (ONLY )?.* USING ', ''),
    pg_get_expr(i.indpred, i.indrelid),
    (SELECT string_agg(pg_get_indexdef(i.indexrelid, k, true), ', ' ORDER BY k)
       FROM generate_series(1, i.indnkeyatts) k),
    (SELECT amname::text FROM pg_am WHERE oid = c.relam),
    (SELECT string_agg(a.atttypid || ':' || a.atttypmod, ' ' ORDER BY a.attnum) FROM pg_attribute a
      WHERE a.attrelid = i.indexrelid AND a.attnum <= i.indnkeyatts),
    (SELECT string_agg(n::text, ' ' ORDER BY place)
       FROM unnest(i.indkey::int2[]) WITH ORDINALITY u (n, place) WHERE place <= i.indnkeyatts)]
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid IN (SELECT oid FROM rel) AND i.indislive""",
    "trigger": """
SELECT 'trigger', t.oid::bigint, t.tgrelid::bigint, NULL, t.tgname, ARRAY[
    regexp_replace(pg_get_triggerdef(t.oid), ' ON [^ ]+', ''), t.tgenabled::text, t.tgtype::text, t.tgfoid::text,
    (t.tgqual IS NOT NULL)::text]
  FROM pg_trigger t WHERE t.tgrelid IN (SELECT oid FROM rel) AND NOT t.tgisinternal""",
    "rule": """
SELECT 'rule', r.oid::bigint, r.ev_class::bigint, NULL, r.rulename, ARRAY[pg_get_ruledef(r.oid), r.ev_enabled::text]
  FROM pg_rewrite r WHERE r.ev_class IN (SELECT oid FROM rel) AND r.rulename <> '_RETURN'""",
    "policy": """
SELECT 'policy', p.oid::bigint, p.polrelid::bigint, NULL, p.polname, ARRAY[
    p.polcmd::text, p.polpermissive::text,
    (SELECT string_agg(CASE o WHEN 0 THEN 'public' ELSE o::regrole::text END, ', ' ORDER BY o)
       FROM unnest(p.polroles) o),
    pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)]
  FROM pg_policy p WHERE p.polrelid IN (SELECT oid FROM rel)""",
}
# Those that were touched themselves, and those of tables that were.
_DRAWN = """ AND (c.oid = ANY(%(oids)s::oid[]) OR c.oid IN (SELECT objid FROM pg_depend WHERE deptype IN ('a', 'i')
      AND classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND refobjid = ANY(%(oids)s::oid[])))"""
# What the database and the server have: each read again when its catalog was written to.
OF_ALL = {
    "function": f"""
SELECT 'function', p.oid::bigint, 0, n.nspname,
    concat(p.proname, '(', pg_get_function_identity_arguments(p.oid), ')'), ARRAY[
    p.proname::text, pg_get_function_result(p.oid), (SELECT lanname::text FROM pg_language l WHERE l.oid = p.prolang),
    {{body}}, array_to_string(p.proconfig, ' '), p.prokind::text, p.prosecdef::text, p.provolatile::text,
    p.proisstrict::text, {_rights("has_function_privilege", "p.oid", "X")},
    {_MEMBER.format(catalog="pg_proc", oid="p.oid")}, array_to_string(p.proargnames, ' '),
    pg_get_expr(p.proargdefaults, 0), p.proowner::regrole::text, p.proacl::text]
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_USER_SCHEMA}
UNION ALL
SELECT 'builtin', p.oid::bigint, 0, n.nspname, concat(p.proname, '(', pg_get_function_identity_arguments(p.oid), ')'),
    ARRAY[p.proname::text, {_rights("has_function_privilege", "p.oid", "X")}]
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname = 'pg_catalog' AND p.proacl IS NOT NULL""",
    "sequence": f"""
SELECT 'sequence', c.oid::bigint,
    coalesce((SELECT d.refobjid FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
              LIMIT 1), 0)::bigint,
    n.nspname, c.relname, ARRAY[
    s.seqstart::text, s.seqincrement::text, s.seqmin::text, s.seqmax::text, s.seqcycle::text, s.seqcache::text,
    format_type(s.seqtypid, NULL), pg_sequence_last_value(c.oid)::text,
    {_rights("has_sequence_privilege", "c.oid", "Uw")},
    (SELECT d.refobjsubid::text FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0 LIMIT 1),
    c.relacl::text]
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE {_USER_SCHEMA} AND pg_has_role(c.relowner, 'USAGE'){{drawn}}""",
    "type": f"""
SELECT 'type', t.oid::bigint, 0, n.nspname, t.typname, ARRAY[
    t.typtype::text,
    (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
       FROM pg_enum e WHERE e.enumtypid = t.oid),
    CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END, t.typnotnull::text, t.typdefault,
    (SELECT string_agg(concat(k.conname, ' ', pg_get_constraintdef(k.oid)), '; ' ORDER BY k.conname)
       FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype <> 'n'),
    (SELECT string_agg(concat(a.attname, ' ', format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
       FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped),
    CASE WHEN t.typcollation NOT IN (0, 100) THEN t.typcollation::regcollation::text END,
    {_rights("has_type_privilege", "t.oid", "U")}, {_MEMBER.format(catalog="pg_type", oid="t.oid")}]
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
  WHERE {_USER_SCHEMA} AND t.typtype IN ('e', 'd', 'c', 'r', 'b') AND t.typelem = 0
    AND (t.typrelid = 0 OR (SELECT relkind FROM pg_class WHERE oid = t.typrelid) = 'c')""",
    "schema": f"""
SELECT 'schema', n.oid::bigint, 0, NULL, n.nspname, ARRAY[
    {_rights("has_schema_privilege", "n.oid", "UC")}, n.nspacl::text]
  FROM pg_namespace n WHERE {_USER_SCHEMA} OR n.nspname = 'migrator'""",
    "extension": """
SELECT 'extension', e.oid::bigint, 0, NULL, e.extname, ARRAY[e.extversion, e.extnamespace::regnamespace::text,
    (SELECT count(*) || ' ' || sum(objid::bigint) FROM pg_depend
      WHERE refclassid = 'pg_extension'::regclass AND refobjid = e.oid AND deptype = 'e')]
  FROM pg_extension e""",
    "event trigger": """
SELECT 'event trigger', e.oid::bigint, 0, NULL, e.evtname, ARRAY[
    e.evtevent, e.evtenabled::text, e.evtfoid::oid::text, array_to_string(e.evttags, ' ')]
  FROM pg_event_trigger e""",
    "role": """
SELECT 'role', r.oid::bigint, 0, NULL, r.rolname, ARRAY[
    r.rolcanlogin::text, r.rolsuper::text, r.rolinherit::text, r.rolbypassrls::text, r.rolconnlimit::text,
    (r.rolvaliduntil < now() + interval '1 day')::text, r.rolvaliduntil::text,
    (SELECT string_agg(m.roleid::regrole::text {member}, ' ' ORDER BY m.roleid) FROM pg_auth_members m
      WHERE m.member = r.oid)]
  FROM pg_roles r WHERE r.oid IN (SELECT role FROM app)""",
    "setting": """
SELECT 'setting', 0::bigint, s.setrole::bigint, NULL,
    concat_ws(' ', CASE s.setrole WHEN 0 THEN NULL ELSE 'role ' || s.setrole::regrole END,
                   CASE s.setdatabase WHEN 0 THEN NULL ELSE 'database' END, split_part(one, '=', 1)),
    ARRAY[split_part(one, '=', 1), substr(one, strpos(one, '=') + 1), (s.setdatabase <> 0)::text]
  FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) one
  WHERE (s.setrole = 0 OR s.setrole IN (SELECT role FROM app))
    AND (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))""",
    "database": f"""
SELECT 'database', d.oid::bigint, 0, NULL, '', ARRAY[
    d.datallowconn::text, d.datconnlimit::text, {_rights("has_database_privilege", "d.oid", "cT")}]
  FROM pg_database d WHERE d.datname = current_database()""",
    "other": """
SELECT 'other', o.oid::bigint, 0, NULL, coalesce(i.identity, o.what || ' ' || o.oid), ARRAY[i.type, o.stamp]
  FROM (SELECT 'cast' AS what, tableoid, oid, concat(castfunc, castcontext, castmethod) AS stamp
          FROM pg_cast WHERE oid >= 16384
        UNION ALL SELECT 'operator', tableoid, oid, concat(oprcode, oprrest, oprjoin)
          FROM pg_operator WHERE oid >= 16384
        UNION ALL SELECT 'text search configuration', tableoid, oid, md5(concat(cfgparser, (SELECT string_agg(concat(
            maptokentype, ' ', mapseqno, ' ', mapdict), ';' ORDER BY maptokentype, mapseqno)
            FROM pg_ts_config_map WHERE mapcfg = t.oid))) FROM pg_ts_config t
        UNION ALL SELECT 'text search dictionary', tableoid, oid, dictinitoption FROM pg_ts_dict
        UNION ALL SELECT 'server', tableoid, oid, md5(concat(srvoptions, srvversion)) FROM pg_foreign_server
        UNION ALL SELECT 'conversion', tableoid, oid, concat(conproc, condefault) FROM pg_conversion WHERE oid >= 16384
        UNION ALL SELECT 'language', tableoid, oid, concat(lanacl) FROM pg_language
        UNION ALL SELECT 'collation', tableoid, oid, concat(collversion) FROM pg_collation WHERE oid >= 16384
        UNION ALL SELECT 'operator class', tableoid, oid, concat(opcdefault) FROM pg_opclass WHERE oid >= 16384) o,
    LATERAL pg_identify_object(o.tableoid, o.oid, 0) i
  WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.tableoid AND d.objid = o.oid AND d.deptype = 'e')""",
}
# Which catalogs a kind is read from; a kind of OF_ALL whose catalogs were not written to is as it was.
CATALOGS = {
    "function": ("pg_proc", "pg_language"),
    "type": ("pg_type", "pg_enum", "pg_constraint", "pg_attribute"),  # attributes of composite ones
    "schema": ("pg_namespace",), "extension": ("pg_extension",), "event trigger": ("pg_event_trigger",),
    "role": ("pg_authid", "pg_auth_members"), "setting": ("pg_db_role_setting",), "database": ("pg_database",),
    "other": (
        "pg_cast", "pg_operator", "pg_ts_config", "pg_ts_config_map", "pg_ts_dict", "pg_foreign_server",
        "pg_conversion", "pg_language", "pg_collation", "pg_opclass",
    ),
}  # fmt: skip


@cache
def text(server_version: int, kinds: tuple[str, ...], *, everything: bool) -> str:
    """Return one question for these kinds; those of relations for all of them, or for `oids`."""
    assert set(kinds) <= set(FIELDS)  # noqa: S101 - a kind without names for its facts would be unreadable
    parts = " UNION ALL ".join((OF_RELATIONS | OF_ALL)[kind] for kind in kinds)
    body = "p.prosrc"
    if server_version >= _SQL_BODY_SINCE:
        body = "coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)"
    body = f"CASE WHEN p.prokind = 'a' THEN {_AGGREGATE} ELSE {body} END"
    lean = server_version >= _LEAN_SINCE
    for name, value in {
        "published": "OR EXISTS (SELECT FROM pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = n.oid)"
        if lean
        else "",
        "drawn": "" if everything else _DRAWN,
        "identified": _IDENTIFIED + (_COVERED if lean else ""),
        "enforced": "k.conenforced::text" if server_version >= _NOT_ENFORCED_SINCE else "'true'",
        "member": "|| concat(m.inherit_option, m.set_option)" if server_version >= _MEMBER_OPTIONS_SINCE else "",
        "body": body,
    }.items():
        parts = parts.replace(f"{{{name}}}", value)
    return _WANTED.format(which=_ALL if everything else _SOME) + parts
