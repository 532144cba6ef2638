"""Scene: the database autogenerate compares with, as the writers of steps ask about it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import IdentifierPreparer
from sqlalchemy.types import TypeEngine

NAME_BYTES = 63  # what PostgreSQL keeps of a longer name

# constraints and plain indexes of a table with the columns they rest on
_RESTS_ON = sa.text(
    """
    select con.conname, con.contype::text, a.attname,
           exists (select 1 from pg_index i where i.indexrelid = con.conindid
                   and (to_jsonb(i) ->> 'indnullsnotdistinct')::boolean) as nulls_collide
    from pg_constraint con
    join pg_attribute a on a.attrelid = con.conrelid and a.attnum = any (con.conkey)
    where con.conrelid = to_regclass(:table)
    union
    select i.relname, case when x.indisunique then 'I' else 'i' end, a.attname,
           coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false)
    from pg_depend d
    join pg_class i on i.oid = d.objid
    join pg_index x on x.indexrelid = i.oid
    join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
      and d.refobjid = to_regclass(:table)
    """
)
_ENUM_COLUMNS = sa.text(
    """
    select n.nspname, c.relname, a.attname, a.attndims > 0 or t.typelem <> 0 as is_array,
           pg_get_expr(d.adbin, d.adrelid) as default_
    from pg_type e
    join pg_namespace en on en.oid = e.typnamespace
    join pg_type t on t.oid = e.oid or t.oid = e.typarray
    join pg_attribute a on a.atttypid = t.oid and not a.attisdropped
    join pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p')
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where e.typname = :name and en.nspname = :schema
    order by 1, 2, a.attnum
    """
)


@dataclass(frozen=True)
class Rest:
    """A constraint or index, one column it rests on, and whether two NULLs in it collide."""

    name: str
    kind: str  # pg_constraint.contype; I: a unique index, i: another
    column: str
    nulls_collide: bool


@dataclass(frozen=True)
class EnumColumn:
    """A column that holds labels of an enum."""

    schema: str
    table: str
    column: str
    is_array: bool
    default: str | None


@dataclass(frozen=True)
class Scene:
    """The connection autogenerate compares on, and what this script makes and takes away."""

    connection: sa.Connection
    created: frozenset[tuple[str | None, str]]
    prelude: tuple[str, ...] = ()  # SQL of types this script makes, for trials that use them
    _rests: dict[str, tuple[Rest, ...]] = field(default_factory=dict)

    @property
    def dialect(self) -> Dialect:
        """The dialect that quotes names."""
        return self.connection.dialect

    @cached_property
    def quoting(self) -> IdentifierPreparer:
        """What quotes names, where they need it."""
        return self.dialect.identifier_preparer

    def quote(self, *names: str | None) -> str:
        """Quote a name, or a dotted path of names; None parts are left out."""
        return plain(self.dialect, ".".join(self.quoting.quote(name) for name in names if name is not None))

    def constraint_name(self, op: ops.AddConstraintOp) -> str:
        """Return the constraint's name as PostgreSQL gets it, cut to 63 bytes where a convention made it longer."""
        return plain(self.dialect, self.quoting.format_constraint(op.to_constraint()))

    def index_name(self, op: ops.CreateIndexOp) -> str:
        """Return the index's name as PostgreSQL gets it."""
        return plain(self.dialect, self.quoting.format_index(op.to_index()))

    def raw_constraint_name(self, op: ops.AddConstraintOp | ops.DropConstraintOp) -> str | None:
        """Return the constraint's name as the catalog has it; None for one that the models give none."""
        constraint = op.to_constraint()
        if constraint.name is None:
            return None
        name = self.quoting.format_constraint(constraint, _alembic_quote=False)
        return None if name is None else str(name)

    def raw_index_name(self, op: ops.CreateIndexOp | ops.DropIndexOp) -> str:
        """Return the index's name as the catalog has it: SQLAlchemy cuts one that a convention made too long."""
        index = op.to_index()
        name = self.quoting.format_constraint(index, _alembic_quote=False) if index.name is not None else op.index_name
        return str(name)

    def is_partitioned(self, schema: str | None, table: str) -> bool:
        """Whether the table is the parent of partitions."""
        kind = sa.text("select relkind = 'p' from pg_class where oid = to_regclass(:table)")
        return bool(self.connection.scalar(kind, {"table": self.quote(schema, table)}))

    def rests_on(self, schema: str | None, table: str, columns: Iterable[str]) -> tuple[Rest, ...]:
        """Return the constraints and indexes of the table that rest on any of the columns."""
        name = self.quote(schema, table)
        if name not in self._rests:
            rows = self.connection.execute(_RESTS_ON, {"table": name})
            self._rests[name] = tuple(Rest(*row) for row in rows)
        wanted = set(columns)
        return tuple(rest for rest in self._rests[name] if rest.column in wanted)

    def enum_columns(self, schema: str, name: str) -> tuple[EnumColumn, ...]:
        """Return the columns of every table that hold this enum."""
        rows = self.connection.execute(_ENUM_COLUMNS, {"schema": schema, "name": name})
        return tuple(EnumColumn(*row) for row in rows)


def plain(dialect: Dialect, sql: str) -> str:
    """Return SQL as PostgreSQL reads it: SQLAlchemy doubles percent signs for drivers that format with them."""
    doubled = dialect.identifier_preparer._double_percents  # noqa: SLF001 -- nothing public tells
    return sql.replace("%%", "%") if doubled else sql


def type_name(dialect: Dialect, type_: TypeEngine) -> str:
    """Return a type as SQL has it; one SQLAlchemy does not know has no words."""
    try:
        return plain(dialect, type_.compile(dialect=dialect))
    except sa.exc.CompileError:
        return "a type SQLAlchemy does not know"


def key(dialect: Dialect, op: ops.MigrateOperation) -> tuple[str | None, str]:
    """Return the table an operation is about: Alembic names the default schema in some and not in others."""
    return (op.schema if op.schema != dialect.default_schema_name else None), op.table_name


def shown(schema: str | None, *names: str) -> str:
    """Return a name as a sentence has it."""
    return ".".join(name for name in (schema, *names) if name)
