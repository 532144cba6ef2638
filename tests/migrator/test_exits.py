"""Exit codes, the last line, JSON and help: what an operator and a platform see."""
# ruff: noqa: E501 - SQL and messages as they are

import json
import os
import signal
from pathlib import Path

import pytest

from lockstep import cli, settings
from tests.migrator.rig import until

NOBODY = "postgresql://u:hunter2@127.0.0.1:1/d"


def test_0_done(project, run):
    project.sql("a1", "SELECT 1")
    done = run("upgrade", project=project)
    assert (done.code, done.last) == (0, "done: 1 applied, the database is at a1 (safe to run again)")


def test_1_a_check_did_not_hold(project, run):
    project.sql("a1", after=None)
    project.sql("b1", after=None)
    done = run("upgrade", project=project)
    assert done.code == 1
    assert done.last == (
        'refused: there are 2 heads: a1, b1. Cure: join them with `migrator revision --merge -m "join heads"` '
        "(Alembic: merge heads), or name one of them. (exit 1; run it again after that change)"
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "last"),
    [
        (["nonsense"], {}, "usage: argument VERB: invalid choice"),
        ([], {}, "usage: the following arguments are required: VERB"),
        (["upgrade", "--nonsense"], {}, "usage: unrecognized arguments: --nonsense"),
        (
            ["upgrade"],
            {"MIGRATOR_DATABASE_URL": ""},
            "usage: no database URL is set. Cure: set MIGRATOR_DATABASE_URL (or",
        ),
        (
            ["upgrade", "--deadline", "soon"],
            {},
            "usage: --deadline: 'soon' is not a duration. Cure: write it like 50ms",
        ),
        (["upgrade", "nonsense"], {}, "usage: Can't locate revision identified by 'nonsense'"),
        (["downgrade", "nonsense"], {}, "usage: Can't locate revision identified by 'nonsense'"),
        (["history"], {"MIGRATOR_LIMIT": "many"}, "usage: argument --limit: invalid int value"),
        (["revision"], {}, "usage: a revision needs a message"),
    ],
)
def test_2_wrong_usage(arguments, environment, last, project, run):
    done = run(*arguments, project=project, **environment)
    assert done.code == 2, done.text
    assert done.last.startswith(last)
    assert done.last.endswith("(exit 2; run it again after that change)")


def test_3_busy(project, run, db, client):
    db.rows("CREATE TABLE t (id int)")
    project.sql("a1", "ALTER TABLE t ADD COLUMN n int")
    client().run("SELECT * FROM t")
    assert run("upgrade", project=project, MIGRATOR_DEADLINE="300ms").code == 3


def test_4_a_step_failed(project, run):
    project.sql("a1", "SELECT nonsense")
    done = run("upgrade", project=project)
    assert done.code == 4
    assert done.last.startswith(
        'failed: a1: column "nonsense" does not exist; 0 applied and kept, 1 not applied. Cure: '
    )


@pytest.mark.parametrize("verb", ["upgrade", "plan", "status", "history", "wait"])
def test_5_the_database_cannot_be_reached(verb, project, run):
    done = run(verb, project=project, url=NOBODY, MIGRATOR_WAIT="300ms")
    assert done.code == 5
    assert done.last == (
        "unreachable: u@127.0.0.1:1/d does not answer: Connection refused. Cure: check that the database runs and can be "
        "reached from here. (exit 5; safe to run again as it is)"
    )


def test_5_the_server_is_lost_in_the_middle_of_a_statement(project, spawn, run, db):
    project.sql("a1", "CREATE TABLE t (id int)", "SELECT pg_sleep(60)")
    running = spawn("upgrade", project=project)
    until(lambda: [row for row in db.migrators() if "pg_sleep" in row[2]], "the statement to run")
    db.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'migrator/%%'")
    done = running.result()
    assert done.code == 5, done.text
    assert "was lost; the server rolls back what was open" in done.last
    assert db.columns("t") == []


def test_5_the_statements_connection_alone_is_lost(project, spawn, db):
    project.sql("a1", "CREATE TABLE t (id int)", "SELECT pg_sleep(60)")
    running = spawn("upgrade", project=project)
    until(lambda: [row for row in db.migrators() if "pg_sleep" in row[2]], "the statement to run")
    db.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%%'")
    done = running.result()
    assert done.code == 5, done.text
    assert db.runs() == [("upgrade", "unreachable")]


def test_70_a_bug_of_ours(project, run, monkeypatch):
    def broken(_settings, _report, _arguments):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("lockstep.verbs.status.main", broken)
    done = run("status", project=project)
    assert done.code == 70
    assert done.last.startswith("bug: ZeroDivisionError: oh. Cure: run again with --debug and report it. (exit 70;")
    assert "Traceback" not in done.text
    assert "Traceback" in run("status", "--debug", project=project).err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_130_and_143_interrupted(number, project, spawn):
    running = spawn("wait", project=project, url=NOBODY)
    running.said("waiting")
    running.signal(number)
    done = running.result()
    assert done.code == 128 + number
    assert done.last.startswith("interrupted: stopped while waiting for the database; nothing was changed.")


@pytest.mark.parametrize(
    ("verb", "keys"),
    [
        (["upgrade"], {"heads_before", "heads_after", "applied", "not_applied", "adopted", "ahead"}),
        (["plan"], {"heads", "ahead", "steps"}),
        (
            ["status"],
            {"database", "heads", "ahead", "pending", "ledger", "release", "served", "live_instances", "runs"},
        ),
        (["history"], {"steps"}),
        (["downgrade", "base"], {"heads_before", "heads_after", "applied", "not_applied"}),
        (["sql"], {"sql"}),
        (["wait"], {"database", "server_version"}),
        (["check"], {"findings"}),
    ],
)
def test_every_verb_has_a_json_document_and_stdout_holds_nothing_else(verb, keys, project, run, server):
    project.revision("a1", "print('a revision may print')\nop.execute('SELECT 1')")
    done = run(*verb, "--json", project=project, MIGRATOR_SHADOW_URL=server.url)
    assert done.code == 0, done.text
    document = done.json
    assert document["format"] == 1
    assert document["verb"] == verb[0]
    assert document["exit_code"] == 0
    assert keys <= set(document)
    assert run(*verb, project=project, MIGRATOR_JSON="1", MIGRATOR_SHADOW_URL=server.url).json["verb"] == verb[0]


def test_an_error_has_a_json_document_too(project, run):
    project.sql("a1", "SELECT 1")
    project.sql("b2", "SELECT nonsense")
    done = run("upgrade", "--json", project=project)
    document = done.json
    assert (document["outcome"], document["exit_code"]) == ("failed", 4)
    assert document["error"]["class"] == "StepFailed"
    assert [item["revision"] for item in document["applied"]] == ["a1"]
    assert document["not_applied"] == ["b2"]
    assert set(document["applied"][0]) >= {"revision", "duration_ms", "waited_ms", "attempts", "statements"}
    assert run("upgrade", "--json", "--nonsense").json["exit_code"] == 2


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_help_names_the_variable_of_every_flag(verb, run):
    done = run(verb, "--help")
    assert done.code == 0
    text = " ".join(done.out.split())
    for option in settings.OPTIONS:
        assert option.flag in text
        assert f"(env: {option.variable}" in text
    [sub] = [action.choices[verb] for action in cli.parser()._actions if action.dest == "verb"]
    for action in sub._actions:
        if action.option_strings and action.dest != "help":
            assert "(env: " in action.help, action.option_strings


def test_a_variable_does_what_its_flag_does(project, run):
    project.sql("a1", "SELECT 1")
    project.sql("b2", "SELECT 1")
    assert run("upgrade", project=project, MIGRATOR_TARGET="a1").last.endswith(
        "the database is at a1 (safe to run again)"
    )
    assert len(run("history", "--json", project=project, MIGRATOR_LIMIT="1").json["steps"]) == 1


SECRETS = ["hunter2", "h%40u%2Fn%23%3F", "%C3%A9t%C3%A9-hunter2", "'hunter2' \\".replace(" ", "%20")]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_wrong_password_is_said_and_not_shown(secret, run, server):
    from sqlalchemy import make_url  # noqa: PLC0415

    url = make_url(server.url)
    done = run(
        "upgrade", "--debug", "--json", url=f"postgresql://{url.username}:{secret}@{url.host}:{url.port}/postgres"
    )
    assert done.code == 2, done.text
    assert "the password is not accepted" in done.err
    shows_nothing(done.text, secret)


def shows_nothing(text, secret):
    from urllib.parse import unquote  # noqa: PLC0415

    assert secret not in text
    assert unquote(secret) not in text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@no.such.host.invalid/d", "postgresql://u:hunter2%@h/d", "postgresql://u:p@hunter2@h/d",
        "mysql://u:hunter2@h/d", "postgresql://u:hunter2@127.0.0.1:1/d?sslmode=hunter3",
        "postgresql://u:hunter2@127.0.0.1:1/d?sslmode=verify-full&sslrootcert=/nowhere",
    ],
)  # fmt: skip
def test_no_bad_url_shows_its_password(url, run):
    done = run("upgrade", "--debug", url=url, MIGRATOR_WAIT="200ms")
    assert done.code in {2, 5}, done.text
    assert "hunter2" not in done.text


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+asyncpg"])
def test_every_common_scheme_works_for_an_env_py_too(scheme, foreign, run, db):
    foreign.sql("a1", "CREATE TABLE t (id int)")
    done = run("upgrade", project=foreign, url=db.url.replace("postgresql://", f"{scheme}://"))
    assert done.code == 0, done.text


def test_the_password_is_in_no_output_no_ledger_and_no_process_list(project, spawn, run, db):
    password = db.url.split(":")[2].split("@")[0]
    project.revision("a1", "import os\nraise RuntimeError('cannot use ' + os.environ['MIGRATOR_DATABASE_URL'])")
    for flags in ((), ("--debug",), ("--json",)):
        done = run("upgrade", *flags, project=project)
        assert done.code == 4
        assert "cannot use postgresql://" in done.text
        assert password not in done.text
    assert password not in str(db.rows("SELECT * FROM migrator.run"))
    for verb in ("status", "history", "plan", "wait"):
        assert password not in run(verb, "--json", "--debug", project=project).text
    project._last = None
    project.sql("a1", "SELECT pg_sleep(60)")
    running = spawn("upgrade", project=project)
    until(lambda: [row for row in db.migrators() if "pg_sleep" in row[2]], "the statement to run")
    if Path("/proc").exists():
        assert password not in Path(f"/proc/{running.process.pid}/cmdline").read_text()
    assert password not in str(db.rows("SELECT application_name, query FROM pg_stat_activity"))
    running.signal(signal.SIGTERM)
    assert password not in running.result().text


def test_a_reader_that_went_away_does_not_fail_the_run(project, db):
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    project.sql("a1", "CREATE TABLE t (id int)")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "migrator", "upgrade"],
        env={**os.environ, "MIGRATOR_DATABASE_URL": db.url, "MIGRATOR_CONFIG": str(project.ini)},
        stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
    assert db.columns("t") == ["id"]


def test_json_is_valid_for_whatever_a_message_holds(project, run):
    project.revision("a1", "raise ValueError('\\x00 \\udcff \\n \"')")
    done = run("upgrade", "--json", project=project)
    assert done.code == 4
    json.loads(done.out)


def test_a_revision_id_that_alembics_table_does_not_take_is_refused_when_it_is_read(project, run):
    project.sql("a" * 33)
    done = run("upgrade", project=project)
    assert (done.code, "has 33 characters, and Alembic's version table takes 32" in done.text) == (1, True), done.text
