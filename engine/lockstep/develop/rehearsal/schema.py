"""Schema: everything that a dump of a database's schema would hold, as sorted lines.

Columns stand by name, not by place: one that was dropped and came back stands last, which no statement undoes.
"""

from __future__ import annotations

from typing import Any

_OURS = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'migrator') AND n.nspname !~ '^pg_(toast|temp)'"
_QUERIES = tuple(f"SELECT concat_ws(' ', {query} AND {_OURS}" for query in (
    """'schema', n.nspname, n.nspacl) FROM pg_namespace n WHERE true""",
    """'relation', c.relkind, c.oid::regclass, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity,
       c.relreplident, c.reloptions, c.relacl, pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid))
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relname <> 'alembic_version'""",
    """'column', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
       CASE WHEN a.attnotnull THEN 'NOT NULL' END, 'identity', a.attidentity, 'generated', a.attgenerated,
       'default', pg_get_expr(d.adbin, d.adrelid), 'collation',
       (SELECT l.collname FROM pg_collation l WHERE l.oid = a.attcollation),
       'storage', a.attstorage, to_jsonb(a) ->> 'attcompression', 'statistics', nullif(a.attstattarget, -1),
       'comment', col_description(c.oid, a.attnum), a.attacl)
       FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
       WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
       AND c.relname <> 'alembic_version'""",
    """'constraint', k.conrelid::regclass, k.contypid::regtype, k.conname, pg_get_constraintdef(k.oid),
       'comment', obj_description(k.oid, 'pg_constraint')) FROM pg_constraint k
       JOIN pg_namespace n ON n.oid = k.connamespace
       WHERE k.conrelid IS DISTINCT FROM to_regclass('alembic_version')""",
    """'index', pg_get_indexdef(i.indexrelid), CASE WHEN NOT i.indisvalid THEN 'INVALID' END,
       CASE WHEN i.indisclustered THEN 'CLUSTER' END, CASE WHEN i.indisreplident THEN 'REPLICA IDENTITY' END)
       FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relname <> 'alembic_version_pkc'""",
    """'trigger', pg_get_triggerdef(t.oid), t.tgenabled) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
       JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal""",
    """'view', c.oid::regclass, pg_get_viewdef(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('v', 'm')""",
    """'function', pg_get_functiondef(p.oid)) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
       WHERE p.prokind IN ('f', 'p') AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
       AND d.objid = p.oid AND d.deptype = 'e')""",
    """'enum', t.oid::regtype, (SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) FROM pg_enum e
       WHERE e.enumtypid = t.oid)) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
       WHERE t.typtype = 'e'""",
    """'domain', t.oid::regtype, format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault)
       FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype = 'd'""",
    """'sequence', s.seqrelid::regclass, s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmax, s.seqmin,
       s.seqcache, s.seqcycle) FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
       JOIN pg_namespace n ON n.oid = c.relnamespace WHERE true""",
    """'policy', p.polname, c.oid::regclass, p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid),
       pg_get_expr(p.polwithcheck, p.polrelid)) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
       JOIN pg_namespace n ON n.oid = c.relnamespace WHERE true""",
    """'extension', x.extname) FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace WHERE true""",
    """'comment', c.oid::regclass, obj_description(c.oid, 'pg_class')) FROM pg_class c
       JOIN pg_namespace n ON n.oid = c.relnamespace WHERE obj_description(c.oid, 'pg_class') IS NOT NULL""",
))  # fmt: skip


def read(cursor: Any) -> tuple[str, ...]:
    """Return the schema's lines, sorted."""
    lines = []
    for query in _QUERIES:
        cursor.execute(query)
        lines += [" ".join(row[0].split()) for row in cursor.fetchall()]
    return tuple(sorted(lines))


def difference(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, ...]:
    """Return what only one of them holds. A constraint that was validated stays so: nothing takes that back."""
    one, other = ({line.replace(" NOT VALID", "") for line in lines} for lines in (before, after))
    return tuple([f"- {line}" for line in sorted(one - other)] + [f"+ {line}" for line in sorted(other - one)])
