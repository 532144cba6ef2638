# ruff: noqa: E501
"""Columns of models as people write them, as text: types with their options, defaults, identities, generated ones."""

from __future__ import annotations

from hypothesis import strategies as st

PRELUDE = """
import enum
class Lowered(TypeDecorator):
    impl = String(12)
    cache_ok = True
class Point(types.UserDefinedType):
    cache_ok = True
    def get_col_spec(self, **kw):
        return "point"
class Document(TypeDecorator):
    impl = Text
    cache_ok = True
    def load_dialect_impl(self, dialect):
        return dialect.type_descriptor(pg.JSONB())
class Words(TypeDecorator):
    impl = ARRAY(Text)
    cache_ok = True
class Colour(enum.Enum):
    RED = "r:ed"
    BLUE = "b'lue"
class Coloured(TypeDecorator):
    impl = Enum(Colour, name="coloured")
    cache_ok = True
"""
TYPES = {
    "numbers": [
        "Integer", "BigInteger", "SmallInteger", "Numeric", "Numeric(10, 2)", "Numeric(5)", "Float", "Float(20)", "Float(53)", "Double",
        "REAL", "pg.DOUBLE_PRECISION", "pg.MONEY", "pg.OID", "DECIMAL(7, 3)",
    ],
    "texts": [
        "Text", "String", "String(20)", "String(7)", "Text(collation='C')", "String(9, collation='C')", "Unicode(30)", "UnicodeText", "pg.CHAR(3)",
        "CHAR", "pg.CITEXT", "Lowered", "pg.XML if hasattr(pg, 'XML') else Text", "Text().with_variant(pg.CITEXT(), 'postgresql')",
        "Text().with_variant(String(5), 'sqlite')", "pg.TSVECTOR", "pg.TSQUERY", "NCHAR(4)", "CLOB().with_variant(Text(), 'postgresql')",
    ],
    "times": [
        "Date", "DateTime", "DateTime(timezone=True)", "pg.TIMESTAMP(precision=3)", "pg.TIMESTAMP(timezone=True, precision=0)", "Time",
        "pg.TIME(timezone=True, precision=2)", "Interval", "Interval(second_precision=2)", "pg.INTERVAL(fields='DAY TO SECOND', precision=3)",
        "pg.INTERVAL(fields='YEAR TO MONTH')", "TIMESTAMP",
    ],
    "bytes and networks": [
        "LargeBinary", "LargeBinary(10)", "PickleType", "Uuid", "Uuid(as_uuid=False)", "pg.UUID", "pg.BYTEA", "pg.INET", "pg.CIDR", "pg.MACADDR", "pg.MACADDR8",
        "pg.BIT", "pg.BIT(5)", "pg.BIT(9, varying=True)", "pg.BIT(varying=True)",
    ],
    "documents": ["JSON", "pg.JSON", "pg.JSONB", "JSON().with_variant(pg.JSONB(), 'postgresql')", "Document", "pg.HSTORE", "pg.JSONPATH"],
    "ranges": [
        "pg.INT4RANGE", "pg.INT8RANGE", "pg.NUMRANGE", "pg.DATERANGE", "pg.TSTZRANGE", "pg.NUMMULTIRANGE", "pg.INT4MULTIRANGE", "pg.DATEMULTIRANGE",
        "pg.TSMULTIRANGE",
    ],
    "arrays": [
        "ARRAY(Integer)", "ARRAY(String(5))", "ARRAY(Integer, dimensions=2)", "pg.ARRAY(Text)", "pg.ARRAY(DateTime(timezone=True))", "Words",
        "ARRAY(Numeric(6, 2))", "ARRAY(Uuid)", "pg.ARRAY(pg.JSONB)", "ARRAY(Enum({mood}, name='mood'))", "ARRAY(Lowered)",
    ],
    "enums": [
        "Enum({mood}, name='mood')", "Enum({mood}, name='mood')", "Enum(\"it's\", 'b:c', 'per%', name='odd kind')", "Enum(Colour)", "Coloured",
        "Enum(Colour, name='by_value', values_callable=lambda e: [one.value for one in e])",
        "Enum('x', 'y', name='plain', native_enum=False, create_constraint=True)", "Enum('x', 'y', native_enum=False, length=20)",
        "Enum('n', 'm', name='elsewhere', schema='shop')", "pg.ENUM('p', 'q', name='dialects')", "Enum('s', name='of_metadata', metadata=m)",
        "Boolean", "Boolean(name='bool', create_constraint=True)",
    ],
    "own": [
        "Point", "pg.DOMAIN('positive', Integer, check='VALUE > 0')", "pg.DOMAIN('short', String(5), collation='C', default='x', not_null=False)",
        "pg.REGCLASS", "pg.REGCONFIG", "ARRAY(pg.DOMAIN('positive', Integer, check='VALUE > 0'))",
    ],
}  # fmt: skip
MOODS = ("'a', 'b'", "'a', 'b', 'c'", "'a', 'c', 'b'", "'b', 'c'")
TEXTS = st.text(alphabet="ab:\\%'_é($1{}?\"; \t", max_size=12)
LITERALS = TEXTS.map(lambda text: f"literal({text!r})")
# What people write, with the colons of `text()` as it wants them.
DEFAULTS = {
    "Integer": ["'7'", "text('1 + 2')", "text('-1')", "literal(5)", "func.length('a:b')", "Sequence('by_hand', metadata=m).next_value()"],
    "BigInteger": ["text('7')", "FetchedValue()", "'-9'", "cast(literal('12'), BigInteger)"],
    "Numeric(10, 2)": ["'1.50'", "text('0.00')", "literal(2.25)"], "Float": ["'0'", "text('pi()')"], "Double": ["text('1e10')"],
    "Boolean": ["false()", "text('true')", "'t'", "true()", "sa.literal(False)"],
    "Date": ["func.current_date()", "text(\"'2024-02-29'\")"], "DateTime": ["func.now()", "text('localtimestamp(0)')", "'2024-01-01 10:11:12'"],
    "DateTime(timezone=True)": ["func.now()", "text(\"'2024-01-01 00\\\\:00\\\\:00+02'\")", "text(\"(now() AT TIME ZONE 'utc')\")", "func.clock_timestamp()"],
    "Interval": ["text(\"'1 day'\")", "'01:02:03'"], "Time": ["text(\"'10\\\\:30'\")", "func.localtime()"],
    "Uuid": ["text('gen_random_uuid()')", "func.gen_random_uuid()"], "LargeBinary": ["text(\"'\\\\xdeadbeef'\")"], "pg.INET": ["'::1'"],
    "pg.JSONB": ["text(\"\"\"'{\"a\"\\\\:[1]}'\"\"\")", "'{}'", "func.jsonb_build_object('k:1', 2)", "text(\"'[]'\\\\:\\\\:jsonb\")"],
    "JSON": ["'{\"a\": \"b:c\"}'"], "pg.HSTORE": ["'a=>1'", "''"], "pg.INT4RANGE": ["'[1,5)'", "text('int4range(1, 3)')"],
    "ARRAY(Integer)": ["'{}'", "text('ARRAY[1,2]')", "text('ARRAY[]\\\\:\\\\:integer[]')"], "pg.ARRAY(Text)": ["'{\"a:b\",\"c''d\"}'", "pg.array(['x', 'y:z'])"],
    "Enum({mood}, name='mood')": ["'b'", "text(\"'b'\\\\:\\\\:mood\")"], "Enum(Colour)": ["'RED'", "Colour.RED.name"], "pg.BIT(5)": ["text(\"B'10101'\")"],
    "Lowered": ["'low'", "func.lower('LOW')"], "pg.DOMAIN('positive', Integer, check='VALUE > 0')": ["'3'"], "Document": ["'{}'"],
}  # fmt: skip
IDENTITIES = ("always=True", "always=False", "start=5, increment=2", "cycle=True, maxvalue=99", "minvalue=-5, start=-5, cache=10",
              "increment=-1, maxvalue=100, start=100", "nominvalue=True", "always=True, start=1000")  # fmt: skip
GENERATED = ("BigInteger, Computed('id * {n}'", "Text, Computed(\"ref || ':x{n}'\"", "Text, Computed(func.lower(column('ref') + 'a:b%')",
             "Integer, Computed(column('id') + {n}", "Text, Computed(\"CASE WHEN id > {n} THEN 'é' ELSE 'b' END\"")  # fmt: skip
NOT_FOR_BTREE = ("JSON", "Point", "pg.XML", "pg.JSON", "pg.HSTORE", "pg.JSONPATH", "pg.ARRAY(pg.JSON")
KINDS = st.sampled_from(sorted(TYPES))


@st.composite
def types(draw) -> str:
    return draw(st.sampled_from(TYPES[draw(KINDS)]))


@st.composite
def said(draw, name: str) -> str:
    """A condition as the text that `text()` wants, with any literal."""
    literal = "'" + draw(TEXTS).replace("'", "''") + "'"
    quoted = '"' + name.replace("\\", "").replace('"', '""') + '"'
    return repr(f"{quoted} <> {literal}".replace("\\", "\\\\").replace(":", "\\:"))


def default(type_: str) -> st.SearchStrategy[str]:
    """A server default that the type may take, as often as none."""
    if type_.startswith(("Text", "String(20)", "Unicode")):
        return st.one_of(st.just(""), TEXTS.map(lambda text: f", server_default={text!r}"),
                         LITERALS.map(lambda text: f", server_default={text}"))  # fmt: skip
    return st.sampled_from(["", *(f", server_default={one}" for one in DEFAULTS.get(type_, []))])


@st.composite
def columns(draw, name: str, prefix: str = "Column") -> str:
    special = draw(
        st.sampled_from(
            ["", "", "", "", "identity", "generated", "comment", "index", "unique", "check", "sequence", "serial"]
        )
    )
    start = f"{prefix}({name!r}, "
    if special == "identity":
        return f"{start}{draw(st.sampled_from(['BigInteger', 'Integer', 'SmallInteger']))}, Identity({draw(st.sampled_from(IDENTITIES))}))"
    if special == "generated":
        what = draw(st.sampled_from(GENERATED)).replace("{n}", str(draw(st.integers(2, 3))))
        return f"{start}{what}, persisted={draw(st.booleans())}))"
    if special == "check":
        named = draw(st.sampled_from(["", f", name={'of ' + name[:20]!r}"]))
        return f"{start}Text, CheckConstraint({draw(said(name))}{named}))"
    if special == "sequence":
        return f"{start}Integer, Sequence('counted', start={draw(st.integers(1, 2))}, data_type=Integer, metadata=m))"
    if special == "serial":
        return f"{start}Integer, server_default=Sequence({name[:9] + ' seq'!r}, metadata=m).next_value())"
    type_ = draw(types())
    text = start + type_ + draw(default(type_)) + draw(st.sampled_from(["", "", ", nullable=False"]))
    if special == "comment":
        text += f", comment={draw(TEXTS)!r}"
    if special in ("index", "unique") and not type_.startswith(NOT_FOR_BTREE):
        text += f", {special}=True"
    return text + ")"
