"""`--config`: projects that nobody here wrote."""
# ruff: noqa: E501 - SQL and messages as they are

import re

import pytest

from tests.migrator.rig import Project


def applied(db):
    return [row[0] for row in db.rows("SELECT version_num FROM alembic_version ORDER BY 1")]


def test_an_untouched_project_is_migrated_through_its_own_env_py(foreign, run, db):
    foreign.sql("a1", "CREATE TABLE t (id int)", down=["DROP TABLE t"])
    done = run("upgrade", "--config", foreign.ini)
    assert done.code == 0, done.text
    assert applied(db) == ["a1"]
    assert run("status", project=foreign).code == 0
    assert run("plan", project=foreign).last == "done: 0 pending, the database is at a1; nothing was changed"
    assert run("downgrade", "base", project=foreign).code == 0
    assert db.columns("t") == []
    assert db.steps() == [("a1", "up", "finished"), ("a1", "down", "finished")]


def test_what_is_not_compared_for_want_of_a_models_file_is_said(foreign, run):
    foreign.sql("a1", "CREATE TABLE t (id int)")
    said = run("upgrade", "--check-drift", project=foreign)
    assert said.code == 0, said.text
    assert "drift      not looked for: the project names no models file" in said.out
    said = run("check", project=foreign)
    assert said.code == 0, said.text
    assert "unchecked  that the migrations lead to the models: the project names no models file" in said.out


def test_the_url_of_its_alembic_ini_is_used_where_no_variable_is_set(foreign, run, db):
    foreign.sql("a1", "CREATE TABLE t (id int)")
    done = run("upgrade", project=foreign, url="")
    assert (done.code, done.last.split(".")[0]) == (2, "usage: no database URL is set"), "the placeholder is no URL"
    text = foreign.ini.read_text()
    foreign.ini.write_text(
        text.replace("driver://user:pass@localhost/dbname", db.url.replace("postgresql://", "postgresql+psycopg2://"))
    )
    done = run("upgrade", project=foreign, url="")
    assert done.code == 0, done.text
    assert db.columns("t") == ["id"]
    foreign.ini.write_text(text.replace("driver://user:pass@localhost/dbname", "sqlite:///x.db"))
    done = run("upgrade", project=foreign, url="")
    assert done.code == 2
    assert done.last.startswith("usage: sqlalchemy.url in alembic.ini is not a PostgreSQL URL")


def test_a_password_with_a_percent_sign_reaches_env_py(foreign, run, db, server):
    import contextlib  # noqa: PLC0415

    from sqlalchemy import make_url  # noqa: PLC0415

    foreign.sql("a1", "SELECT 1")
    db.rows("CREATE ROLE odd LOGIN SUPERUSER PASSWORD 'a%b@c/d'")
    with contextlib.ExitStack() as stack:
        stack.callback(db.rows, "DROP ROLE odd")
        url = make_url(db.url).set(username="odd", password="a%b@c/d").render_as_string(hide_password=False)
        done = run("upgrade", project=foreign, url=url)
        assert done.code == 0, done.text
        stack.callback(db.rows, "DROP SCHEMA migrator CASCADE; DROP TABLE alembic_version")


def test_merges_branches_and_dependencies(foreign, run, db):
    log = "INSERT INTO log VALUES ({!r})"
    foreign.sql("a1", "CREATE TABLE IF NOT EXISTS log (n text)")
    foreign.sql("b1", log.format("b1"), after="a1", labels=("left",))
    foreign.sql("c1", log.format("c1"), after="a1")
    foreign.sql("x1", "CREATE TABLE IF NOT EXISTS log (n text)", log.format("x1"), after=None, labels=("other",))
    foreign.sql("d1", log.format("d1"), after=("b1", "c1"), depends_on="x1")
    refused = run("upgrade", project=foreign)
    assert refused.code == 1
    assert "there are 2 heads" in refused.last
    done = run("upgrade", "heads", project=foreign)
    assert done.code == 0, done.text
    assert [row[0] for row in db.rows("SELECT n FROM log")][-1] == "d1"
    assert sorted(row[0] for row in db.rows("SELECT n FROM log")) == ["b1", "c1", "d1", "x1"]
    assert run("upgrade", "heads", project=foreign).last.startswith("done: nothing to do")
    done = run("downgrade", "a1", project=foreign)
    assert done.code == 0, done.text


def test_a_branch_may_be_named(foreign, run, db):
    foreign.sql("a1", "CREATE TABLE a (id int)", after=None, labels=("one",))
    foreign.sql("b1", "CREATE TABLE b (id int)", after=None, labels=("two",))
    done = run("upgrade", "one@head", project=foreign)
    assert done.code == 0, done.text
    assert (db.columns("a"), db.columns("b")) == (["id"], [])


def test_version_locations_and_a_schema_for_the_version_table(foreign, run, db):
    db.rows("CREATE SCHEMA deep")
    other = foreign.directory / "more"
    other.mkdir()
    foreign.ini.write_text(
        foreign.ini.read_text().replace(
            "[alembic]", "[alembic]\nversion_locations = %(here)s/alembic/versions:%(here)s/more", 1
        )
    )
    foreign.env_py.write_text(
        foreign.env_py.read_text().replace(
            "connection=connection,", 'connection=connection, version_table_schema="deep", version_table="v",'
        )
    )
    foreign.sql("a1", "CREATE TABLE t (id int)")
    foreign.sql("b2", "ALTER TABLE t ADD COLUMN n int", versions=other)
    done = run("upgrade", project=foreign)
    assert done.code == 0, done.text
    assert db.rows("SELECT version_num FROM deep.v") == [("b2",)]
    assert run("upgrade", project=foreign).last.startswith("done: nothing to do")


def test_a_database_that_alembic_managed_before_is_adopted(foreign, run, db):
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    foreign.sql("a1", "CREATE TABLE t (id int)")
    foreign.sql("b2", "ALTER TABLE t ADD COLUMN n int")
    config = Config(str(foreign.ini))
    config.set_main_option(
        "sqlalchemy.url", db.url.replace("postgresql://", "postgresql+psycopg2://").replace("%", "%%")
    )
    command.upgrade(config, "a1")
    done = run("upgrade", project=foreign)
    assert done.code == 0, done.text
    assert "adopted    1 revision that was applied before there was a ledger" in done.out
    assert db.steps() == [("a1", "adopt", "finished"), ("b2", "up", "finished")]
    assert applied(db) == ["b2"]
    foreign.sql("c3", "SELECT 1")
    command.upgrade(config, "head")
    assert run("upgrade", project=foreign).last.startswith("done: nothing to do, the database is at c3")


def of_template(template, tmp_path, url):
    """A project as `alembic init --template` makes it, its URLs filled in."""
    import io  # noqa: PLC0415

    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    ini = tmp_path / "alembic.ini"
    toml = tmp_path / "pyproject.toml" if template.startswith("pyproject") else None
    config = Config(str(ini), toml_file=toml, stdout=io.StringIO())
    command.init(config, str(tmp_path / "alembic"), template=template)
    project = Project.__new__(Project)
    project.ini, project.versions, project._last = ini, tmp_path / "alembic" / "versions", None
    ini.write_text(re.sub(r"driver://user:pass@localhost/dbname2?", url, ini.read_text()))
    return project


@pytest.mark.parametrize("template", ["generic", "async", "pyproject", "pyproject_async"])
@pytest.mark.parametrize("named", ["by a variable", "by the ini"])
def test_alembics_own_templates_run_unchanged(template, named, tmp_path, run, db, server):
    driver = "asyncpg" if "async" in template else "psycopg2"
    url = db.url.replace("postgresql://", f"postgresql+{driver}://")
    project = of_template(template, tmp_path, url if named == "by the ini" else "driver://user:pass@localhost/dbname")
    project.sql("a1", "CREATE TABLE t (id int)", down=["DROP TABLE t"])
    given = {"project": project, "url": db.url if named == "by a variable" else ""}
    done = run("upgrade", **given)
    assert done.code == 0, done.text
    assert db.columns("t") == ["id"]
    assert run("plan", **given).last == "done: 0 pending, the database is at a1; nothing was changed"
    done = run("rehearse", "--from", "base", **given, MIGRATOR_SHADOW_URL=server.url)
    assert done.code == 0, done.text
    assert run("downgrade", "base", **given).code == 0


def test_the_template_for_several_databases_is_refused_before_anything_is_changed(tmp_path, run, db):
    project = of_template("multidb", tmp_path, db.url.replace("postgresql://", "postgresql+psycopg2://"))
    project.sql("a1", "CREATE TABLE t (id int)")
    done = run("upgrade", project=project)
    assert done.code == 1, done.text
    assert done.last.startswith(
        "refused: env.py configures more than one database or schema, one after the other; nothing"
    )
    assert "Traceback" not in done.text
    assert db.columns("t") == []
    assert db.columns("alembic_version") == []


HEAD = "from alembic import context\nfrom sqlalchemy import create_engine, text\nurl = context.config.get_main_option('sqlalchemy.url')\n"


@pytest.mark.parametrize(
    ("env_py", "code", "sign"),
    [
        ("raise RuntimeError('no such thing')", 4, "failed: env.py failed: RuntimeError: no such thing"),
        ("import no_such_module", 4, "failed: env.py failed: ModuleNotFoundError: No module named 'no_such_module'"),
        ("import sys; sys.exit(3)", 4, "failed: env.py failed: SystemExit: 3"),
        ("x = (", 4, "failed: env.py failed: SyntaxError"),
        ("pass", 1, "refused: env.py never called context.run_migrations()"),
        (
            HEAD + "with create_engine('sqlite://').connect() as c:\n    context.configure(connection=c)\n"
            "    context.run_migrations()",
            1,
            "refused: env.py connects to sqlite",
        ),
        (
            HEAD
            + "from sqlalchemy import make_url\nwith create_engine(make_url(url).set(database='postgres')).connect() as c:\n"
            "    context.configure(connection=c)\n    context.run_migrations()",
            1,
            "refused: env.py connects to another database than MIGRATOR_DATABASE_URL names",
        ),
        (
            HEAD + "from sqlalchemy import make_url\nwith create_engine(make_url(url).set(port=1)).connect() as c:\n"
            "    context.configure(connection=c)\n    context.run_migrations()",
            5,
            "unreachable: env.py cannot connect: ",
        ),
    ],
)
def test_an_env_py_that_does_something_else_is_one_clear_line(env_py, code, sign, foreign, run, db):
    foreign.sql("a1", "CREATE TABLE t (id int)")
    foreign.env_py.write_text(env_py)
    done = run("upgrade", project=foreign)
    assert done.code == code, done.text
    assert done.last.startswith(sign), done.last
    assert "Traceback" not in done.text
    assert db.columns("t") == []
    db.require_free_lock()


@pytest.mark.parametrize(
    ("write", "sign"),
    [
        (lambda project: project.revision("b2").write_text("def upgrade(:\n"), "2026_01_01-b2_b2.py:1 cannot be loaded: SyntaxError"),
        (lambda project: project.revision("b2").write_text("import nowhere\n"), "2026_01_01-b2_b2.py:1 cannot be loaded: ModuleNotFound"),
        (lambda project: project.revision("b2").write_text("revision = 'b2'\n"), "2026_01_01_b2_b2_py"),
        (lambda project: project.sql("b2", after="no_such_parent"), "no_such_parent"),
        (lambda project: (project.versions / "again.py").write_text(project.revision("b2").read_text()), "Revision b2 is present more than once"),
        (lambda project: project.sql("b2", after="b2"), "b2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["upgrade", "check", "plan"])
def test_a_revision_file_that_cannot_be_used_is_one_clear_line(verb, write, sign, foreign, run, db):
    foreign.sql("a1", "CREATE TABLE t (id int)")
    write(foreign)
    done = run(verb, project=foreign)
    assert done.code == 1, done.text
    assert done.last.startswith("refused: ")
    assert sign in done.last
    assert "Traceback" not in done.text
    assert db.columns("t") == []


def test_what_env_py_logs_is_not_repeated_at_every_try(foreign, run, db, client):
    db.rows("CREATE TABLE t (id int)")
    foreign.sql("a1", "ALTER TABLE t ADD COLUMN n int")
    reader = client()
    reader.run("SELECT * FROM t")
    done = run("upgrade", project=foreign, MIGRATOR_DEADLINE="500ms")
    assert done.code == 3
    assert done.text.count("Running upgrade") <= 1


def test_an_ini_that_cannot_be_used_is_wrong_usage(foreign, run):
    for text in (
        "",
        "[alembic]\n",
        "[alembic]\nscript_location = %(here)s/nowhere\n",
        "nonsense",
        "[alembic]\nscript_location = %(x)s\n",
    ):
        foreign.ini.write_text(text)
        done = run("upgrade", project=foreign)
        assert done.code == 2, (text, done.text)
        assert "Traceback" not in done.text
