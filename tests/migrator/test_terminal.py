"""What a person at a terminal sees: colours and tables. A log gets plain lines, which the other tests hold."""

import re

import pytest

from lockstep import terminal
from tests.migrator.rig import at_a_terminal

RED, GREEN, YELLOW = "\x1b[31m", "\x1b[32m", "\x1b[33m"
LOADED = (
    "import sys; from lockstep import cli; code = cli.main(sys.argv[1:]); print('rich' in sys.modules); sys.exit(code)"
)


@pytest.fixture
def shown(db, project, tmp_path):
    """Run a verb at a terminal; return the exit code and what the terminal was sent."""

    def one(*words, start=("-m", "migrator"), **environment):
        given = {
            "MIGRATOR_DATABASE_URL": db.url,
            "MIGRATOR_CONFIG": str(project.ini),
            "HOME": str(tmp_path),
            **environment,
        }
        return at_a_terminal(*start, *words, **given)

    return one


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_an_upgrade_in_colours_says_what_a_log_is_told(project, shown, run):
    project.sql("one", "CREATE TABLE person (id int)")
    code, text = shown("upgrade")
    assert code == 0, text
    assert f"{GREEN}applied\x1b[0m    " in text
    times = re.compile(r" +\d+ ms")
    project.sql("two", "CREATE TABLE pet (id int)")
    logged = run("upgrade", project=project).out.replace("two", "one")
    assert times.sub(" ms", plain(text)) == times.sub(" ms", logged)


def test_nothing_to_do_is_said_without_colours_and_without_what_makes_them(project, shown, run):
    project.sql("one", "SELECT 1")
    assert run("upgrade", project=project).code == 0
    first = shown("upgrade", start=("-c", LOADED))  # leaves a manifest, if the run before has not
    code, text = shown("upgrade", start=("-c", LOADED))
    assert (code, text) == (0, "done: nothing to do, the database is at one (safe to run again)\nFalse\n"), first


def test_history_is_a_table_with_all_that_the_lines_have(project, shown, run):
    project.sql("one", "SELECT 1")
    project.sql("two", "SELECT 1", down=["SELECT 1"])
    assert run("upgrade", project=project).code == 0
    assert run("downgrade", "-1", "--yes", project=project).code == 0
    code, text = shown("history")
    assert code == 0, text
    assert re.search(r"started +revision +took +commit +message", plain(text)), text
    assert (f"{YELLOW}reverted" in text, f"{GREEN}applied" in text) == (True, True), text
    said = " ".join(plain(text).split())
    for line in run("history", project=project).out.splitlines():
        assert " ".join(line.replace("commit ", "").split()) in said


def test_a_plan_shows_its_sql_in_colours_and_word_for_word(project, shown, run):
    project.sql("one", "CREATE TABLE person (id int)", "UPDATE person SET id = 1\n  WHERE id = 2")
    code, text = shown("plan")
    assert code == 0, text
    assert re.search("\x1b\\[[0-9;]*mCREATE", text), text
    assert plain(text) == run("plan", project=project).out


def test_a_refusal_is_red_and_the_terminals_wishes_are_kept(shown):
    assert shown("downgrade", "nowhere")[1].splitlines()[-1].startswith(RED)
    _, text = shown("downgrade", "nowhere", NO_COLOR="1")
    assert plain(text).splitlines()[-1].startswith("usage: "), text
    assert RED not in text
    assert "\x1b[" not in shown("downgrade", "nowhere", TERM="dumb")[1]


def test_a_text_from_outside_cannot_steer_the_terminal(capsys):
    import sys  # noqa: PLC0415 - capsys puts its own in place

    assert (
        terminal.line(sys.stdout, "applied    a\x07b\x08c\r[red]d[/red] :smile:")
        == "applied    abc[red]d[/red] :smile:"
    )


def test_a_bar_is_one_line_however_long_the_text(capsys):
    import sys  # noqa: PLC0415 - capsys puts its own in place

    shown = terminal.bar(sys.stdout, 0.5, "people   running   " * 20)
    assert "\n" not in shown
    assert shown.endswith("…")
