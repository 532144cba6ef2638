# ruff: noqa: E501
"""Models strategy: Hypothesis out of which models come as people write them, and changes of them, as text.

Each table is a list of parts; a change keeps most of them. What PostgreSQL itself does not take is fine: then the verb
has to say so as wrong usage.
"""

from __future__ import annotations

from hypothesis import strategies as st

TYPES = (
    "Integer", "BigInteger", "SmallInteger", "Text", "String", "String(20)", "String(7)", "Text(collation='C')", "Boolean", "Numeric",
    "Numeric(10, 2)", "Float", "Float(20)", "Date", "DateTime", "DateTime(timezone=True)", "pg.TIMESTAMP(precision=3)", "Time",
    "pg.TIME(timezone=True, precision=2)", "Interval", "pg.INTERVAL(fields='DAY TO SECOND', precision=3)", "LargeBinary", "Uuid", "JSON",
    "pg.JSONB", "pg.HSTORE", "pg.INET", "pg.CIDR", "pg.MACADDR", "pg.BIT(5)", "pg.BIT(9, varying=True)", "pg.TSVECTOR", "pg.MONEY",
    "pg.OID", "pg.INT4RANGE", "pg.TSTZRANGE", "pg.NUMMULTIRANGE", "ARRAY(Integer)", "ARRAY(String(5))", "ARRAY(Integer, dimensions=2)",
    "Enum('a', 'b', name='mood')", "Enum('a', 'b', 'c', name='mood')", "ARRAY(Enum('a', 'b', name='mood'))",
    "Enum('it''s', 'b:c', name='odd kind')", "Enum('x', 'y', name='plain', native_enum=False, create_constraint=True)",
    "Boolean(name='bool', create_constraint=True)", "Lowered", "Point", "pg.DOMAIN('positive', Integer, check='VALUE > 0')",
    "pg.CHAR(3)", "Double", "pg.REGCLASS", "pg.XML if hasattr(pg, 'XML') else Text",
)  # fmt: skip
PRELUDE = """
class Lowered(TypeDecorator):
    impl = String(12)
    cache_ok = True
class Point(types.UserDefinedType):
    cache_ok = True
    def get_col_spec(self, **kw):
        return "point"
"""
NAMES = ("a", "b", "name", "Select", "order", "with space", "per%cent", "co:lon", "naïve", "x" * 60)
TABLES = ("t", "User", "line items", "a" * 55)
TEXTS = st.text(alphabet="ab:\\%'_é($1{}? \t", max_size=12)
LITERALS = TEXTS.map(lambda text: "literal(" + repr(text) + ")")


def default(type_: str) -> st.SearchStrategy[str]:
    """A server default that the type may take, as often as none."""
    if type_.startswith(("Text", "String", "Lowered")) and "(7)" not in type_:
        return st.one_of(st.just(""), TEXTS.map(lambda text: f", server_default={text!r}"))
    fits = {
        "Integer": ["'7'", "text('1 + 2')"], "BigInteger": ["text('7')", "FetchedValue()"], "Boolean": ["false()", "text('true')"],
        "DateTime(timezone=True)": ["func.now()", "text(\"'2024-01-01 00\\\\:00\\\\:00+02'\")"], "Uuid": ["text('gen_random_uuid()')"],
        "pg.JSONB": ["text(\"\"\"'{\"a\"\\\\:[1]}'\"\"\")", "'{}'"], "ARRAY(Integer)": ["'{}'", "text('ARRAY[1,2]')"],
        "Numeric(10, 2)": ["'1.50'"], "Date": ["func.current_date()"],
    }  # fmt: skip
    return st.sampled_from(["", *(f", server_default={one}" for one in fits.get(type_, []))])


@st.composite
def column(draw, name: str) -> str:
    type_ = draw(st.sampled_from(TYPES))
    special = draw(st.sampled_from(["", "", "", "", "", "identity", "computed", "comment", "index", "unique", "check"]))
    text = f"Column({name!r}, {type_}"
    if special == "identity":
        options = draw(
            st.sampled_from(["always=True", "always=False", "start=5, increment=2", "cycle=True, maxvalue=99"])
        )
        return f"Column({name!r}, BigInteger, Identity({options}))"
    if special == "computed":
        persisted = draw(st.sampled_from(["True", "False"]))
        return f"Column({name!r}, BigInteger, Computed('id * {draw(st.integers(2, 3))}', persisted={persisted}))"
    if special == "check":
        return f"Column({name!r}, Integer, CheckConstraint('id > {draw(st.integers(0, 1))}', name='of {name[:20]}'))"
    text += draw(default(type_))
    text += draw(st.sampled_from(["", "", ", nullable=False"]))
    if special == "comment":
        text += f", comment={draw(TEXTS)!r}"
    if special in ("index", "unique") and not type_.startswith(("JSON", "Point", "pg.XML", "pg.JSON", "pg.HSTORE")):
        text += f", {special}=True"
    return text + ")"


@st.composite
def item(draw, names: list[str], tables: list[str]) -> str:
    """A constraint of a table."""
    on = draw(st.sampled_from([*names, "id"]))
    name = draw(st.sampled_from(["one", "two", "Th:ree", "y" * 70]))
    kind = draw(st.sampled_from(["check", "check", "unique", "foreign", "exclude"]))
    if kind == "check":
        return f"CheckConstraint(column('id').cast(Text) != {draw(LITERALS)}, name={name!r})"
    if kind == "unique":
        options = draw(st.sampled_from(["", ", deferrable=True", ", deferrable=True, initially='DEFERRED'",
                                        ", postgresql_nulls_not_distinct=True", ", postgresql_include=['id']"]))  # fmt: skip
        return f"UniqueConstraint({on!r}{options})"
    if kind == "foreign":
        to = draw(st.sampled_from(tables))
        options = draw(
            st.sampled_from(
                [
                    "",
                    ", ondelete='CASCADE'",
                    ", onupdate='SET NULL', deferrable=True",
                    ", match='FULL'",
                    ", use_alter=True",
                ]
            )
        )
        return f"ForeignKeyConstraint(['ref'], [{to + '.id'!r}]{options})"
    return f"pg.ExcludeConstraint(('during', '&&'), name={name!r}, where=text('id > 1'))"


@st.composite
def index(draw, names: list[str]) -> str:
    name = draw(st.sampled_from(["ix one", "ix_two", "ix:three", "z" * 63]))
    what = draw(
        st.sampled_from(
            ["{t}.c.id", "{t}.c.id.desc()", "func.abs({t}.c.id)", "func.lower(cast({t}.c.id, Text))", "{t}.c.id.between(1, 5)",
             "{t}.c.id.desc().nulls_last(), {t}.c.ref"]
        )
    )  # fmt: skip
    options = draw(
        st.one_of(
            st.sampled_from(["", ", unique=True", ", postgresql_include=['ref']", ", postgresql_with={{'fillfactor': 50}}",
                             ", postgresql_where=text(\"now() > '2024-01-01 00\\\\:00\\\\:00+00'\") if False else None"]),
            LITERALS.map(lambda text: ", postgresql_where=cast({t}.c.id, Text) != " + text.replace("{", "{{").replace("}", "}}")),
        )
    )  # fmt: skip
    return f"Index({name!r}, {what}{options})"


@st.composite
def table(draw, name: str, tables: list[str]) -> tuple[list[str], list[str]]:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    columns = [draw(column(one)) for one in names]
    items = draw(st.lists(item(names, tables), max_size=2, unique_by=lambda one: one.split("(")[0]))
    indexes = draw(st.lists(index(names), max_size=1))
    return columns + items, indexes


@st.composite
def extras(draw) -> str:
    """What stands beside the tables: sequences, partitions, children, tables that refer to each other."""
    comment = draw(st.sampled_from(["None", "'what: it is'"]))
    kinds = {
        "sequence": f"Sequence('numbers', metadata=m, start={draw(st.integers(1, 2))}, increment=2)\n",
        "partitioned": "Table('ev', m, Column('at', DateTime, primary_key=True), Column('n', Integer, index=True), "
        "postgresql_partition_by='RANGE (at)', schema=None)\n",
        "unlogged": f"Table('quick', m, Column('n', Integer, primary_key=True), prefixes=['UNLOGGED'], comment={comment})\n",
        "options": "Table('packed', m, Column('n', Integer, primary_key=True), postgresql_with={'fillfactor': 70})\n",
        "child": "Table('parent', m, Column('n', Integer))\nTable('child', m, Column('o', Integer), postgresql_inherits='parent')\n",
        "circle": "Table('c1', m, Column('id', Integer, primary_key=True), Column('o', ForeignKey('c2.id', name='to_c2')))\n"
        "Table('c2', m, Column('id', Integer, primary_key=True), Column('o', ForeignKey('c1.id', name='to_c1')))\n",
        "composite": "Table('k1', m, Column('a', Integer, primary_key=True), Column('b', Text, primary_key=True))\n"
        "Table('k2', m, Column('x', Integer), Column('y', Text), ForeignKeyConstraint(['x', 'y'], ['k1.a', 'k1.b'], name='pair'))\n",
        "gin": "g = Table('found', m, Column('id', Integer, primary_key=True), Column('doc', pg.JSONB), Column('words', Text))\n"
        "Index('ix_doc', g.c.doc, postgresql_using='gin', postgresql_ops={'doc': 'jsonb_path_ops'})\n"
        "Index('ix_words', func.to_tsvector(text(\"'english'\"), g.c.words), postgresql_using='gin')\n",
    }  # fmt: skip
    chosen = draw(st.lists(st.sampled_from(sorted(kinds)), unique=True, max_size=1))
    return "".join(kinds[kind] for kind in chosen)


@st.composite
def pairs(draw) -> tuple[str, str]:
    """Models before and after a change."""
    names = draw(st.lists(st.sampled_from(TABLES), unique=True, min_size=1, max_size=3))
    schema = draw(st.sampled_from([None, None, None, "shop"]))
    before = {name: draw(table(name, names)) for name in names}
    after = dict(before)
    changed = draw(st.sampled_from(names))
    how = draw(st.sampled_from(["column", "item", "index", "table", "drop", "new", "table"]))
    parts, indexes = before[changed]
    if how == "drop":
        after = {name: before[name] for name in names if name != changed}
    elif how == "new":
        before = {name: after[name] for name in names if name != changed}
    elif how == "index":
        after[changed] = (parts, draw(st.lists(index([]), max_size=1)))
    elif how == "column":
        after[changed] = ([*parts, draw(column("added"))], indexes)
    elif how == "item":
        after[changed] = ([*(one for one in parts if one.startswith("Column")), draw(item([], names))], indexes)
    else:
        after[changed] = draw(table(changed, names))
    convention = draw(st.sampled_from(["", CONVENTION]))
    one, other = draw(extras()), draw(extras())
    return written(before, schema, convention) + one, written(after, schema, convention) + other


CONVENTION = (
    "naming_convention={'ix': 'ix_%(table_name)s_%(column_0_N_name)s', 'uq': 'uq_%(table_name)s_%(column_0_N_name)s', "
    "'ck': 'ck_%(table_name)s_%(constraint_name)s', 'fk': 'fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s', "
    "'pk': 'pk_%(table_name)s'}"
)


def written(tables: dict[str, tuple[list[str], list[str]]], schema: str | None, convention: str) -> str:
    """Return the text of models."""
    given = ", ".join(part for part in (f"schema={schema!r}" if schema else "", convention) if part)
    lines = [
        "import sqlalchemy as sa",
        "from sqlalchemy import *",
        "from sqlalchemy.dialects import postgresql as pg",
        PRELUDE,
    ]
    lines.append(f"m = MetaData({given})")
    known = set(tables)
    for number, (name, (parts, indexes)) in enumerate(tables.items()):
        kept = [
            part
            for part in parts
            if not part.startswith("ForeignKey") or any(repr(f"{one}.id") in part for one in known)
        ]
        if schema:
            kept = [
                part.replace("[['", "[['").replace(", ['", f", ['{schema}.", 1)
                if part.startswith("ForeignKey")
                else part
                for part in kept
            ]
        fixed = [
            "Column('id', BigInteger, primary_key=True, autoincrement=False)",
            "Column('ref', BigInteger)",
            "Column('during', pg.TSRANGE)",
        ]
        lines.append(f"t{number} = Table({name!r}, m, {', '.join([*fixed, *kept])})")
        lines += [one.format(t=f"t{number}") for one in indexes]
    return "\n".join(lines) + "\n"
