"""Where the engine finds the project it is to run on, and what the project says of itself."""

import os
import shutil
import subprocess
import sys

import pytest

from lockstep import settings
from lockstep.errors import Usage
from lockstep.project import manifest
from lockstep.settings import find_project, project_options
from tests.migrator.rig import ROOT

INI = "[alembic]\nscript_location = %(here)s/alembic\n"


def test_the_nearest_configuration_upwards_is_taken(tmp_path):
    top, deep = tmp_path / "shop", tmp_path / "shop" / "a" / "b"
    deep.mkdir(parents=True)
    (top / "alembic.ini").write_text(INI)
    assert find_project.configuration("", str(deep)) == str(top / "alembic.ini")
    (deep.parent / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert find_project.configuration("", str(deep)) == str(top / "alembic.ini"), "that toml is not Alembic's"
    (deep.parent / "pyproject.toml").write_text("[tool.alembic]\nscript_location = 'alembic'\n")
    assert find_project.configuration("", str(deep)) == str(deep.parent / "pyproject.toml")
    (deep.parent / "alembic.ini").write_text(INI)
    assert find_project.configuration("", str(deep)) == str(deep.parent / "alembic.ini"), "the ini before the toml"


def test_without_one_upwards_it_is_that_of_migrator_beside(tmp_path):
    (tmp_path / "migrator").mkdir()
    (tmp_path / "migrator" / "alembic.ini").write_text(INI)
    assert find_project.configuration("", str(tmp_path)) == str(tmp_path / "migrator" / "alembic.ini")
    assert find_project.configuration("", str(tmp_path.parent)) == ""


def test_a_flag_wins_over_its_variable_and_that_over_the_directory(tmp_path, monkeypatch):
    for name in ("flag", "variable", "here"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "alembic.ini").write_text(INI)
    monkeypatch.chdir(tmp_path / "here")
    env = {"MIGRATOR_CONFIG": str(tmp_path / "variable" / "alembic.ini")}
    assert settings.load({"config": str(tmp_path / "flag" / "alembic.ini")}, env).config.endswith("flag/alembic.ini")
    assert settings.load({}, env).config.endswith("variable/alembic.ini")
    assert settings.load({}, {}).config.endswith("here/alembic.ini")


def test_a_directory_without_a_project_is_one_clear_line(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    done = run("status")
    assert done.code == 2
    assert done.last.startswith(
        "usage: no Alembic project here: no alembic.ini, nor a pyproject.toml with [tool.alembic]"
    )
    assert run("wait").code == 0, "what needs no project runs without one"


@pytest.mark.parametrize("place", [".", "migrator"])
def test_this_repositorys_project_is_found_from_the_root_and_from_its_own_directory(place):
    done = subprocess.run(
        [sys.executable, "-m", "migrator", "sql", "--json"],
        cwd=ROOT / place,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "CREATE TABLE users" in done.stdout


def test_the_engine_runs_on_a_copy_of_this_project_as_on_any_other(tmp_path, run, db):
    """What is special to it is in its [lockstep] section, not in where it lies."""
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for name in ("alembic.ini", "env.py", "models.py", "script.py.mako"):
        shutil.copy(ROOT / "migrator" / name, copy)
    shutil.copytree(ROOT / "migrator" / "versions", copy / "versions", ignore=shutil.ignore_patterns("__pycache__"))
    done = run("upgrade", "--config", copy / "alembic.ini")
    assert done.code == 0, done.text
    assert done.last.endswith("(safe to run again)")
    here = run("status", "--json").json
    assert here["served"] is True, "to this repository's own files it is the same release"
    assert db.rows("SELECT digest FROM migrator.release WHERE contract IS NOT NULL") == [(here["release"],)]


def test_the_options_of_an_ini(tmp_path):
    ini = tmp_path / "alembic.ini"
    ini.write_text(
        INI + "[lockstep]\nmodels = %(here)s/models.py\nmodels_source = ../app/models.py\napp_role = shop\n"
        "checkpoint = none\nsafe_autogenerate = yes\n"
    )
    options = project_options.read(str(ini))
    assert options.models == str(tmp_path / "models.py")
    assert os.path.normpath(options.models_source) == str(tmp_path.parent / "app" / "models.py")
    assert (options.app_role, options.checkpoint, options.safe_autogenerate) == ("shop", "none", True)
    assert options.no_temporary_tables is False


def test_the_options_of_a_toml_and_the_ini_above_it(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[tool.alembic]\nscript_location = 'alembic'\n"
        "[tool.lockstep]\nmodels = 'shop.models:Base'\napp_role = 'shop'\nno_temporary_tables = true\n"
    )
    toml = str(tmp_path / "pyproject.toml")
    assert project_options.read(toml) == project_options.ProjectOptions(
        models="shop.models:Base", app_role="shop", no_temporary_tables=True
    )
    (tmp_path / "alembic.ini").write_text("[alembic]\n[lockstep]\napp_role = other\n")
    assert project_options.read(str(tmp_path / "alembic.ini")).app_role == "other"
    assert project_options.read(str(tmp_path / "alembic.ini")).models == "shop.models:Base"


@pytest.mark.parametrize(
    ("text", "line", "cure"),
    [
        ("modles = x", "[lockstep] in alembic.ini: there is no option 'modles'", "did you mean models?"),
        ("colour = red", "[lockstep] in alembic.ini: there is no option 'colour'", "one of: models, models_source,"),
        ("safe_autogenerate = perhaps", "[lockstep] in alembic.ini: safe_autogenerate is 'perhaps'", "write yes or no"),
        ("app_role = a\n  b", "[lockstep] in alembic.ini: app_role is 'a\\nb'", "write one text on one line"),
        ("app_role = %(nowhere)s", "alembic.ini cannot be used: Bad value substitution", "correct it"),
    ],
)
def test_an_option_that_cannot_be_is_one_clear_line(tmp_path, text, line, cure):
    (tmp_path / "alembic.ini").write_text(f"{INI}[lockstep]\n{text}\n")
    with pytest.raises(Usage) as caught:
        project_options.read(str(tmp_path / "alembic.ini"))
    assert caught.value.message.startswith(line)
    assert caught.value.cure.startswith(cure)


@pytest.mark.parametrize("value", ["7", "['a']", "{a = 1}"])
def test_a_value_of_another_kind_in_a_toml_is_one_clear_line(tmp_path, value):
    (tmp_path / "pyproject.toml").write_text(f"[tool.alembic]\n[tool.lockstep]\napp_role = {value}\n")
    with pytest.raises(Usage, match=r"\[tool.lockstep\] in pyproject.toml: app_role is "):
        project_options.read(str(tmp_path / "pyproject.toml"))


def test_a_variable_wins_over_what_the_project_says_and_a_flag_over_that(tmp_path):
    ini = tmp_path / "alembic.ini"
    ini.write_text(INI + "[lockstep]\napp_role = project\n")
    env = {"MIGRATOR_CONFIG": str(ini)}
    assert settings.load({}, env).app_role == "project"
    assert settings.load({}, env | {"MIGRATOR_APP_ROLE": "variable"}).app_role == "variable"
    assert settings.load({"app_role": "flag"}, env | {"MIGRATOR_APP_ROLE": "variable"}).app_role == "flag"


def test_without_a_configuration_there_is_no_manifest():
    assert manifest.read("") is None


def test_the_section_that_is_named_is_the_one_that_is_taken(foreign, run, db):
    foreign.sql("a1", "CREATE TABLE t (id int)")
    text = foreign.ini.read_text()
    url = db.url.replace("postgresql://", "postgresql+psycopg2://")
    foreign.ini.write_text(text.replace("[alembic]\n", "[other]\n").replace("driver://user:pass@localhost/dbname", url))
    done = run("upgrade", "-n", "other", project=foreign, url="")
    assert done.code == 0, done.text
    assert db.columns("t") == ["id"]
    assert run("status", project=foreign, url="", MIGRATOR_SECTION="other").code == 0


def test_what_is_given_with_x_reaches_env_py(foreign, run, db):
    foreign.sql("a1", "CREATE TABLE t (id int)")
    foreign.env_py.write_text(
        "from alembic import context\nimport json, os\n"
        "print(json.dumps(context.get_x_argument(as_dictionary=True), sort_keys=True))\n" + foreign.env_py.read_text()
    )
    assert '{"a": "1", "b": "two words"}' in run("status", "-x", "a=1", "-x", "b=two words", project=foreign).text
    assert '{"a": "1", "b": "two words"}' in run("status", project=foreign, MIGRATOR_X="a=1 'b=two words'").text
    assert run("status", project=foreign, MIGRATOR_X="a='").last.startswith("usage: MIGRATOR_X: No closing quotation")
