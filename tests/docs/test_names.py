"""What the documents name is there: files, links, flags, variables, make targets, verbs."""

import re
import subprocess
import sys

import pytest

from lockstep import cli
from lockstep_gate import __main__ as gate
from tests.docs import tables
from tests.docs.pages import ROOT, page, pages

PAGES = [each.name for each in pages()]
# Not ours: what the documents say of other programs.
OTHERS_FLAGS = {"--autogenerate", "--sql", "--build", "--rm", "--profile", "--scale", "--results", "--every"}
OTHERS_VARIABLES = {"DATABASE_URL"}
VERBS_OF_THE_GATE = [("lockstep_gate", verb) for verb in gate.VERBS]
TOPS = ("app/", "migrator/", "engine/", "gate/", "local/", "tests/", "docs/", "benchmarks/", ".ci/", "requirements/")
# Made by a run, or a name that stands for others.
NOT_THERE = re.compile(r"[*<…{]|^benchmarks/results")


def source():
    """The text of everything that may read a variable."""
    files = [
        "Makefile",
        "docker-compose.yml",
        "Dockerfile.app",
        "Dockerfile.migrator",
        "render.yaml",
        "tests/conftest.py",
    ]
    texts = [(ROOT / name).read_text() for name in files if (ROOT / name).exists()]
    for top in ("app", "migrator", "engine", "gate", "local", "benchmarks"):
        texts += [path.read_text() for path in (ROOT / top).rglob("*.py")]
    return "\n".join(texts)


def flags():
    """Every flag of the migrator, of `python -m local` and of the app's commands."""
    found = {
        option for parser in tables.parsers().values() for each in parser._actions for option in each.option_strings
    }
    found |= {"--version"}
    for module in (("local",), ("local", "up"), ("app.gate",), ("app.predeploy",), *VERBS_OF_THE_GATE):
        command = [sys.executable, "-m", *module, "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        found |= set(re.findall(r"--[a-z][a-z-]+", done.stdout))
    return found | OTHERS_FLAGS


@pytest.mark.parametrize("name", PAGES)
def test_links_resolve(name):
    there = page(name)
    for link in there.links():
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (there.path.parent / path).resolve() if path else there.path
        assert target.exists(), link
        if anchor:
            assert anchor in page(target.relative_to(ROOT)).anchors(), link


@pytest.mark.parametrize("name", PAGES)
def test_files_that_are_named_are_there(name):
    for code in page(name).codes():
        if code.startswith(TOPS) and " " not in code and not NOT_THERE.search(code):
            assert (ROOT / code).exists(), code


def test_flags_that_are_named_are_there():
    there = flags()
    for each in pages():
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", " ".join([*each.codes(), *each.commands()])):
            assert flag in there, f"{each.name}: {flag}"


def test_variables_that_are_named_are_read_somewhere():
    text = source()
    built = {f"DATABASE_{part}" for part in ("HOST", "PORT", "NAME", "USER", "PASSWORD")}
    built |= set(re.findall(r"MIGRATOR_\w+|RELEASE_RETENTION", tables.common_settings()))
    for each in pages():
        for variable in re.findall(r"\b[A-Z]+_[A-Z_]+[A-Z]\b", " ".join([*each.codes(), *each.commands()])):
            assert variable in built | OTHERS_VARIABLES or variable in text, f"{each.name}: {variable}"


def test_make_targets_and_verbs_that_are_named_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for each in pages():
        for text in [*each.codes(), *each.commands()]:
            if found := re.match(r"make ([a-z-]+)", text):
                assert found[1] in targets, f"{each.name}: {text}"
            if found := re.match(r"(?:python -m )?migrator ([a-z]+)\b", text):
                assert found[1] in cli.VERBS, f"{each.name}: {text}"
