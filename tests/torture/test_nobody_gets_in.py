"""Nobody gets in: a name is a name, whatever is in it."""

import contextlib
from urllib.parse import quote

import psycopg2
import pytest
from psycopg2 import sql
from sqlalchemy import make_url

EVIL = [
    "x'; DROP TABLE canary; --",
    'x"; DROP TABLE canary; --',
    "x'); DROP TABLE canary; --",
    "$$; DROP TABLE canary; $$",
    "%s %(role)s %%",
    "{0} {role}",
    "\\'; DROP TABLE canary; --",
    "ü\u202e\u200b",
    "Robert'); DROP TABLE canary;--",
]
SHORT = [name[:60] for name in EVIL]


@pytest.fixture
def safe(db):
    """Hold a table that has to be there afterwards."""
    db.rows("CREATE TABLE canary (id int)")
    yield db
    assert db.one("SELECT to_regclass('public.canary') IS NOT NULL")


@pytest.mark.parametrize("name", SHORT)
def test_a_database_of_any_name_is_migrated(name, server, run, project):
    with contextlib.closing(psycopg2.connect(server.url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            project.sql("a1", "CREATE TABLE canary (id int)")
            project.outside("b2", "CREATE TABLE u (id int)", "CREATE INDEX CONCURRENTLY ix ON canary (id)")
            base = make_url(server.url).set(database="").render_as_string(hide_password=False)
            url = f"{base.rstrip('/')}/{quote(name, safe='')}"
            done = run("upgrade", project=project, url=url)
            assert done.code == 0, done.text
            with contextlib.closing(psycopg2.connect(url)) as inside, inside.cursor() as look:
                look.execute("SELECT count(*) FROM canary")
        finally:
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.mark.parametrize("name", SHORT)
def test_a_role_of_any_name_is_made_and_granted(name, run, project, safe):
    project.sql("a1", "CREATE TABLE t (id int)")
    try:
        done = run("upgrade", project=project, MIGRATOR_APP_ROLE=name, MIGRATOR_APP_PASSWORD=f"{name}'\\")
        assert done.code == 0, done.text
        assert safe.one("SELECT has_table_privilege(%s, 't', 'INSERT')", name)
        assert not safe.one("SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = %s", name)
        assert f"{name}'\\" not in done.text
        assert run("check", project=project, MIGRATOR_APP_ROLE=name).code in {0, 1}
    finally:
        safe.rows(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


@pytest.mark.parametrize("name", EVIL)
def test_names_in_the_schema_are_names(name, run, project, safe):
    with safe.lock, safe._look.cursor() as cursor:
        ident = lambda *names: sql.Identifier(*names).as_string(cursor).replace("%", "%%")  # noqa: E731
    schema, table, column = ident(name[:60]), ident(name[:60], name[:60]), ident(name[:60])
    project.sql("a1", f"CREATE SCHEMA {schema}", f"CREATE TABLE {table} ({column} text, n int)")
    index = ident("i" + name[:50])
    project.outside("b2", f"CREATE INDEX CONCURRENTLY {index} ON {table} ({column})")
    project.outside("c3", f"REINDEX TABLE CONCURRENTLY {table}", f"UPDATE {table} SET n = 1")
    project.sql("d4", f"ALTER TABLE {table} DROP COLUMN n")
    done = run("upgrade", project=project, MIGRATOR_NO_UNKNOWN_RELEASE="yes", MIGRATOR_APP_ROLE="")
    assert done.code == 0, done.text
    for verb in ("status", "history", "plan", "check"):
        shown = run(verb, project=project)
        assert shown.code in {0, 1}, shown.text
        assert "Traceback" not in shown.text
    assert safe.steps() == [(revision, "up", "finished") for revision in ("a1", "b2", "c3", "d4")]


@pytest.mark.parametrize("name", [name for name in EVIL if "\\" not in name])
def test_messages_reasons_and_commits_are_texts(name, run, project, safe):
    path = project.sql("a1", "CREATE TABLE t (id int)")
    path.write_text(path.read_text().replace('"""a1"""', repr(name)))
    done = run(
        "upgrade", project=project, IMAGE_COMMIT=name, RENDER_GIT_COMMIT=name, MIGRATOR_IGNORE_LIVE_RELEASES=name
    )
    assert done.code == 0, done.text
    assert safe.one("SELECT commit FROM migrator.run") == name
    assert safe.one("SELECT ignored_releases FROM migrator.run") == name
    assert safe.one("SELECT message FROM migrator.step") == name
    assert run("status", project=project).code in {0, 1}
    assert run("history", "--json", project=project).json["steps"][0]["message"] == name


@pytest.mark.parametrize("name", EVIL)
def test_what_is_asked_for_is_a_name_too(name, run, project, safe):
    project.sql("a1", "CREATE TABLE t (id int)")
    for arguments in (["upgrade", name], ["upgrade", "--accept-edited", name], ["upgrade", "--run-id", name]):
        done = run(*arguments, project=project)
        assert done.code in {0, 1, 2}, done.text
        assert "Traceback" not in done.text
    assert safe.columns("t") in ([], ["id"])


def test_a_role_whose_name_ends_a_block_comes_through_a_checkpoint(project, run):
    name = '"x $own$; SELECT 1/0; $own1$ \'--"'
    project.sql("a1", f"CREATE ROLE {name}", "CREATE TABLE t (id int)", f"COMMENT ON ROLE {name} IS '$own$'")
    project.sql("b2", f"ALTER ROLE {name} SET search_path = '$own$', 'a''b'", f"GRANT SELECT ON t TO {name}")
    done = run("checkpoint", project=project)  # on servers of its own: a role is a server's
    assert done.code == 0, done.text
    assert run("check", project=project, url="").code == 0
