"""A contract from any models, as canonical JSON, the same on every machine."""

import json
import os
import subprocess
import sys

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import TypeDecorator, UserDefinedType

from lockstep_gate import contract, release
from lockstep_gate.contract import models_path
from tests import forks
from tests.app.rig import ROOT

MODELS = '''
from datetime import datetime
from sqlalchemy import BigInteger, DateTime, Enum, ForeignKey, Text, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Shop(Base):
    """A shop."""

    __tablename__ = "shops"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Enum("small", "large", name="kind"), default="small")
    opened: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    shop_id: Mapped[int | None] = mapped_column(ForeignKey("shops.id"))
'''
ID = "    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)\n"
NAME = "    name: Mapped[str] = mapped_column(Text)\n"
SAME = {
    "a comment": ("class Shop(Base):", "# all of them\nclass Shop(Base):"),
    "a docstring": ('"""A shop."""', '"""Where things are sold."""'),
    "a relationship": ("    shop_id:", '    shop: Mapped["Shop"] = relationship()\n    shop_id:'),
    "another default on the side of Python": ('default="small"', 'default="large"'),
    "another order of columns": (
        ID + NAME,
        NAME + ID,
    ),
}  # fmt: skip
OTHER = {
    "another column": ("    shop_id:", "    count: Mapped[int]\n    shop_id:"),
    "another type": ("name: Mapped[str] = mapped_column(Text)", "name: Mapped[str]"),
    "a label more": ('"large", name', '"large", "huge", name'),
    "NULL no more": ("shop_id: Mapped[int | None]", "shop_id: Mapped[int]"),
}


@pytest.fixture
def named(package):
    def of(text, name):
        path = package(f"{name}.py", text)
        return release.name_of_contract(release.contract_of(path))

    return of


@pytest.mark.parametrize("change", SAME)
def test_what_changes_no_need_changes_no_name(named, change):
    assert (changed := MODELS.replace(*SAME[change])) != MODELS
    assert named(MODELS, "one") == named(changed, "two")


@pytest.mark.parametrize("change", OTHER)
def test_what_changes_a_need_changes_the_name(named, change):
    assert (changed := MODELS.replace(*OTHER[change])) != MODELS
    assert named(MODELS, "one") != named(changed, "two")


def write_contract(path, output, run=forks.run, **env):
    command = [sys.executable, "-m", "lockstep_gate", "contract", path, "-o", str(output)]
    return run(command, env=os.environ | env, capture_output=True, text=True, check=False, cwd=output.parent)


def test_two_processes_with_other_hash_seeds_write_the_same_bytes(package, tmp_path):
    package("shop/models.py", MODELS)
    texts = set()
    for seed in ("0", "1", "4711"):
        output = tmp_path / f"{seed}.json"
        done = write_contract("shop.models:Base", output, subprocess.run, PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        texts.add(output.read_bytes())
    (text,) = texts
    read = contract.Contract.from_json(text.decode())
    assert read.to_json() + "\n" == text.decode()
    assert json.loads(text)["format"] == contract.FORMAT
    assert done.stdout == f"contract: wrote {output}, 2 tables, release {release.name_of_contract(read)}\n"


@pytest.mark.parametrize(
    "path",
    ["shop.models:Base", "shop.models:Base.metadata", "shop.models:Shop", "shop.models:Item.__table__", "shop.models",
     "shop.models:EVERY", "shop.models:Base,shop.models:Item"],
)  # fmt: skip
def test_any_path_to_the_metadata_leads_to_the_same_contract(package, path):
    package("shop/models.py", MODELS + "\nEVERY = [Base.metadata, Base]\n")
    found = release.contract_of(path)
    assert {table.name for table in found.tables} == {"shops", "items"}


def test_several_metadatas_are_one_contract(package):
    package("shop/models.py", MODELS)
    package(
        "shop/audit.py", "from sqlalchemy import *\nm = MetaData(schema='audit')\nTable('log', m, Column('at', Date))"
    )
    found = release.contract_of("shop.models:Base,shop.audit:m")
    assert ("audit", "log") in found.relations
    assert len(found.tables) == 3


def test_sqlmodel_and_flask_sqlalchemy_are_taken(package):
    package(
        "flat/models.py",
        """
        from sqlmodel import Field, SQLModel
        class Hero(SQLModel, table=True):
            id: int | None = Field(default=None, primary_key=True)
            name: str
        """,
    )
    hero = next(table for table in release.contract_of("flat.models:SQLModel").tables if table.name == "hero")
    assert [(one.name, one.type) for one in hero.columns] == [("id", "integer"), ("name", "character varying")]
    package(
        "web/models.py",
        """
        from flask_sqlalchemy import SQLAlchemy
        db = SQLAlchemy()
        class Page(db.Model):
            id = db.Column(db.Integer, primary_key=True)
        class Log(db.Model):
            __bind_key__ = "logs"
            id = db.Column(db.Integer, primary_key=True)
        """,
    )
    assert {table.name for table in release.contract_of("web.models:db").tables} == {"page", "log"}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nowhere.models:Base", "there is no module nowhere"),
        ("shop.models:Nope", "shop.models has no Nope"),
        ("shop.models:Base.nope", "shop.models has no Base.nope"),
        ("shop.models:NUMBER", "there is no MetaData at shop.models:NUMBER"),
        ("shop.models:EMPTY", "the MetaData at shop.models:EMPTY has no table"),
        ("shop.broken:Base", "shop.broken cannot be imported: ZeroDivisionError"),
        ("shop.leaves:Base", "shop.leaves cannot be imported: SystemExit: 0"),
        (":Base", "leads to no models"),
        ("shop.models:", "leads to no models"),
    ],
)
def test_a_path_that_leads_nowhere_is_one_clear_line(package, tmp_path, path, why):
    package("shop/models.py", MODELS + "\nfrom sqlalchemy import MetaData\nEMPTY = MetaData()\nNUMBER = 1\n")
    package("shop/broken.py", "1 / 0")
    package("shop/leaves.py", "raise SystemExit(0)")
    done = write_contract(path, tmp_path / "out.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1


class Lowered(TypeDecorator):
    impl = sa.Text
    cache_ok = True


class Wide(TypeDecorator):
    impl = sa.String
    cache_ok = True

    def load_dialect_impl(self, dialect):
        return dialect.type_descriptor(pg.JSONB() if dialect.name == "postgresql" else sa.Text())


class Vector(UserDefinedType):
    cache_ok = True

    def __init__(self, length):
        self.length = length

    def get_col_spec(self, **_):
        return f"VECTOR({self.length})"


class Broken(UserDefinedType):
    cache_ok = True

    def get_col_spec(self, **_):
        return {}["x"]


def type_of(type_):
    table = sa.Table("t", sa.MetaData(), sa.Column("c", type_))
    return contract.derive(table.metadata).tables[0].columns[0].type


def test_a_custom_type_is_what_it_compiles_to_on_postgresql():
    assert type_of(Lowered()) == "text"
    assert type_of(Wide()) == "jsonb"
    assert type_of(sa.String(20).with_variant(pg.CITEXT(), "postgresql")) == "citext"


def test_a_type_that_nobody_knows_goes_by_its_name():
    assert type_of(Vector(3)) == "vector(3)"
    assert type_of(sa.ARRAY(Vector(3))) == "vector(3)[]"


def test_a_type_that_fails_is_named_with_its_column():
    with pytest.raises(
        contract.ContractError, match=r"t\.c: its type Broken cannot be written for PostgreSQL: KeyError"
    ):
        type_of(Broken())


def test_tables_of_the_same_name_that_differ_are_refused():
    one, two = (sa.MetaData(), sa.MetaData())
    sa.Table("t", one, sa.Column("c", sa.Text))
    sa.Table("t", two, sa.Column("c", sa.Integer))
    with pytest.raises(contract.ContractError, match="two MetaData objects describe t"):
        contract.derive(one, two)


def test_the_contract_of_the_app_is_that_of_its_models_file():
    by_file = release.contract_of(str(ROOT / "app" / "storage" / "models.py"))
    assert by_file == contract.derive(*models_path.metadatas("app.storage.models:Base"))
