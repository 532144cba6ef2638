"""Nonsense from whoever sets it up: URLs, arguments, variables, models, env.py, manifests; one clear line each."""

import json
import os
import re
import shutil
from binascii import crc32

import pytest

from lockstep.project import manifest
from tests.torture.corpora.models import ENVS, MODELS
from tests.torture.corpora.urls import ARGUMENTS, URLS, VARIABLES
from tests.torture.test_nonsense import SECRET, look, there, wrong_with

__all__ = ["there"]
CODES = {0, 1, 2, 3, 4, 5}


@pytest.fixture
def failing(there, project):
    """The same with a revision pending that fails, so that whatever gets that far changes nothing."""
    project.sql("b2", "SELECT 1 / 0")
    return there


def forget_tls():
    """Take back what --require-tls and --tls-ca set for their process, which is this one."""
    for name in ("PGSSLMODE", "PGSSLROOTCERT"):
        os.environ.pop(name, None)


def told(wrong, corpus):
    assert not wrong, f"{len(wrong)} of {len(corpus)}\n" + "\n".join(wrong)


def test_a_url_of_any_content(failing, run, project):
    before, wrong = look(failing), []
    for text in URLS:
        url = text.replace("{S}", SECRET)
        wrong += wrong_with(run("upgrade", project=project, url=url, MIGRATOR_WAIT="0s"), {2, 5}, text)
    told(wrong, URLS)
    assert look(failing) == before


def test_arguments_of_any_content(failing, run, project, tmp_path, monkeypatch):
    before, wrong = look(failing), []
    monkeypatch.chdir(tmp_path)
    for arguments in ARGUMENTS:
        done = run(*arguments, project=project, MIGRATOR_DEADLINE="20s")
        forget_tls()
        wrong += wrong_with(done, CODES, arguments)
    told(wrong, ARGUMENTS)
    assert look(failing) == before


def test_variables_of_any_content(failing, run, project):
    before, wrong = look(failing), []
    for name, value in VARIABLES:
        given = {"MIGRATOR_CONFIG": str(project.ini), "MIGRATOR_DEADLINE": "20s", name: value}
        for verb in ("upgrade", "history") if name == "MIGRATOR_LIMIT" else ("upgrade",):
            wrong += wrong_with(run(verb, **given), CODES, (name, value))
            forget_tls()
    told(wrong, VARIABLES)
    assert look(failing) == before


def test_models_of_any_content(there, run, project):
    before, wrong = look(there), []
    path = project.directory / "models.py"
    project.ini.write_text(project.ini.read_text() + "models = %(here)s/models.py\n")
    project.sql("b2", "SELECT 1 / 0")
    for text in MODELS:
        path.write_text(text.replace("{S}", SECRET), encoding="utf-8")
        wrong += wrong_with(run("upgrade", project=project), {1, 2, 4}, text)
    told(wrong, MODELS)
    assert look(there) == before


def test_an_env_py_of_any_content(failing, run, project):
    before, wrong = look(failing), []
    for text in ENVS:
        project.env_py.write_text(text.replace("{S}", SECRET))
        wrong += wrong_with(run("upgrade", project=project, MIGRATOR_DEADLINE="20s"), {1, 4, 5}, text)
    told(wrong, ENVS)
    assert look(failing) == before


def manifests(good, other):
    """Return texts of a manifest cut short, swapped, or edited; none is true, but the ones of `other` look so."""
    cuts = [good[: len(good) * part // 40] for part in range(40)]
    head, _, body = good.partition("\n")
    swapped = [f"{body}\n{head}", body, head, f"{head}\n{head}", f"{head}\n\n{body}", f"{good}\n", f" {good}"]
    edits = [good.replace(manifest.FORMAT, word) for word in ("manifest 4", "", "'3'", "[]", "1e400", "-1")]
    edits += [re.sub(r'"written": \d+', f'"written": {value}', good) for value in ("", "x", "[]", "NaN", "0")]
    edits += [good.replace('"heads"', '"heats"'), good.replace('"x"', '"y"'), good.replace(" ", "=", 1), good.upper()]
    shapes = [sealed(found) for found in ("{}", "null", "[]", "1", '"x"', "NaN", "")]
    known = json.loads(body)
    shapes += [sealed(json.dumps(known | {name: None})) for name in ("heads", "listed", "files", "written")]
    raw = ["", "\n\n\n\n", "{}\n\n", "null\n", "[" * 100_000, "\x00" * 50, "é" * 50, good + good, other]
    return [text for text in dict.fromkeys([*cuts, *swapped, *edits, *shapes, *raw]) if text != good]


def sealed(body):
    """Return a text with the first line of one that is whole."""
    return f"{manifest.FORMAT} {crc32(body.encode()):08x}\n{body}"


def test_a_manifest_of_any_content_is_not_believed(tmp_path):
    """Whatever it holds, it is read as none: then the files themselves are."""
    top, path = tmp_path / "migrator", tmp_path / "migrator" / "versions.manifest"
    shutil.copytree("migrator", top, ignore=shutil.ignore_patterns("__pycache__", "versions.manifest"))
    config = str(top / "alembic.ini")
    sources = manifest.Sources(["alembic.ini", "env.py", "models.py"], [("versions", False)], None, None, "")
    known = manifest.Manifest(["x"], "y", "z", 1, "{}", "[]", ".", True, "")
    good = manifest.text(config, sources, known, written=99999999999, sealed_files={})
    fewer = json.loads(good.partition("\n")[2])
    fewer |= {"listed": fewer["listed"][1:], "digests": fewer["digests"][1:]}
    path.write_text(good)
    assert manifest.read(config).heads == ("x",)
    texts, believed = manifests(good, sealed(json.dumps(fewer))), []
    for text in texts:
        path.write_text(text)
        believed += [text[:200]] if manifest.read(config) is not None else []
    path.write_bytes(b"\xff\xfe\x00")
    assert manifest.read(config) is None
    assert not believed, f"{len(believed)} of {len(texts)}: {believed}"
    assert len(texts) > 60
