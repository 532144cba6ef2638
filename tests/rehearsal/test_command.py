"""`migrator rehearse` as a process: what it prints, how it ends, and what it refuses."""

import contextlib
import json

import psycopg2
import pytest

ADD = "def upgrade():\n    op.add_column('orders', sa.Column('a', sa.Text()))\n\n\n"
ADD += "def downgrade():\n    op.drop_column('orders', 'a')\n"
INDEX = "def upgrade():\n    op.create_index('ix', 'orders', ['code'])\n\n\n"
INDEX += "def downgrade():\n    op.drop_index('ix', 'orders')\n"


@pytest.fixture
def rehearse(migrator, project, server):
    def run(*arguments, **env):
        config = str(project.directory / "alembic.ini")
        given = {"MIGRATOR_SHADOW_URL": server.url} | env
        return migrator("rehearse", "--config", config, "--rows", "100", *arguments, env=given)

    return run


def test_clean_revision_ends_with_a_verdict(rehearse, project):
    project.add(ADD)
    done = rehearse("--from", "r0")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1].startswith("done: 1 rehearsed (after r0) on PostgreSQL ")
    assert done.out.splitlines()[-1].endswith("; 0 errors, 0 warnings")
    assert "ACCESS EXCLUSIVE on orders" in done.out


def test_error_finding_refuses_with_what_to_do(rehearse, project):
    project.add(INDEX)
    done = rehearse("--from", "r0")
    assert done.code == 1
    assert done.err.startswith("refused: the rehearsal found 1 error, 0 warnings. Cure: step: an index built without")
    assert "# migrator: allow index-blocks-writes: why" in done.err


def test_last_revision_is_rehearsed_where_there_is_no_git(rehearse, project):
    project.add(ADD)
    project.add(INDEX)
    assert "rehearsed  step" in rehearse().out
    assert "CREATE INDEX ix" in rehearse().out
    assert "ADD COLUMN" not in rehearse().out


def test_nothing_to_rehearse_is_said(rehearse):
    done = rehearse("--from", "r0")
    assert (done.code, done.out.strip()) == (0, "done: nothing to rehearse (after r0); --from base rehearses all")


@pytest.mark.parametrize("format_", ["markdown", "json", "github", "sarif"])
def test_format_is_all_that_stdout_holds(rehearse, project, format_):
    project.add(INDEX)
    done = rehearse("--from", "r0", "--format", format_)
    assert done.code == 1
    if format_ in ("json", "sarif"):
        assert json.loads(done.out)
    else:
        assert done.out.startswith({"markdown": "<!-- migrator rehearse -->", "github": "::error file="}[format_])


def test_json_document_is_the_rehearsal(rehearse, project):
    project.add(ADD)
    done = rehearse("--from", "r0", "--json")
    document = json.loads(done.out)
    assert (document["verb"], document["exit_code"], document["errors"]) == ("rehearse", 0, 0)
    assert document["revisions"][0]["revision"] == "r1"


def test_page_is_written(rehearse, project, tmp_path):
    project.add(ADD)
    rehearse("--from", "r0", "--html", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_database_that_holds_anything_is_refused_and_left_alone(rehearse, project, database):
    project.add(ADD)
    with contextlib.closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE theirs (a integer)")
        connection.commit()
    done = rehearse("--from", "r0", "--shadow-url", database)
    assert done.code == 1
    assert "holds 1 tables that the rehearsal did not make" in done.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--rows", "many"), "--rows: 'many' is not a number"),
        (("--rows", "-1"), "--rows: -1 is out of range"),
        (("--format", "pdf"), "--format: there is no 'pdf'"),
        (("--from", "r0", "--against", "main"), "--from and --against both say where to begin"),
        (("--from", "nowhere"), "nowhere"),
        (("--against", "nowhere"), "git knows no common commit with nowhere"),
        (("--seed", "/nowhere.sql", "--from", "r0"), "--seed /nowhere.sql"),
        (("--long-transaction", "soon"), "--long-transaction"),
        (("--shadow-url", "mysql://x"), "not a PostgreSQL URL"),
        (("--html", "/nowhere/page.html", "--from", "r0"), "--html /nowhere/page.html: /nowhere cannot be written to"),
        (("--html", "/", "--from", "r0"), "--html /: it is a directory"),
        (("--json", "--format", "sarif"), "--json and --format sarif both say what to print"),
    ],
)
def test_wrong_usage_is_one_clear_line(rehearse, project, arguments, text):
    project.add(ADD)
    done = rehearse(*arguments)
    assert done.code == 2
    assert text in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("flag", [("--seed", "/nowhere.sql"), ("--html", "/nowhere/page.html")])
def test_file_that_cannot_be_is_said_before_anything_runs(rehearse, project, flag):
    project.add(ADD)
    done = rehearse("--from", "r0", *flag)
    assert (done.code, done.out) == (2, "")


def test_tables_without_rows_are_taken_to_hold_some_in_production(rehearse, project, tmp_path):
    (tmp_path / "empty.sql").write_text("\n")
    project.add(INDEX.replace("orders", "customers").replace("code", "name"))
    done = rehearse("--from", "r0", "--rows", "0", "--seed", tmp_path / "empty.sql")
    assert done.code == 1
    assert "blocks all writes to customers while an index over its rows is built" in done.out


def test_pending_revisions_are_those_that_the_other_branch_does_not_have(rehearse, project):
    import subprocess  # noqa: PLC0415

    def git(*arguments):
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=project.directory, check=True, capture_output=True)

    project.add(ADD)
    git("init", "-b", "trunk")
    git("add", ".")
    git("commit", "-m", "one")
    git("checkout", "-b", "change")
    project.add(INDEX)
    done = rehearse("--against", "trunk")
    assert done.out.count("rehearsed  ") == 1
    assert "CREATE INDEX ix" in done.out
