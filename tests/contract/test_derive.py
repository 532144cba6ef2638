"""What the models say a release may do: leave out, write NULL, write at all."""

# ruff: noqa: E501 - tables read best with one entry a line
from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from lockstep import contract
from lockstep_gate.contract.type_text import canonical

#                                                       may write NULL, may omit, writes
COLUMNS = {
    "nullable": (sa.Column("c", sa.Text), (True, True, True)),
    "required": (sa.Column("c", sa.Text, nullable=False), (False, False, True)),
    "server default": (sa.Column("c", sa.Text, nullable=False, server_default=""), (False, True, True)),
    "python default": (sa.Column("c", sa.Text, nullable=False, default=""), (False, False, True)),
    "both defaults": (sa.Column("c", sa.Text, nullable=False, default="", server_default=""), (False, False, True)),
    "default in SQL": (sa.Column("c", sa.DateTime, nullable=False, default=sa.func.now()), (False, False, True)),
    "filled by a trigger": (sa.Column("c", sa.Text, nullable=False, server_default=sa.FetchedValue()), (False, True, True)),
    "identity": (sa.Column("c", sa.Integer, sa.Identity()), (False, True, True)),
    "identity always": (sa.Column("c", sa.Integer, sa.Identity(always=True)), (False, True, False)),
    "computed": (sa.Column("c", sa.Integer, sa.Computed("1")), (False, True, False)),
    "serial": (sa.Column("c", sa.Integer, primary_key=True), (False, True, True)),
    "key without autoincrement": (sa.Column("c", sa.Integer, primary_key=True, autoincrement=False), (False, False, True)),
    "key that is text": (sa.Column("c", sa.Text, primary_key=True), (False, False, True)),
    "sequence": (sa.Column("c", sa.Integer, sa.Sequence("s"), nullable=False), (False, False, True)),
}  # fmt: skip
TYPES = [
    sa.Integer(), sa.BigInteger(), sa.SmallInteger(), sa.String(), sa.String(5), sa.Text(), sa.CHAR(), sa.CHAR(4), sa.Unicode(3),
    sa.Numeric(), sa.Numeric(5), sa.Numeric(7, 2), sa.DECIMAL(5, 1), sa.Float(), sa.Float(20), sa.Float(53), sa.REAL(), sa.Double(),
    sa.Boolean(), sa.Date(), sa.DateTime(), sa.DateTime(timezone=True), pg.TIMESTAMP(precision=3), pg.TIMESTAMP(timezone=True, precision=0),
    sa.Time(), sa.Time(timezone=True), pg.TIME(precision=2), sa.Interval(), pg.INTERVAL(precision=3), pg.INTERVAL(fields="DAY TO SECOND"),
    pg.INTERVAL(fields="DAY TO SECOND", precision=3), pg.INTERVAL(fields="YEAR"), sa.LargeBinary(), sa.Uuid(), sa.JSON(), pg.JSONB(),
    sa.ARRAY(sa.Integer), sa.ARRAY(sa.String(4)), sa.ARRAY(sa.Integer, dimensions=2), sa.ARRAY(sa.DateTime(timezone=True)),
    sa.ARRAY(sa.Numeric(4, 2)), sa.ARRAY(pg.TIMESTAMP(precision=3)), pg.INET(), pg.CIDR(), pg.MACADDR(), pg.BIT(), pg.BIT(4),
    pg.BIT(5, varying=True), pg.BIT(varying=True), pg.MONEY(), pg.OID(), pg.REGCLASS(), pg.TSVECTOR(), pg.TSQUERY(), pg.INT4RANGE(),
    pg.TSTZRANGE(),
]  # fmt: skip
DIALECT = PGDialect_psycopg2()


class Geometry(sa.types.UserDefinedType):
    cache_ok = True

    def get_col_spec(self, **_):
        return "geometry(POINT,4326)"


class Lower(sa.TypeDecorator):
    impl = sa.Enum("sad", "ok", name="mood")
    cache_ok = True


def derived(column: sa.Column) -> contract.Column:
    models = sa.MetaData()
    sa.Table("t", models, column)
    return contract.derive(models).tables[0].columns[0]


@pytest.mark.parametrize("which", COLUMNS)
def test_a_column_says_what_the_release_may_do_with_it(which):
    column, expected = COLUMNS[which]
    found = derived(column._copy())
    assert (found.may_write_null, found.may_omit_on_insert, found.writes) == expected


@pytest.mark.parametrize("type_", TYPES, ids=repr)
def test_a_type_is_spelled_as_postgresql_spells_it(release_database, type_):
    text = type_.compile(dialect=DIALECT)
    with release_database.begin() as transaction:
        release_database.exec_driver_sql(f"CREATE TEMP TABLE spelled (c {text})")
        printed = release_database.exec_driver_sql(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'spelled'::regclass AND attnum = 1"
        ).scalar_one()
        transaction.rollback()
    assert canonical(text) == printed
    assert canonical(printed) == printed


def test_a_type_that_nobody_knows_keeps_its_sql_name():
    assert derived(sa.Column("c", Geometry())).type == "geometry(POINT,4326)"


def test_an_enum_beneath_a_decorator_is_found():
    found = derived(sa.Column("c", Lower()))
    assert (found.type, found.labels) == ("mood", ("sad", "ok"))


def test_a_domain_says_what_it_is_over():
    found = derived(sa.Column("c", pg.DOMAIN("email", sa.Text())))
    assert (found.type, found.underlying) == ("email", "text")


def test_a_sequence_that_the_release_names_is_needed():
    models = sa.MetaData()
    sa.Table("t", models, sa.Column("c", sa.Integer, sa.Sequence("s", schema="app")))
    assert contract.derive(models).sequences == (("app", "s"),)


def test_a_column_without_a_type_is_refused():
    with pytest.raises(contract.ContractError, match=r"t\.c has no type"):
        derived(sa.Column("c"))
