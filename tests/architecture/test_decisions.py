"""Where is this decided? The answers of docs/architecture.md, as data: each module holds what is asked for."""

import importlib
import tomllib

import pytest

from tests.conftest import ROOT

DECISIONS = {
    "the order of a run": ("lockstep.upgrade.line", "stages"),
    "what one run was asked for": ("lockstep.upgrade.request", "Request"),
    "whether there is anything to do at all": ("lockstep.upgrade.look", "is_at_rest"),
    "whether a step would break a live release": ("lockstep.upgrade.guard", "Guard"),
    "when a try for a lock is made again": ("lockstep.upgrade.apply", "Applier"),
    "what the app's role may do": ("lockstep.upgrade.grants", "keep"),
    "which statements run in no transaction": ("lockstep.postgres.outside_transaction", "KINDS"),
    "what bounds a session": ("lockstep.postgres.limits", "limits"),
    "how the run lock is taken": ("lockstep.postgres.lock", "held"),
    "which pooler is refused": ("lockstep.postgres.pooler", "verdict"),
    "who blocks": ("lockstep.postgres.blockers", "Waiting"),
    "which releases are live": ("lockstep.ledger.releases", "read"),
    "what makes an applied revision an edited one": ("lockstep.project.seal", "of_source"),
    "where a release's contract comes from": ("lockstep.project.release_contract", "needed"),
    "which project a run is on": ("lockstep.settings.find_project", "configuration"),
    "what a project may say of itself": ("lockstep.settings.project_options", "ProjectOptions"),
    "how env.py's connection is put under ours": ("lockstep.project.env_substitution", "Substitution"),
    "when a run is ended by force": ("lockstep.stop.watchdog", "bounded"),
    "what a duration may look like": ("lockstep_gate.durations", "milliseconds"),
    "which exit code means what": ("lockstep_gate.exits", "BUSY"),
    "what is a secret in a text": ("lockstep_gate.masking", "masked"),
    "how a release is named": ("lockstep_gate.release", "name_of_file"),
    "what a MetaData needs of the schema": ("lockstep_gate.contract.derivation", "derive"),
    "what a person at a terminal sees instead of plain lines": ("lockstep.terminal", "line"),
    "whether written revisions lead to the models": ("lockstep.develop.proving", "tried"),
}


@pytest.mark.parametrize("decision", DECISIONS)
def test_it_is_decided_where_one_would_look_for_it(decision):
    module, name = DECISIONS[decision]
    assert hasattr(importlib.import_module(module), name), decision


def test_the_order_of_a_run_fits_on_a_page_and_no_module_needs_four():
    lines = {path: len(path.read_text().splitlines()) for top in ("engine", "gate") for path in _modules(top)}
    assert lines[ROOT / "engine" / "lockstep" / "upgrade" / "line.py"] < 100
    assert {path.name: count for path, count in lines.items() if count > 300} == {}


def _modules(top):
    return (ROOT / top).rglob("*.py")


def test_the_declared_layers_are_few_and_leave_nothing_out():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert "exclude_type_checking_imports" not in contracts
    [engine] = [one for one in contracts["contracts"] if one.get("containers") == ["lockstep"]]
    assert (len(engine["layers"]) <= 12, engine["exhaustive"]) == (True, True)


def test_no_module_looks_for_the_project_by_where_its_own_file_lies():
    found = [
        path.name
        for path in (ROOT / "engine" / "lockstep").rglob("*.py")
        if "is_own_project" in path.read_text() or "OWN_CONFIG" in path.read_text()
    ]
    assert found == []


def test_every_pinned_runtime_dependency_is_imported_somewhere():
    names = {"psycopg2-binary": "psycopg2", "sqlalchemy": "sqlalchemy"}
    code = {
        "migrator.in": "\n".join(
            path.read_text() for top in ("engine", "gate", "migrator") for path in (ROOT / top).rglob("*.py")
        ),
        "app.in": "\n".join(path.read_text() for top in ("gate", "app") for path in (ROOT / top).rglob("*.py")),
    }
    for file, text in code.items():
        for line in (ROOT / "requirements" / file).read_text().splitlines():
            name = line.partition("==")[0].strip()
            if name and not name.startswith(("#", "-")):
                module = names.get(name, name.replace("-", "_"))
                used = (f"import {module}", f"from {module}", f'"{module}')  # the last: imported by its name
                assert any(one in text for one in used), f"{file}: {name}"
