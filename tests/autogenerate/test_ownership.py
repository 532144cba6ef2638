"""What is somebody else's: by the options of `[lockstep]`, by env.py's own filters, and by the platform's seed."""

import pytest

from tests.autogenerate.models_project import ModelsProject

T = "class T(Base):\n    __tablename__ = 't'\n    id = mapped_column(BigInteger, primary_key=True)\n"
ACCOUNT = (
    "class Account(Base):\n    __tablename__ = 'account'\n"
    "    id = mapped_column(pg.UUID, ForeignKey('auth.users.id'), primary_key=True)\n"
    "Table('users', Base.metadata, Column('id', pg.UUID, primary_key=True), schema='auth')\n"
)


@pytest.fixture
def make(server, database, tmp_path):
    return lambda ini="": ModelsProject.make(tmp_path / "project", server.url, database, ini)


@pytest.mark.parametrize("option", ["not_ours = audit*, other", "tables = t"])
def test_tables_that_are_not_ours_by_option_are_neither_made_nor_dropped(option: str, make) -> None:
    project = make(f"\n[lockstep]\n{option}\n")
    project.by_hand("a1", "op.execute('CREATE TABLE audit_log (id int)')", "op.execute('DROP TABLE audit_log')")
    project.models(
        T + "class Other(Base):\n    __tablename__ = 'other'\n    id = mapped_column(Integer, primary_key=True)\n"
    )
    done = project.write()
    assert done.code == 0, done
    assert "'t'" in project.texts().replace('"', "'")
    assert "drop_table('audit_log" not in project.texts().replace('"', "'")
    assert "create_table('other" not in project.texts().replace('"', "'").replace("(\n        ", "(")
    assert "nothing was written" in project.write().out
    assert project.run("check").code == 0


def test_what_pyproject_says_is_read_too(make) -> None:
    project = make()
    (project.directory / "pyproject.toml").write_text('[tool.lockstep]\nnot_ours = ["audit_log"]\n')
    project.by_hand("a1", "op.execute('CREATE TABLE audit_log (id int)')", "op.execute('DROP TABLE audit_log')")
    assert "nothing was written" in project.write().out


ENV = """
from alembic import context
from sqlalchemy import create_engine, pool

from lockstep.develop import autogenerate; from lockstep import contract

engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
with engine.connect() as connection:
    chosen = autogenerate.options(connection)
    models = contract.load_models(context.config.get_main_option("models"))
    connection.rollback()
    context.configure(
        connection=connection, target_metadata=models, include_object=lambda _o, name, *_: name != "kept", **chosen
    )
    with context.begin_transaction():
        context.run_migrations()
"""


def test_the_filters_of_env_py_are_kept(make) -> None:
    project = make()
    (project.directory / "env.py").write_text(ENV)
    project.by_hand("a1", "op.execute('CREATE TABLE kept (id int)')", "op.execute('DROP TABLE kept')")
    done = project.write()
    assert "nothing was written" in done.out, done


def test_what_the_platform_has_is_given_to_every_throw_away_database(make) -> None:
    project = make("\n[lockstep]\nthrowaway_seed = supabase\n")
    project.models(ACCOUNT)
    done = project.run("revision", "-m", "x")
    assert done.code == 0, done
    assert "auth.users" in project.texts()
    assert "CREATE SCHEMA" not in project.texts()
    assert "0 errors" in done.out
    assert project.run("check").code == 0
    assert "nothing was written" in project.write().out


def test_without_it_the_message_says_that_the_throw_away_database_lacks_it(make) -> None:
    project = make()
    project.by_hand("a1", "op.execute('CREATE TABLE a (id uuid REFERENCES auth.users)')")
    done = project.write()
    assert done.code != 0
    assert "throwaway_seed" in done.err, done


def test_a_seed_of_ones_own_lies_beside_alembic_ini(make) -> None:
    project = make("\n[lockstep]\nthrowaway_seed = platform.sql\n")
    (project.directory / "platform.sql").write_text(
        "CREATE SCHEMA auth; CREATE TABLE auth.users (id uuid PRIMARY KEY);"
    )
    project.by_hand("a1", "op.execute('CREATE TABLE a (id uuid REFERENCES auth.users)')", "op.execute('DROP TABLE a')")
    project.models("Table('a', Base.metadata, Column('id', pg.UUID))\n")
    assert project.write().code in (0, 1)
    (project.directory / "platform.sql").write_text("nonsense")
    done = project.write()
    assert (done.code, "throwaway_seed: syntax error" in done.err) == (2, True), done
