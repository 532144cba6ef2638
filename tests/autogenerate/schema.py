"""Schema: a database in, its whole schema as sorted lines out, from the catalog.

Columns are listed by name: one that was dropped and came back stands last, which no statement undoes.
"""

import sqlalchemy as sa

_OURS = "n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and n.nspname !~ '^pg_temp|^pg_toast_temp'"
_QUERIES = (
    f"""
    select 'table', n.nspname, c.relname, c.relkind::text, obj_description(c.oid, 'pg_class')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'S', 'v') and c.relname <> 'alembic_version' and {_OURS}
    """,
    f"""
    select 'column', n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
           a.attidentity::text, a.attgenerated::text, pg_get_expr(d.adbin, d.adrelid),
           col_description(c.oid, a.attnum)
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p') and c.relname <> 'alembic_version' and {_OURS}
    """,
    f"""
    select 'constraint', n.nspname, con.conrelid::regclass::text, con.conname, con.contype::text, con.convalidated,
           pg_get_constraintdef(con.oid)
    from pg_constraint con join pg_namespace n on n.oid = con.connamespace
    where con.conrelid <> 0 and con.conrelid is distinct from to_regclass('alembic_version') and {_OURS}
    """,
    f"""
    select 'index', n.nspname, c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid, i.indimmediate
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
    where c.relname <> 'alembic_version_pkc' and {_OURS}
    """,
    f"""
    select 'enum', n.nspname, t.typname, string_agg(e.enumlabel, ',' order by e.enumsortorder)
    from pg_type t join pg_enum e on e.enumtypid = t.oid join pg_namespace n on n.oid = t.typnamespace
    where {_OURS} group by 2, 3
    """,
    f"select 'schema', n.nspname from pg_namespace n where {_OURS}",
)


def dump(engine: sa.Engine) -> list[str]:
    """Everything autogenerate may touch, one line each."""
    with engine.connect() as connection:
        rows = [row for query in _QUERIES for row in connection.exec_driver_sql(query)]
    return sorted(" | ".join(map(str, row)) for row in rows)


def difference(one: list[str], other: list[str]) -> list[str]:
    """The lines only one of them has."""
    return [f"- {line}" for line in one if line not in other] + [f"+ {line}" for line in other if line not in one]
