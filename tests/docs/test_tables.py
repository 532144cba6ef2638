"""What the documents list is what the code has: verbs, exit codes, settings."""

import re

import pytest

from app import settings as app_settings
from lockstep import cli, errors
from lockstep_gate import exits
from lockstep_gate import settings as gate_settings
from lockstep_gate.predeploy import settings as predeploy_settings
from tests.docs import tables
from tests.docs.pages import page, rows

WRITE = "write it anew with `python -m tests.docs.tables`"


def codes():
    """Every exit code a verb may end with."""
    return {one.code for one in exits.TABLE}


def subclasses(parent):
    for child in parent.__subclasses__():
        if child.__module__ == "lockstep_gate.errors":
            yield child
            yield from subclasses(child)


def test_every_error_ends_with_a_code_and_a_word_of_the_one_table():
    known = {(one.code, one.word, one.again) for one in exits.TABLE}
    for each in subclasses(errors.MigratorError):
        if each is not errors.Interrupted:
            assert (each.code, each.word, each.again) in known
    for number in (1, 2, 15):
        stopped = errors.Interrupted(number)
        assert (stopped.code, stopped.word, stopped.again) in known


def numbers(text):
    return {int(number) for number in re.findall(r"\d+", text)}


@pytest.mark.parametrize(
    ("name", "block"), [(name, block) for name, blocks in tables.BLOCKS.items() for block in blocks]
)
def test_a_table_made_of_the_code_is_as_the_code_is(name, block):
    assert page(name).marked(block) == tables.BLOCKS[name][block](), WRITE


def test_the_readme_lists_every_exit_code():
    listed = [row[0] for row in rows(page("README.md").marked("exit codes"))]
    assert numbers(" ".join(listed)) == codes()


def test_the_runbook_has_a_section_for_every_exit_code():
    headed = [heading.partition(":")[0] for heading in page("docs/runbook.md").headings() if heading[0].isdigit()]
    assert numbers(" ".join(headed)) == codes()


def test_the_runbooks_last_lines_carry_the_word_and_the_code_of_their_section():
    words = {one.code: one.word for one in exits.TABLE}
    runbook = page("docs/runbook.md")
    for heading in runbook.headings():
        if not heading[0].isdigit():
            continue
        for block in re.findall(r"```text\n(.*?)```", runbook.section(heading), re.DOTALL):
            last = block.strip().splitlines()[-1]
            code = int(found[1]) if (found := re.search(r"\(exit (\d+);", last)) else 0
            assert code in numbers(heading.partition(":")[0]), last
            assert last.startswith(words[code] + ": "), last


def asked(read, monkeypatch):
    """Every variable a module's settings look at, with the default it states."""
    found = {}

    class Asked(dict):
        def get(self, name, default=None):
            found.setdefault(name, "")
            return super().get(name, default)

    class Reader(gate_settings.Reader):
        def number(self, name, *, default, **bounds):
            found[name] = str(default)
            return super().number(name, default=default, **bounds)

        def duration(self, name, *, default, **bounds):
            found[name] = default
            return super().duration(name, default=default, **bounds)

    for module in (app_settings, gate_settings):
        monkeypatch.setattr(module, "Reader", Reader)
    for environ in (Asked(), Asked(DATABASE_HOST="somewhere", DATABASE_NAME="shop")):
        try:
            read(environ)
        except app_settings.SettingsError:
            continue
    return found


@pytest.mark.parametrize(
    ("section", "read", "by_others"),
    [
        ("The app", app_settings.read, {"GATE_WAIT"}),
        ("The pre-deploy command on Render", predeploy_settings.read, {"PREDEPLOY_WAIT_ONLY"}),
    ],
)
def test_the_apps_settings_are_those_it_reads(section, read, by_others, monkeypatch):
    listed = {
        name: row[1].strip("`")
        for row in rows(page("docs/settings.md").section(section))
        for name in re.findall(r"`(\w+)`", row[0])
    }
    wanted = asked(read, monkeypatch)
    shared = {"IMAGE_COMMIT", "RENDER_GIT_COMMIT"}
    assert set(listed) - by_others - shared == set(wanted) - shared
    for name, default in wanted.items():
        if default:
            assert listed[name] == default


def test_every_verb_has_a_section_of_its_json_document():
    assert set(cli.VERBS) <= set(page("docs/json.md").headings())
