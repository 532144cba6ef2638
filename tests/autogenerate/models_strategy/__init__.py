# ruff: noqa: E501
"""Models strategy: Hypothesis out of which models come as people write them, and changes of them, as text.

Each table is a list of parts; a change keeps most of them. What PostgreSQL itself does not take is fine: then the verb
has to say so as wrong usage.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from tests.autogenerate.models_strategy.columns import MOODS, PRELUDE, columns
from tests.autogenerate.models_strategy.constraints import indexes, items

COLUMNS = (
    "a",
    "b",
    "name",
    "Select",
    "order",
    "with space",
    "per%cent",
    "co:lon",
    "naïve",
    'qu"ote',
    "o'clock",
    "x" * 60,
)
TABLES = ("t", "User", "line items", "a" * 55, "größe", "per%", "na:me")
CONVENTION = (
    "naming_convention={'ix': 'ix_%(table_name)s_%(column_0_N_name)s', 'uq': 'uq_%(table_name)s_%(column_0_N_name)s', "
    "'ck': 'ck_%(table_name)s_%(constraint_name)s', 'fk': 'fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s', "
    "'pk': 'pk_%(table_name)s'}"
)
FIXED = (
    "Column('id', BigInteger, primary_key=True, autoincrement=False)", "Column('ref', Text)", "Column('toward', BigInteger)", "Column('during', pg.TSRANGE)",
)  # fmt: skip
# What stands beside the tables, each a pair that a change may lead between.
BESIDE = {
    "sequence": ("Sequence('numbers', metadata=m, start=1, increment=2)", "Sequence('numbers', metadata=m, start=3, maxvalue=500, cycle=True)"),
    "sequence elsewhere": ("Sequence('afar', metadata=m, schema='shop', data_type=SmallInteger)", "Sequence('afar', metadata=m, schema='shop')"),
    "partitioned": ("Table('ev', m, Column('at', DateTime, primary_key=True), Column('n', Integer, index=True), postgresql_partition_by='RANGE (at)')",
                    "Table('ev', m, Column('at', DateTime, primary_key=True), Column('n', BigInteger), Column('o', Text), postgresql_partition_by='RANGE (at)')"),
    "by list": ("Table('by list', m, Column('k', Text), postgresql_partition_by='LIST (lower(k))')",
                "Table('by list', m, Column('k', Text), Column('n', Integer), postgresql_partition_by='LIST (k)')"),
    "unlogged": ("Table('quick', m, Column('n', Integer, primary_key=True), prefixes=['UNLOGGED'], comment='what: it \"is\" %')",
                 "Table('quick', m, Column('n', Integer, primary_key=True), comment='other')"),
    "options": ("Table('packed', m, Column('n', Integer, primary_key=True), postgresql_with={'fillfactor': 70})",
                "Table('packed', m, Column('n', Integer, primary_key=True), postgresql_with={'fillfactor': 80, 'autovacuum_enabled': 'false'})"),
    "child": ("Table('parent', m, Column('n', Integer))\nTable('child', m, Column('o', Integer), postgresql_inherits='parent')",
              "Table('parent', m, Column('n', Integer), Column('p', Text))\nTable('child', m, Column('o', Integer), postgresql_inherits='parent')"),
    "circle": (("Table('c1', m, Column('id', Integer, primary_key=True), Column('o', ForeignKey('{s}c2.id', name='to_c2')))\n"
               "Table('c2', m, Column('id', Integer, primary_key=True), Column('o', ForeignKey('{s}c1.id', name='to_c1')))"),
               "Table('c1', m, Column('id', Integer, primary_key=True))\nTable('c2', m, Column('id', Integer, primary_key=True), Column('o', ForeignKey('{s}c1.id')))"),
    "self": ("Table('tree', m, Column('id', Integer, Identity(), primary_key=True), Column('up', ForeignKey('{s}tree.id', ondelete='CASCADE')))",
             "Table('tree', m, Column('id', Integer, Identity(), primary_key=True), Column('up', ForeignKey('{s}tree.id', deferrable=True)))"),
    "composite": (("Table('k1', m, Column('a', Integer, primary_key=True), Column('b', Text, primary_key=True))\n"
                  "Table('k2', m, Column('x', Integer), Column('y', Text), ForeignKeyConstraint(['x', 'y'], ['{s}k1.a', '{s}k1.b'], name='pair'))"),
                  ("Table('k1', m, Column('a', Integer, primary_key=True), Column('b', Text, primary_key=True), UniqueConstraint('b', 'a'))\n"
                  "Table('k2', m, Column('x', Integer), Column('y', Text), ForeignKeyConstraint(['y', 'x'], ['{s}k1.b', '{s}k1.a'], match='FULL'))")),
    "across": ("Table('far', m, Column('id', Integer, primary_key=True), schema='shop')\nTable('near', m, Column('n', ForeignKey('shop.far.id')))",
               ("Table('far', m, Column('id', Integer, primary_key=True), Column('k', Enum('n', 'm', name='kinds', schema='shop')), schema='shop')\n"
               "Table('near', m, Column('n', ForeignKey('shop.far.id', ondelete='SET NULL')), Column('k', Enum('n', 'm', name='kinds', schema='shop')))")),
    "gin": (("g = Table('found', m, Column('id', Integer, primary_key=True), Column('doc', pg.JSONB), Column('words', Text))\n"
            "Index('ix_doc', g.c.doc, postgresql_using='gin', postgresql_ops={'doc': 'jsonb_path_ops'})"),
            ("g = Table('found', m, Column('id', Integer, primary_key=True), Column('doc', pg.JSONB), Column('words', Text))\n"
            "Index('ix_doc', g.c.doc['a']['b'].astext)\nIndex('ix_words', func.to_tsvector(text(\"'english'\"), g.c.words), postgresql_using='gin')")),
    "no key": ("Table('bare', m, Column('n', Integer))", "Table('bare', m, Column('n', Integer, primary_key=True), Column('o', Integer))"),
    "serial": ("Table('numbered', m, Column('id', Integer, primary_key=True))", "Table('numbered', m, Column('id', BigInteger, primary_key=True))"),
    "identity": ("Table('numbered', m, Column('id', Integer, primary_key=True))", "Table('numbered', m, Column('id', Integer, Identity(), primary_key=True))"),
}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """One table: its parts, its indexes, and what else its definition says."""

    parts: tuple[str, ...]
    indexes: tuple[str, ...] = ()
    more: str = ""


@st.composite
def tables(draw, names: list[str], at: str) -> Drawn:
    of_table = draw(st.lists(st.sampled_from(COLUMNS), unique=True, max_size=3))
    parts = [draw(columns(one)) for one in of_table]
    parts += draw(st.lists(items(of_table, names, at), max_size=2, unique_by=lambda one: one.split("(")[0]))
    more = draw(st.sampled_from(["", "", "", ", comment='it is: \"100%\"'", ", postgresql_with={'fillfactor': 90}"]))
    return Drawn(
        tuple(parts), tuple(draw(st.lists(indexes(at), max_size=2, unique_by=lambda one: one.split(",")[0]))), more
    )


@st.composite
def changed(draw, before: Drawn, names: list[str], at: str) -> Drawn:
    """A table after somebody worked on it."""
    columns_ = tuple(one for one in before.parts if one.startswith("Column"))
    others = before.parts[len(columns_) :]
    how = draw(st.sampled_from(["added", "item", "index", "other", "less", "comment", "column"]))
    if how == "other" or (how in ("less", "column") and not columns_):
        return draw(tables(names, at))
    parts = {
        "added": lambda: (*before.parts, draw(columns("added"))),
        "item": lambda: (*columns_, draw(items([], names, at))),
        "less": lambda: columns_[:-1],
        "column": lambda: (
            draw(columns(ast.literal_eval(columns_[0][len("Column(") :].split(", ")[0]))),
            *columns_[1:],
            *others,
        ),
    }.get(how, lambda: before.parts)()
    if how == "index":
        return replace(before, indexes=tuple(draw(st.lists(indexes(at), max_size=1))))
    return replace(before, parts=parts, more=", comment='né'" if how == "comment" else before.more)


@st.composite
def pairs(draw) -> tuple[str, str]:
    """Models before and after a change; at times there were none before."""
    names = draw(st.lists(st.sampled_from(TABLES), unique=True, min_size=1, max_size=3))
    before = {name: draw(tables(names, f"{at} ")) for at, name in enumerate(names)}
    after = dict(before)
    one = draw(st.sampled_from(names))
    how = draw(st.sampled_from(["changed", "changed", "changed", "drop", "new", "first"]))
    if how == "drop":
        del after[one]
    elif how == "new":
        del before[one]
    elif how == "first":
        before = {}
    else:
        after[one] = draw(changed(before[one], names, f"{names.index(one)} "))
    schema, convention = draw(st.sampled_from([None, None, None, "shop"])), draw(st.sampled_from(["", CONVENTION]))
    beside = draw(st.lists(st.sampled_from(sorted(BESIDE)), unique_by=lambda kind: BESIDE[kind][0], max_size=1))
    states = draw(st.sampled_from([(0, 0), (0, 1), (1, 0), (None, 0), (0, None)]))
    old, new = draw(st.sampled_from([(0, 0), (0, 0), (0, 1), (0, 2), (1, 0), (0, 3)]))
    return (
        written(before, schema, convention, MOODS[old], [BESIDE[kind][states[0]] for kind in beside if states[0] is not None]),
        written(after, schema, convention, MOODS[new], [BESIDE[kind][states[1]] for kind in beside if states[1] is not None]),
    )  # fmt: skip


def written(tables: dict[str, Drawn], schema: str | None, convention: str, mood: str, beside: list[str]) -> str:
    """Return the text of models."""
    given = ", ".join(part for part in (f"schema={schema!r}" if schema else "", convention) if part)
    dot = f"{schema}." if schema else ""
    lines = ["import sqlalchemy as sa", "from sqlalchemy import *", "from sqlalchemy.dialects import postgresql as pg"]
    lines += [PRELUDE, f"m = MetaData({given})"]
    for number, (name, table) in enumerate(tables.items()):
        kept = [part.replace("{mood}", mood) for part in table.parts if _refers_to_known(part, tables)]
        kept = [part.replace("], ['", f"], ['{dot}") if part.startswith("ForeignKey") else part for part in kept]
        lines.append(f"t{number} = Table({name!r}, m, {', '.join([*FIXED, *kept])}{table.more})")
        lines += [one.replace("{t}", f"t{number}") for one in table.indexes]
    return "\n".join(lines + [one.replace("{s}", dot) for one in beside]) + "\n"


def _refers_to_known(part: str, tables: dict[str, Drawn]) -> bool:
    return not part.startswith("ForeignKey") or any(repr(f"{one}.id") in part for one in tables)
