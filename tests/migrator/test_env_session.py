"""What the engine takes over from env.py's session, where env.py has its URL, and who may hand it a connection."""
# ruff: noqa: E501 - files as they are written

import contextlib
import io
import sys
import textwrap

import pytest
import sqlalchemy as sa
from alembic.config import Config

from lockstep import command
from lockstep.errors import Refused
from tests.migrator.shapes import HEAD, env_py

SEES = "op.execute(\"INSERT INTO public.seen SELECT '{0}', current_setting('search_path') || ' ' || current_user || ' ' || current_setting('work_mem') || ' ' || current_setting('TimeZone')\")"


@pytest.fixture
def shop(foreign):
    foreign.sql("a1", "CREATE TABLE things (id int)", down=["DROP TABLE things"])
    return foreign


def test_search_path_role_and_settings_are_as_env_py_set_them(shop, run, db):
    db.rows("CREATE SCHEMA shop; CREATE TABLE seen (revision text, state text); CREATE ROLE shop_owner")
    with contextlib.ExitStack() as stack:
        stack.callback(db.rows, "DROP OWNED BY shop_owner CASCADE; DROP ROLE shop_owner")
        db.rows("GRANT ALL ON SCHEMA shop TO shop_owner; GRANT ALL ON seen TO shop_owner")
        shop.revision("a2", SEES.format("a2"))
        shop.outside("a3", "INSERT INTO public.seen SELECT 'a3', current_user")
        set_first = (
            "with create_engine(URL, connect_args={'options': '-c work_mem=5MB'}).connect() as connection:\n"
            '    connection.execute(text("SET search_path TO shop, public"))\n'
            "    connection.execute(text(\"SET TIME ZONE 'Asia/Tokyo'\"))\n"
            "    connection.execute(text('SET ROLE shop_owner'))\n    connection.commit()\n    configured(connection)\n"
        )
        shop.env_py.write_text(HEAD.format(driver="psycopg2", columns=[]) + set_first)
        done = run("upgrade", project=shop, SHOP_DATABASE_URL=db.url)
        assert done.code == 0, done.text
        assert db.rows("SELECT * FROM seen ORDER BY 1") == [
            ("a2", "shop, public shop_owner 5MB Asia/Tokyo"),
            ("a3", "shop_owner"),
        ]
        assert db.columns("shop.things") == ["id"]
        assert (
            db.one("SELECT relowner::regrole::text FROM pg_class WHERE oid = 'shop.things'::regclass") == "shop_owner"
        )


def test_what_env_py_began_is_kept_by_upgrade_and_not_by_status(shop, run, db):
    begins = (
        "with create_engine(URL).connect() as connection:\n"
        "    connection.execute(text('CREATE TABLE IF NOT EXISTS of_env (id int)'))\n    configured(connection)\n"
    )
    shop.env_py.write_text(HEAD.format(driver="psycopg2", columns=["x"]).replace("Table(", "# Table(") + begins)
    assert run("status", project=shop, SHOP_DATABASE_URL=db.url).code == 0
    assert db.columns("of_env") == []
    assert run("upgrade", project=shop, SHOP_DATABASE_URL=db.url).code == 0
    assert db.columns("of_env") == ["id"]


def test_another_database_than_the_runs_is_refused(shop, run, db, server):
    shop.env_py.write_text(env_py("asyncio.run", []))
    with server.database() as other:
        done = run("upgrade", project=shop, SHOP_DATABASE_URL=other)
    assert done.code == 1, done.text
    assert done.last.startswith("refused: env.py connects to another database than MIGRATOR_DATABASE_URL names")
    assert db.columns("things") == []


@pytest.mark.parametrize("shape", ["psycopg2", "psycopg 3", "pg8000", "asyncio.run", "a loop of its own", "a creator"])
def test_where_no_variable_names_the_database_env_py_is_asked(shape, shop, run, db):
    shop.env_py.write_text(env_py(shape, []))
    done = run("upgrade", project=shop, url="", SHOP_DATABASE_URL=db.url)
    assert done.code == 0, done.text
    assert db.columns("things") == ["id"]


FLASK = """
import os
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()

class Things(db.Model):
    id = db.Column(db.Integer, primary_key=True)

def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["SHOP_DATABASE_URL"]
    db.init_app(app)
    Migrate(app, db)
    return app
"""


@pytest.fixture
def flask_shop(tmp_path, monkeypatch):
    """A project as `flask db init` makes it, and its application."""
    from flask_migrate import init  # noqa: PLC0415

    name = "flask_shop_" + tmp_path.name.replace("-", "_")[-20:]
    (tmp_path / f"{name}.py").write_text(FLASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SHOP_DATABASE_URL", "postgresql+psycopg2://x@127.0.0.1:9/x")
    made = __import__(name).create_app()
    with made.app_context(), contextlib.redirect_stdout(io.StringIO()):
        init(directory="migrations")
    (tmp_path / "migrations" / "versions" / "a1.py").write_text(
        textwrap.dedent("""
        import sqlalchemy as sa
        from alembic import op
        revision, down_revision = "a1", None
        def upgrade():
            op.create_table("things", sa.Column("id", sa.Integer, primary_key=True))
        def downgrade():
            op.drop_table("things")
        """)
    )
    yield name
    sys.modules.pop(name, None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the env.py that Flask-Migrate writes
@pytest.mark.parametrize("place", ["{}", "{}.py", "{}:create_app", "{}:create_app()"])
def test_flask_migrates_env_py_runs_in_the_application_that_flask_finds(place, flask_shop, run, db, server):
    url = db.url.replace("postgresql://", "postgresql+psycopg2://")
    config, given = "migrations/alembic.ini", {"SHOP_DATABASE_URL": url, "FLASK_APP": place.format(flask_shop)}
    done = run("upgrade", "--config", config, url="", **given)
    assert done.code == 0, done.text
    assert db.columns("things") == ["id"]
    if place == "{}":
        assert run("status", "--json", "--config", config, **given).json["served"] is True
        done = run("rehearse", "--from", "base", "--config", config, MIGRATOR_SHADOW_URL=server.url, **given)
        assert done.code == 0, done.text
        assert run("check", "--config", config, MIGRATOR_SHADOW_URL=server.url, **given).code == 0
        assert run("downgrade", "base", "--ignore-live-releases", "none is", "--config", config, **given).code == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_without_an_application_that_flask_finds_it_is_one_clear_line(flask_shop, run, db):
    done = run("upgrade", "--config", "migrations/alembic.ini", FLASK_APP="nowhere")
    assert done.code == 2, done.text
    assert done.last.startswith("usage: env.py needs Flask's application, and it was not found: ")


TAKES = """
from alembic import context
connection = context.config.attributes["connection"]
word = context.config.attributes["word"]
context.configure(connection=connection, target_metadata=None)
with context.begin_transaction():
    context.run_migrations(word=word)
"""


def test_a_program_hands_its_config_and_connection_over_in_python(shop, db):
    path = next(shop.versions.glob("*a1.py"))
    path.write_text(path.read_text().replace("def upgrade():", "def upgrade(word):\n    assert word == 'x'"))
    shop.env_py.write_text(TAKES)
    config = Config(str(shop.ini))
    engine = sa.create_engine(db.url.replace("postgresql://", "postgresql+psycopg2://"), poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        config.attributes |= {"connection": connection, "word": "x"}
        assert command.plan(config)["steps"][0]["revision"] == "a1"
        done = command.upgrade(config)
        assert [step["revision"] for step in done["applied"]] == ["a1"], done
        assert command.status(config)["heads"] == ["a1"]
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1, "it is still the caller's"
    assert db.columns("things") == ["id"]
    assert db.steps() == [("a1", "up", "finished")]


def test_what_is_refused_is_raised_to_a_program(shop, db, server):
    shop.env_py.write_text(TAKES)
    config = Config(str(shop.ini))
    with server.database() as other:
        engine = sa.create_engine(other.replace("postgresql://", "postgresql+psycopg2://"), poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            config.attributes |= {"connection": connection, "word": "x"}
            with pytest.raises(Refused) as caught:
                command.upgrade(config, database_url=db.url)
    assert caught.value.code == 1
    assert db.columns("things") == []
