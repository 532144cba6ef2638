# ruff: noqa: E501, ISC004, Q003
"""Models that people reported elsewhere, reduced: each is written as it is meant, or refused with what to do."""

import pytest

from tests.autogenerate.models_project import ModelsProject

T = "class T(Base):\n    __tablename__ = 't'\n    id = mapped_column(BigInteger, primary_key=True)\n"
POINT = "class Point(types.UserDefinedType):\n    cache_ok = True\n    def get_col_spec(self, **kw):\n        return 'point'\n"
NEW = {
    "a check with colons in a pattern": T
    + """
    name = mapped_column(Text)
T.__table__.append_constraint(CheckConstraint(T.__table__.c.name.regexp_match("^(?:ab|cd)$"), name="fmt"))
""",
    "a predicate with colons": T
    + """
    name = mapped_column(Text)
    k = mapped_column(Text)
Index("ix", T.__table__.c.name, unique=True, postgresql_where=T.__table__.c.k == "x:admin :a")
""",
    "a default with colons": T
    + """
    o = mapped_column(pg.JSONB, server_default=text(\"\"\"'{"on"\\\\:true}'::jsonb\"\"\"))
    at = mapped_column(Time, server_default=text("'10:30:00'"))
""",
    "a check of a column": T
    + """
    v = mapped_column(Integer, CheckConstraint("v > 0", name="positive"))
""",
    "a decorator": """
class Lowered(TypeDecorator):
    impl = Text
    cache_ok = True
"""
    + T
    + """
    a = mapped_column(Lowered)
""",
    "a collation": T
    + """
    a = mapped_column(Text(collation="C"))
""",
    "a system column": T
    + """
    xmin = mapped_column("xmin", Integer, system=True, server_default=FetchedValue())
    a = mapped_column(Text)
""",
    "a schema of the MetaData": """
class Shop(DeclarativeBase):
    metadata = MetaData(schema="shop")
class T(Shop):
    __tablename__ = "t"
    id = mapped_column(BigInteger, primary_key=True)
    kind = mapped_column(Enum("x", "y", name="kind"))
""",
    "a time zone in a predicate": T
    + """
    at = mapped_column(DateTime(timezone=True))
    __table_args__ = (Index("ix_at", "at", postgresql_where=text("at > '2024-01-01 00:00:00+00'")),)
""",
    "expressions in indexes": T
    + """
    name = mapped_column(Text)
    doc = mapped_column(pg.JSONB)
    i = mapped_column(Integer)
Index("i1", func.lower(func.trim(T.__table__.c.name)))
Index("i2", T.__table__.c.doc["a"]["b"].astext)
Index("i3", T.__table__.c.i.between(1, 5))
""",
    "a long name and a check of a type": T
    + """
    kind = mapped_column(Enum("x", "y", name="kind", native_enum=False, create_constraint=True))
    __table_args__ = (CheckConstraint("id > 0", name="a" * 80),)
""",
    "two tables that refer to each other": """
class A(Base):
    __tablename__ = "a"
    id = mapped_column(BigInteger, primary_key=True)
    b_id = mapped_column(ForeignKey("b.id"))
class B(Base):
    __tablename__ = "b"
    id = mapped_column(BigInteger, primary_key=True)
    a_id = mapped_column(ForeignKey("a.id", use_alter=True))
""",
    "an index of a function without a cast": T
    + """
    name = mapped_column(Text)
Index("ix_fts", func.to_tsvector(literal_column("'english'::regconfig"), T.__table__.c.name))
""",
    "options of constraints": T
    + """
    a = mapped_column(Integer)
    b = mapped_column(Integer)
    during = mapped_column(pg.TSTZRANGE)
    t_id = mapped_column(BigInteger)
    __table_args__ = (
        UniqueConstraint("a", deferrable=True, initially="DEFERRED"),
        UniqueConstraint("b", postgresql_nulls_not_distinct=True, postgresql_include=["a"]),
        pg.ExcludeConstraint(("during", "&&"), name="no_overlap"),
        ForeignKeyConstraint(["t_id"], ["t.id"], match="FULL", deferrable=True, ondelete="CASCADE"),
    )
""",
}


@pytest.fixture
def project(server, database, tmp_path):
    return ModelsProject.make(tmp_path / "project", server.url, database)


@pytest.mark.parametrize("name", NEW)
def test_new_models_are_there_after_the_first_deploy(name: str, project) -> None:
    project.models(NEW[name])
    project.holds()


def column(text: str, *more: str) -> str:
    return T + f"    a = {text}\n" + "".join(f"    {line}\n" for line in more)


WRITTEN = {
    "an identity": (
        T + "    n = mapped_column(BigInteger, Identity(always=True))\n",
        T + "    n = mapped_column(BigInteger, Identity(always=False, increment=2))\n",
    ),
    "a length that goes": (column("mapped_column(String(10))"), column("mapped_column(String)")),
    "a number without limits": (column("mapped_column(Numeric(10, 2))"), column("mapped_column(Numeric)")),
    "text to varchar": (column("mapped_column(Text)"), column("mapped_column(String)")),
    "a default of json": (
        column("mapped_column(pg.JSONB, server_default=text(\"'{}'\"))"),
        column('mapped_column(pg.JSONB, server_default=text("""\'{"a"\\\\:1}\'"""))'),
    ),
    "a constraint that is deferrable": (
        column("mapped_column(Integer)", "__table_args__ = (UniqueConstraint('a'),)"),
        column("mapped_column(Integer)", "__table_args__ = (UniqueConstraint('a', deferrable=True),)"),
    ),
    "a key with another match": (
        column("mapped_column(ForeignKey('t.id'))"),
        column("mapped_column(ForeignKey('t.id', ondelete='SET NULL', deferrable=True, initially='DEFERRED'))"),
    ),
    "another name": (
        column(
            "mapped_column(Integer)", "__table_args__ = (CheckConstraint('a > 0', name='old'), Index('ix_old', 'a'))"
        ),
        column(
            "mapped_column(Integer)", "__table_args__ = (CheckConstraint('a > 0', name='new'), Index('ix_new', 'a'))"
        ),
    ),
    "a type of somebody's own": (
        T,
        "class Point(types.UserDefinedType):\n    cache_ok = True\n    def get_col_spec(self, **kw):\n        return 'point'\n"
        + column("mapped_column(Point)"),
    ),
    "a column in a schema": (
        "class Shop(DeclarativeBase):\n    metadata = MetaData(schema='shop')\nclass S(Shop):\n    __tablename__ = 's'\n"
        "    id = mapped_column(BigInteger, primary_key=True)\n",
        "class Shop(DeclarativeBase):\n    metadata = MetaData(schema='shop')\nclass S(Shop):\n    __tablename__ = 's'\n"
        "    id = mapped_column(BigInteger, primary_key=True)\n    more = mapped_column(Enum('x', 'y', name='kind'))\n",
    ),
    "a sequence": (T, "Sequence('numbers', metadata=Base.metadata, start=5)\n" + T),
    "a sequence that goes": ("Sequence('numbers', metadata=Base.metadata, start=5)\n" + T, T),
    "a partitioned table": (
        T,
        T
        + "Table('ev', Base.metadata, Column('at', DateTime, primary_key=True), postgresql_partition_by='RANGE (at)')\n",
    ),
    "a table that goes": (
        T + "class U(Base):\n    __tablename__ = 'u'\n    id = mapped_column(BigInteger, primary_key=True)\n"
        "    t_id = mapped_column(ForeignKey('t.id'))\n    kind = mapped_column(Enum('x', name='kind'), index=True)\n",
        T,
    ),
    "a table of a type of its own that goes, with its indexes": (
        T + POINT + "p = Table('p', Base.metadata, Column('at', Point), Column('n', Text, index=True))\n"
        "Index('ix_low', func.lower(p.c.n))\n",
        T,
    ),
    "columns of types of their own that go, with what rests on them": (
        T
        + POINT
        + "Table('p', Base.metadata, Column('id', Integer, primary_key=True), Column('at', Point, comment='a:b'), "
        "Column('t_id', pg.DOMAIN('ids', BigInteger), ForeignKey('t.id'), nullable=False, server_default='1', comment='of: t'), "
        "CheckConstraint('t_id > 0', name='some'), UniqueConstraint('t_id', comment='once: only'))\n",
        T + "Table('p', Base.metadata, Column('id', Integer, primary_key=True))\n",
    ),
    "a column of a new domain, and one that counts by a new sequence": (
        T,
        column(
            "mapped_column(pg.DOMAIN('short', String(5), default='x'))",
            'b = mapped_column(Integer, server_default=Sequence("o\'clock", metadata=Base.metadata).next_value())',
        ),
    ),
    "a constraint with a comment": (
        column("mapped_column(Text)"),
        column(
            "mapped_column(Text)",
            "__table_args__ = (UniqueConstraint('a', comment='once: only'), "
            "CheckConstraint(\"a <> 'x'\", name='some', comment='not: x'))",
        ),
    ),
    "an identity that becomes a sequence of its own": (
        column("mapped_column(Integer, Identity())"),
        column("mapped_column(Integer, server_default=Sequence('numbers', metadata=Base.metadata).next_value())"),
    ),
    "a table beside one whose key counts by a sequence with an apostrophe": (
        "Table(\"o'clock\", Base.metadata, Column('id', Integer, primary_key=True))\n" + T,
        "Table(\"o'clock\", Base.metadata, Column('id', Integer, primary_key=True), Column('a', Text))\n",
    ),
}
REFUSED = {
    "two enums of one name": (
        T, column("mapped_column(Enum('x', 'y', name='k'))", "b = mapped_column(Enum('x', 'y', 'z', name='k'))"),
        "t.b: the release needs to write z",
    ),
    "a longer label of an enum that is a CHECK": (
        column("mapped_column(Enum('x', 'y', name='k', native_enum=False, create_constraint=True))"),
        column("mapped_column(Enum('x', 'y', 'zz', name='k', native_enum=False, create_constraint=True))"),
        "PostgreSQL checks every row against ck_t_k anew",
    ),
    "a column that nothing fills": (
        T, T + "class U(Base):\n    __tablename__ = 'u'\n    id = mapped_column(BigInteger, primary_key=True)\n"
        "    a = mapped_column(Text, FetchedValue(), nullable=False)\n",
        "u.a: the release needs to leave it out on INSERT",
    ),
    "text to an array": (column("mapped_column(Text)"), column("mapped_column(ARRAY(Text))"), "t.a changes from TEXT to TEXT[]"),
    "what is computed": (
        column("mapped_column(Integer)", "b = mapped_column(Integer, Computed('a * 2', persisted=True))"),
        column("mapped_column(Integer)", "b = mapped_column(Integer, Computed('a * 3', persisted=True))"),
        "t.b changes from ((a * 2))",
    ),
    "an exclusion constraint": (
        column("mapped_column(pg.TSRANGE)"),
        column("mapped_column(pg.TSRANGE)", "__table_args__ = (pg.ExcludeConstraint(('a', '&&'), name='apart'),)"),
        "ADD CONSTRAINT \"apart\" EXCLUDE USING gist (a WITH &&)",
    ),
    "a collation that orders otherwise": (
        column("mapped_column(Text, index=True)"), column("mapped_column(Text(collation='C'), index=True)"), "t.a changes from text",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_a_change_is_written_and_leads_to_the_models_and_back(name: str, project) -> None:
    before, after = WRITTEN[name]
    project.models(before)
    assert project.write().code == 0
    project.upgrade()
    start, known = project.catalog().things, set(project.files())
    first = project.files()[-1].partition("-")[2][:12]
    project.models(after)
    done = project.write()
    assert (done.code, set(project.files()) > known) == (0, True), done
    done = project.run("upgrade", "--no-unknown-release", "--ignore-live-releases", "test")
    assert done.code == 0, f"{done}\n{project.texts()}"
    assert project.unlike_models() == []
    assert "nothing was written" in project.write().out
    done = project.run("downgrade", first, "--yes", "--ignore-live-releases", "test")
    assert done.code == 0, f"{done}\n{project.texts()}"
    project.models(before)
    assert project.catalog().things == start


@pytest.mark.parametrize("name", REFUSED)
def test_a_change_that_blocks_is_refused_with_what_to_write(name: str, project) -> None:
    before, after, message = REFUSED[name]
    project.models(before)
    assert project.write().code == 0
    known = project.files()
    project.models(after)
    done = project.write()
    assert (done.code, project.files()) == (1, known), done
    assert message in done.out + done.err, done
    assert project.run("check").code == 1


def test_a_partition_is_never_dropped_by_autogenerate(project) -> None:
    project.models(
        T
        + "Table('ev', Base.metadata, Column('at', DateTime, primary_key=True), postgresql_partition_by='RANGE (at)')\n"
    )
    assert project.write().code == 0
    last = project.files()[-1].partition("-")[2][:12]
    up = "op.execute(\"CREATE TABLE ev_2024 PARTITION OF ev FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')\")"
    project.by_hand("zz1", up, "op.execute('DROP TABLE ev_2024')", last)
    done = project.write()
    assert "nothing was written" in done.out, done
    assert project.upgrade().code == 0
    project.execute("CREATE TABLE ev_2025 PARTITION OF ev FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')")
    done = project.run("upgrade", "--check-drift")
    assert (done.code, "as the models say" in done.out) == (0, True), done


def test_a_child_by_inheritance_is_its_parents(project) -> None:
    project.models(T)
    assert project.write().code == 0
    last = project.files()[-1].partition("-")[2][:12]
    project.by_hand("zz1", "op.execute('CREATE TABLE t_old () INHERITS (t)')", "op.execute('DROP TABLE t_old')", last)
    assert "nothing was written" in project.write().out


def test_a_type_made_by_hand_is_made_once(project) -> None:
    project.by_hand(
        "a1", "op.execute(\"CREATE TYPE made_by_hand AS ENUM ('x', 'y')\")", "op.execute('DROP TYPE made_by_hand')"
    )
    project.models(column("mapped_column(pg.ENUM('x', 'y', name='made_by_hand', create_type=False))"))
    project.holds()
    assert project.texts().count("CREATE TYPE") == 1


def test_a_table_that_nobody_of_ours_made_is_reported_and_left_alone(project) -> None:
    project.models(T)
    assert project.write().code == 0
    assert project.upgrade().code == 0
    project.execute("CREATE TABLE somebodys (id int)")
    done = project.run("upgrade", "--check-drift")
    assert (done.code, "stranger   somebodys" in done.out) == (0, True), done


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("class C(Base):\n    __tablename__ = 'c'\n    id = mapped_column(BigInteger, primary_key=True)\n"
         "    p_id = mapped_column(ForeignKey('p.idd'))\n", "models.py:11: "),
        (T + "    name = mapped_column(Text)\nIndex('ix_fts', func.to_tsvector('english', T.__table__.c.name), "
         "postgresql_using='gin')\n", ""),
    ],
)  # fmt: skip
def test_a_fault_of_the_models_is_wrong_usage_and_says_where(text: str, place: str, project) -> None:
    project.models(text)
    done = project.write()
    assert (done.code, project.files()) == (2, []), done
    assert place in done.err, done


def test_a_key_of_a_partitioned_table_is_refused_for_what_older_servers_do_not_take(project) -> None:
    ev = (
        "Table('ev', Base.metadata, Column('at', DateTime, primary_key=True){}, postgresql_partition_by='RANGE (at)')\n"
    )
    project.models(T + ev.format(""))
    assert project.write().code == 0
    project.models(T + ev.format(", Column('t_id', ForeignKey('t.id'))"))
    done = project.write()
    assert (done.code, "takes no NOT VALID there" in done.out + done.err) == (1, True), done


def test_a_draft_that_does_not_run_leaves_nothing_behind(project) -> None:
    project.models(T)
    assert project.write().code == 0
    known = project.files()
    project.models(
        T + "    a = mapped_column(Text)\nIndex('t', T.__table__.c.a)\n"
    )  # an index may not be called as a table is
    done = project.write()
    assert done.code in (1, 2), done
    assert project.files() == known


def test_broken_python_is_an_error_of_plan(project) -> None:
    project.by_hand("a1", "op.create_index('ix', 't', ['n'], uniqe=True)")
    done = project.run("plan")
    assert (done.code, "a1.py: it is broken" in done.err) == (1, True), done
    project.by_hand("a1", "op.get_bind().execute(sa.text('SELECT 1')).scalar()")
    assert project.run("plan").code == 0
