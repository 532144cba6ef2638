"""What docs/adopt.md promises of projects and apps that nobody here wrote."""

import io
import re
import uuid

import psycopg2
from alembic import command
from alembic.config import Config
from sqlalchemy import make_url

from lockstep_gate import reporting, verdict
from tests.docs.pages import page

ADOPT = page("docs/adopt.md")
REPORT, SIGN_OFF, ASK = ADOPT.blocks("sql")


def words(sql):
    return " ".join(str(sql).split())


def test_the_statements_for_an_app_of_ones_own_are_those_of_the_app():
    assert words(REPORT) == words(reporting.REPORT)
    assert words(SIGN_OFF) == words(reporting.SIGN_OFF)
    # The app of a release that goes by several names asks for all of them at once.
    asked = words(ASK).replace("SELECT broken_by", "SELECT digest, broken_by")
    assert asked.replace("= :release", "IN (__[POSTCOMPILE_names])") == words(verdict.QUESTION)


def test_an_app_that_sends_them_counts_as_live_until_it_signs_off(run, foreign, db, server):
    models = foreign.directory / "models.py"
    models.write_text("from sqlalchemy import *\nthings = Table('things', MetaData(), Column('id', BigInteger))\n")
    text = foreign.ini.read_text()
    foreign.ini.write_text(text.replace("[alembic]\n", "[alembic]\nmodels = %(here)s/models.py\n"))
    foreign.sql("a1", "CREATE TABLE things (id bigint)")
    role = f"shop_{uuid.uuid4().hex[:8]}"
    granted = {"MIGRATOR_APP_ROLE": role, "MIGRATOR_APP_PASSWORD": "made-up"}
    try:
        assert run("upgrade", project=foreign, **granted).code == 0
        ((digest,),) = db.rows("SELECT digest FROM migrator.release")
        url = make_url(db.url).set(username=role, password="made-up").render_as_string(hide_password=False)
        row = {"id": str(uuid.uuid4()), "release": digest, "commit": "c0ffee", "host": "web-1"}
        row |= {"driver": "psycopg2", "schemas": ["tenant"]}
        app = psycopg2.connect(url)
        app.autocommit = True
        with app.cursor() as cursor:
            cursor.execute("INSERT INTO things VALUES (1)")
            cursor.execute(for_driver(REPORT), row)
            cursor.execute(for_driver(ASK), row)
            assert cursor.fetchall() == [(None,)]
            assert run("status", "--json", project=foreign).json["live_instances"] == 1
            cursor.execute(for_driver(SIGN_OFF), row)
        app.close()
        assert run("status", "--json", project=foreign).json["live_instances"] == 0
    finally:
        db.rows(f"DROP OWNED BY {role}")
        db.rows(f"DROP ROLE {role}")


def for_driver(sql):
    return re.sub(r":(\w+)", r"%(\1)s", sql)


def test_in_a_foreign_project_nobody_is_granted_anything_unless_named(run, foreign, db):
    foreign.sql("a1", "CREATE TABLE things (id bigint)")
    assert "granted" not in run("upgrade", project=foreign).text
    assert db.rows("SELECT 1 FROM pg_class WHERE relname = 'things' AND relacl IS NOT NULL") == []


def test_a_template_that_is_not_supported_is_refused_in_the_words_of_the_page(run, db, tmp_path):
    ini = tmp_path / "alembic.ini"
    command.init(Config(str(ini), stdout=io.StringIO()), str(tmp_path / "alembic"), template="multidb")
    url = db.url.replace("postgresql://", "postgresql+psycopg2://")
    ini.write_text(re.sub(r"^(sqlalchemy.url\d?) = .*", rf"\1 = {url}", ini.read_text(), flags=re.MULTILINE))
    text = ini.read_text()
    ini.write_text(text.replace("url2 = ", "url = ").replace("[alembic]\n", f"[alembic]\nsqlalchemy.url = {url}\n"))
    done = run("upgrade", MIGRATOR_CONFIG=str(ini))
    said = [text for text in ADOPT.codes() if text.startswith("refused: env.py")]
    assert done.code == 1, done.text
    assert any(done.last.startswith(text.rstrip(".")) for text in said), done.last
    assert db.rows("SELECT 1 FROM pg_class WHERE relname = 'alembic_version'") == []
