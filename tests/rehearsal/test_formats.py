"""Each format says what was found, in the way its reader wants it."""

import json
import re
from pathlib import Path

import pytest

from lockstep.develop.rehearsal import second_opinion
from lockstep.develop.rehearsal.formats import github, markdown, rules, sarif, text
from lockstep.develop.rehearsal.formats import json as as_json
from lockstep.develop.rehearsal.rules import RULES
from tests.rehearsal.rig import Project

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def rehearsal(project, server):
    project.add(
        "def upgrade():\n    # migrator: allow locks-several-tables: both are tiny\n"
        '    op.create_index("ix", "orders", ["code"])\n'
        '    op.add_column("orders", sa.Column("a|b", sa.Text()))\n'
        '    op.add_column("customers", sa.Column("a", sa.Text()))\n\n\n'
        "def downgrade():\n    raise NotImplementedError\n"
    )
    return project.rehearse(server.url, opinion=True)


def test_text_shows_where_whom_and_what_instead(rehearsal):
    shown = "\n".join(text.lines(rehearsal))
    assert "error      index-blocks-writes: index ix was built on orders   line 13" in shown
    assert "           blocks all writes to orders while an index over 300 rows is built" in shown
    assert '           |     op.create_index("ix", "orders", [...], postgresql_concurrently=True)' in shown
    assert "allowed    locks-several-tables" in shown
    assert "           because both are tiny" in shown


def test_markdown_can_be_a_comment(rehearsal):
    shown = markdown.write(rehearsal)
    assert shown.startswith(markdown.MARKER)
    assert "### Rehearsal: 1 error, 1 warning" in shown
    assert "**error: an index built without concurrently** (`index-blocks-writes`, line 13)" in shown
    assert "a\\|b" in shown


def test_json_holds_every_statement_with_its_locks(rehearsal):
    document = json.loads(as_json.write(rehearsal))
    statement = document["revisions"][0]["passes"][0]["statements"][0]
    assert statement["taken"] == [{"relation": "orders", "mode": "SHARE", "standing": True}]
    assert document["errors"] == 1


def test_github_shows_findings_beside_their_lines(rehearsal):
    first = github.write(rehearsal).splitlines()[0]
    assert re.match(r"::error file=\S+r1_step\.py,line=13,title=index-blocks-writes%3A An index", first)
    assert "%0ABlocks all writes to orders" in first


def test_sarif_names_rules_places_and_what_is_allowed(rehearsal):
    run = json.loads(sarif.write(rehearsal))["runs"][0]
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {*(rule.id for rule in RULES), "waiver"}
    by_rule = {result["ruleId"]: result for result in run["results"]}
    assert by_rule["index-blocks-writes"]["locations"][0]["physicalLocation"]["region"] == {"startLine": 13}
    assert by_rule["locks-several-tables"]["suppressions"][0]["justification"] == "both are tiny"


def test_sarif_holds_what_the_standard_requires(tmp_path, server):
    project = Project.make(tmp_path / "a project, one #1")
    project.add('op.create_index("ix", "orders", ["code"])')
    log = json.loads(sarif.write(project.rehearse(server.url)))
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    driver = log["runs"][0]["tool"]["driver"]
    assert driver["name"]
    assert len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"])
    for result in log["runs"][0]["results"]:
        assert result["message"]["text"]
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["ruleId"] in {rule["id"] for rule in driver["rules"]}
        place = result["locations"][0]["physicalLocation"]
        assert place["region"]["startLine"] >= 1
        assert re.fullmatch(r"(?:[\w.~/:,@-]|%[0-9A-F]{2})+", place["artifactLocation"]["uri"])


@pytest.mark.skipif(second_opinion.binary() is None, reason="squawk is not installed")
def test_parameters_of_the_driver_are_no_syntax_errors_to_squawk():
    statements = [
        "UPDATE t SET a = %(a)s WHERE b LIKE 'x%%'",
        "INSERT INTO t VALUES (%s)",
        "ALTER TABLE t ADD COLUMN b int NOT NULL",
    ]
    assert second_opinion.verdicts([(one, False) for one in statements]) == [(), (), ("adding-required-field",)]


@pytest.mark.skipif(second_opinion.binary() is None, reason="squawk is not installed")
def test_squawk_is_asked_and_agreement_is_told(rehearsal):
    (first,) = [one for one in rehearsal.opinions if "CREATE INDEX" in one.sql]
    assert first.agrees
    assert first.squawk == ("require-concurrent-index-creation",)


def test_a_program_of_that_name_that_is_another_fails_no_rehearsal(rehearsal, tmp_path, monkeypatch):
    program = tmp_path / "squawk"
    program.write_text("#!/bin/sh\necho quack\n")
    program.chmod(0o755)
    monkeypatch.setattr(second_opinion, "binary", lambda: str(program))
    assert second_opinion.ask(rehearsal.revisions, rehearsal.findings) == ()


def test_docs_are_written_from_the_rules():
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == rules.page(), "`make rules` writes it again"
