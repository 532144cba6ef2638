"""Where the contract of a release comes from, in any project."""

import hashlib
import sys

import pytest
import sqlalchemy as sa

from lockstep import contract
from lockstep_gate import release, verdict
from tests.migrator.shapes import HEAD

CONNECTS = "\nwith create_engine(URL, poolclass=pool.NullPool).connect() as connection:\n    configured(connection)\n"
PLAIN = """
from sqlalchemy import *
from sqlalchemy.orm import DeclarativeBase
class Base(DeclarativeBase): pass
class Things(Base):
    __tablename__ = "things"
    id = Column(Integer, primary_key=True)
    old = Column(Text)
"""
SQLMODEL = """
from sqlmodel import SQLModel, Field
class Things(SQLModel, table=True):
    __tablename__ = "things"
    id: int | None = Field(default=None, primary_key=True)
    old: str | None = None
"""


@pytest.fixture
def shop(foreign, db):
    foreign.sql("a1", "CREATE TABLE things (id serial PRIMARY KEY, old varchar)")
    foreign.env_py.write_text(
        HEAD.format(driver="psycopg2", columns=[]).replace("target_metadata=metadata", "target_metadata=None")
        + CONNECTS
    )
    return foreign


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write a package of the project's own: `package("models", text)`."""
    name = f"shop_{abs(hash(str(tmp_path)))}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(module, text):
        (tmp_path / name / f"{module}.py").write_text(text)
        return f"{name}.{module}"

    yield write
    for one in [one for one in sys.modules if one.startswith(name)]:
        del sys.modules[one]


def lockstep(project, text):
    project.ini.write_text(project.ini.read_text() + f"\n[lockstep]\n{text}\n")


def asked(db, source):
    """Return how the gate of an app answers that says what it needs by `source`."""
    engine = sa.create_engine(sa.make_url(db.url).set(drivername="postgresql+psycopg2"))
    try:
        return verdict.ask(engine, release.of(source)).state
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    ("text", "attribute"),
    [
        (PLAIN.replace("Text", "String"), "Base"),
        (PLAIN.replace("Text", "String"), "Base.metadata"),
        (SQLMODEL, "SQLModel"),
    ],
)
def test_models_of_a_package_are_the_contract(text, attribute, shop, package, run, db):
    lockstep(shop, f"models = {package('models', text)}:{attribute}")
    given = {"project": shop, "SHOP_DATABASE_URL": db.url}
    done = run("upgrade", **given)
    assert done.code == 0, done.text
    status = run("status", "--json", **given).json
    assert status["served"] is True
    ((text, digest),) = db.rows(
        "SELECT contract::text, digest FROM migrator.release WHERE digest <> 'unknown' AND contract IS NOT NULL"
    )
    needed = contract.Contract.from_json(text)
    assert [(one.name, len(one.columns)) for one in needed.tables if one.name == "things"] == [("things", 2)]
    assert digest == status["release"]
    shop.sql("a2", "ALTER TABLE things DROP COLUMN old")
    assert "deferred   a2" in run("upgrade", **given).out


def test_what_the_schema_does_not_offer_fails_the_run(shop, package, run, db):
    lockstep(shop, f"models = {package('models', PLAIN + '    new = Column(Text)')}:Base")
    done = run("upgrade", project=shop, SHOP_DATABASE_URL=db.url)
    assert done.code == 1, done.text
    assert "things.new: the release needs the column" in done.text


def test_a_contract_that_was_built_wins_over_the_models(shop, run, db):
    made = sa.MetaData()
    sa.Table("things", made, sa.Column("id", sa.Integer, primary_key=True))
    text = contract.derive(made).to_json()
    (shop.directory / "contract.json").write_text(text)
    lockstep(shop, "contract = contract.json\nmodels = nowhere.models:Base")
    given = {"project": shop, "SHOP_DATABASE_URL": db.url}
    done = run("upgrade", **given)
    assert done.code == 0, done.text
    assert run("status", "--json", **given).json["release"] == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert asked(db, shop.directory / "contract.json") is verdict.State.SERVED


def test_a_gate_with_the_import_path_is_served_by_a_migrator_with_the_same(shop, package, run, db):
    path = f"{package('models', PLAIN.replace('Text', 'String'))}:Base"
    lockstep(shop, f"models = {path}")
    done = run("upgrade", project=shop, SHOP_DATABASE_URL=db.url)
    assert done.code == 0, done.text
    assert asked(db, path) is verdict.State.SERVED


@pytest.mark.parametrize(
    ("option", "line"),
    [
        (
            "models = nowhere_at_all.models:Base",
            "usage: models = nowhere_at_all.models:Base: nowhere_at_all.models cannot be imported: there is no module",
        ),
        ("models = json:dumps", "usage: models = json:dumps: there is no MetaData at json:dumps"),
        ("contract = nowhere.json", "usage: the contract "),
        ("contract = alembic.ini", "refused: a recorded release contract is not one"),
    ],
)
def test_models_that_cannot_be_had_are_one_clear_line_before_anything_is_changed(option, line, shop, run, db):
    lockstep(shop, option)
    done = run("upgrade", project=shop, SHOP_DATABASE_URL=db.url)
    assert done.code in (1, 2), done.text
    assert done.last.startswith(line)
    assert db.columns("things") == []


def test_what_env_py_leaves_to_others_is_not_needed_of_its_migrations(shop, run, db):
    text = shop.env_py.read_text().replace(
        "target_metadata=None", "target_metadata=metadata, include_object=lambda one, name, kind, *_: name != 'spatial'"
    )
    shop.env_py.write_text(
        text.replace("\ndef configured", 'Table("spatial", metadata, Column("id", Integer))\n\ndef configured')
    )
    done = run("upgrade", project=shop, SHOP_DATABASE_URL=db.url)
    assert done.code == 0, done.text
    assert run("status", "--json", project=shop, SHOP_DATABASE_URL=db.url).json["served"] is True


SEVERAL = """
class Db:  # as Flask-SQLAlchemy has one MetaData for each bind
    metadatas = {{None: Base.metadata, "other": MetaData()}}
Table("more", Db.metadatas["other"], Column("id", {kind}, primary_key=True))
Table("more", {on}, Column("id", BigInteger, primary_key=True))
"""


@pytest.mark.parametrize("named", ["{}:Db", "{}:Base,{}:Db"])
def test_every_metadata_that_the_gate_finds_is_in_the_contract_of_the_engine(shop, package, run, db, named):
    text = PLAIN.replace("Text", "String") + SEVERAL.format(kind="BigInteger", on="MetaData()")
    path = named.replace("{}", package("several", text))
    lockstep(shop, f"models = {path}")
    missing = run("upgrade", project=shop, SHOP_DATABASE_URL=db.url)
    assert missing.code == 1
    assert "more: the release needs the table" in missing.text
    shop.sql("z9", "CREATE TABLE more (id bigserial PRIMARY KEY)")
    done = run("upgrade", project=shop, SHOP_DATABASE_URL=db.url)
    assert done.code == 0, done.text
    assert asked(db, path) is verdict.State.SERVED


def test_two_metadata_that_differ_in_a_table_are_refused(shop, package, run, db):
    text = PLAIN.replace("Text", "String") + SEVERAL.format(kind="Integer", on="Base.metadata")
    lockstep(shop, f"models = {package('differs', text)}:Db")
    done = run("upgrade", project=shop, SHOP_DATABASE_URL=db.url)
    assert done.code == 1
    assert done.last.startswith("refused: two MetaData objects describe more, and differ in it; 0 applied and kept")
    assert db.columns("things") == []
