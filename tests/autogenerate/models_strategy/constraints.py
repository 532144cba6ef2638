# ruff: noqa: E501
"""Constraints and indexes of models as people write them, as text; in a table whose columns are known."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.autogenerate.models_strategy.columns import LITERALS, TEXTS, said

NAMES = st.sampled_from(
    ["one", "two", "Th:ree", "per%cent", "o'clock", 'qu"oted', "naïve né", "é" * 40, "y" * 50, None]
)
UNIQUE = ("", ", deferrable=True", ", deferrable=True, initially='DEFERRED'", ", deferrable=True, initially='IMMEDIATE'",
          ", postgresql_nulls_not_distinct=True", ", postgresql_include=['id']")  # fmt: skip
FOREIGN = ("", ", ondelete='CASCADE'", ", onupdate='SET NULL', deferrable=True", ", match='FULL'", ", use_alter=True, name='{at}circle'",
           ", deferrable=True, initially='DEFERRED', ondelete='SET DEFAULT'", ", ondelete='SET NULL (toward)'", ", ondelete='RESTRICT', onupdate='NO ACTION'",
           ", postgresql_not_valid=True")  # fmt: skip
EXCLUDE = (
    "('during', '&&')", "('during', '&&'), (column('id'), '='), using='gist'", "(func.lower(column('ref')), '='), using='btree'",
    "('during', '&&'), where=text('id > 1')", "('during', '&&'), deferrable=True, initially='DEFERRED'", "('during', '-|-'), ops={'during': 'range_ops'}",
)  # fmt: skip
EXPRESSIONS = (
    "{t}.c.id", "{t}.c.id.desc()", "func.abs({t}.c.id)", "func.lower(cast({t}.c.id, Text))", "{t}.c.id.between(1, 5)",
    "{t}.c.id.desc().nulls_last(), {t}.c.ref", "text(\"(ref || '\\\\:x')\")", "func.coalesce({t}.c.ref, 'a:b%c')", "text('ref COLLATE \"C\"')",
    "{t}.c.ref.collate('C')", "func.lower(func.trim({t}.c.ref)), {t}.c.id.asc().nulls_first()",
    "{t}.c.ref.regexp_match('^(?:a|b)$')", "text('lower(ref) text_pattern_ops')", "{t}.c.ref.op('||')('x')", "{t}.c.id % 3", "{t}.c.id + 1",
)  # fmt: skip
OPTIONS = (
    "", ", unique=True", ", postgresql_include=['ref']", ", postgresql_with={'fillfactor': 50}", ", postgresql_nulls_not_distinct=True, unique=True",
    ", postgresql_where=text(\"ref > '10\\\\:00\\\\:00'\")", ", postgresql_where=column('ref').in_(['a', 'b:c'])", ", postgresql_where=column('id').is_not(None)",
    ", postgresql_where=column('ref').like('%a:b%')", ", postgresql_tablespace='pg_default'", ", postgresql_where='id > 5'",
)  # fmt: skip
WHOLE = (
    "{t}.c.ref, postgresql_using='hash'", "{t}.c.id, postgresql_using='brin', postgresql_with={'pages_per_range': 32}", "{t}.c.during, postgresql_using='gist'",
    "{t}.c.ref, postgresql_ops={'ref': 'text_pattern_ops'}", "func.to_tsvector(text(\"'english'\"), {t}.c.ref), postgresql_using='gin'",
    "{t}.c.ref, postgresql_using='spgist'", "func.lower({t}.c.ref).label('low'), postgresql_ops={'low': 'varchar_pattern_ops'}",
)  # fmt: skip


def named(name: str | None, at: str) -> str:
    """Return the argument that names it; most names are the table's own, as people make them."""
    return "" if name is None else f", name={(at + name)!r}"


@st.composite
def items(draw, names: list[str], tables: list[str], at: str) -> str:
    """A constraint of a table."""
    kind = draw(st.sampled_from(["check", "check", "unique", "foreign", "exclude"]))
    name = named(draw(NAMES), at)
    if kind == "check":
        return f"CheckConstraint({draw(checks())}{name}{draw(comments())})"
    if kind == "unique":
        on = draw(st.sampled_from([*map(repr, names), "'id'", "'ref'", "'id', 'ref'"]))
        return f"UniqueConstraint({on}{draw(st.sampled_from(UNIQUE))}{name}{draw(comments())})"
    if kind == "foreign":
        options = draw(st.sampled_from(FOREIGN)).replace("{at}", at)
        return f"ForeignKeyConstraint(['toward'], [{draw(st.sampled_from(tables)) + '.id'!r}]{options})"
    return f"pg.ExcludeConstraint({draw(st.sampled_from(EXCLUDE))}{name})"


@st.composite
def checks(draw) -> str:
    """A condition, as an expression or as text, with any literal."""
    how = draw(st.sampled_from(["expression", "expression", "text", "in", "regexp", "like", "number"]))
    if how == "text":
        return f"text({draw(said('ref'))})"
    return {
        "expression": "column('ref') != {0}", "in": "column('ref').in_([{0}, 'x'])", "regexp": "column('ref').regexp_match('^(?:ab|c:d)+$')",
        "like": "column('ref').not_like({0})", "number": "and_(column('id') > 1.5, column('id') < 10 ** 6)",
    }[how].replace("{0}", draw(LITERALS))  # fmt: skip


def comments() -> st.SearchStrategy[str]:
    return st.one_of(st.just(""), st.just(""), st.just(""), TEXTS.filter(bool).map(lambda text: f", comment={text!r}"))


@st.composite
def indexes(draw, at: str) -> str:
    """An index of the table `{t}`; with a name of its own."""
    name = draw(st.sampled_from(["ix one", "ix_two", "ix:three", "Ix%", "é" * 40, "z" * 61]))
    called = repr(at + name)
    if draw(st.integers(0, 3)) == 0:
        return f"Index({called}, {draw(st.sampled_from(WHOLE))})"
    options = st.sampled_from(OPTIONS) | LITERALS.map(lambda text: f", postgresql_where=column('ref') != {text}")
    return f"Index({called}, {draw(st.sampled_from(EXPRESSIONS))}{draw(options)})"
