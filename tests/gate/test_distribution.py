"""What others install: a wheel and a source distribution that need SQLAlchemy and nothing else."""

import importlib.metadata
import importlib.util
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import lockstep_gate
from tests.app.rig import ROOT

NEEDED = ("sqlalchemy", "typing_extensions")
ALONE = """
import sys
sys.path[:0] = {path!r}
import importlib, pkgutil, lockstep_gate
names = [one.name for one in pkgutil.walk_packages(lockstep_gate.__path__, "lockstep_gate.")]
# Render's API is an extra, and its client with it.
left_out = {{"lockstep_gate.predeploy.render_api", "lockstep_gate.predeploy.trigger", "lockstep_gate.predeploy.ship"}}
for name in sorted(set(names) - left_out - {{"lockstep_gate.__main__"}}):
    importlib.import_module(name)
known = sys.stdlib_module_names | {{"sqlalchemy", "typing_extensions", "lockstep_gate", "greenlet", "cython_runtime"}}
print(sorted({{name.split(".")[0] for name in sys.modules if not name.startswith("_")}} - known))
print(lockstep_gate.__file__)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the source distribution, made with nothing fetched."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT / "gate")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (source,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, source


def test_both_hold_the_package_and_are_named_by_its_one_version(built):
    wheel, source = built
    version = lockstep_gate.__version__
    assert (wheel.name, source.name) == (f"lockstep_gate-{version}-py3-none-any.whl", f"lockstep_gate-{version}.tar.gz")
    modules = {str(path.relative_to(ROOT / "gate")) for path in (ROOT / "gate" / "lockstep_gate").rglob("*.py")}
    there = set(zipfile.ZipFile(wheel).namelist())
    assert modules | {"lockstep_gate/py.typed"} <= there
    assert {name.split("/")[0] for name in there} == {"lockstep_gate", f"lockstep_gate-{version}.dist-info"}
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert modules | {"pyproject.toml", "README.md", "lockstep_gate/py.typed"} <= names


def test_it_needs_sqlalchemy_at_most():
    needs = importlib.metadata.requires("lockstep-gate")
    assert [one for one in needs if "extra ==" not in one] == ["sqlalchemy<2.2,>=1.4"]


def test_every_module_works_where_nothing_but_sqlalchemy_is_installed(built, tmp_path):
    wheel, _ = built
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")  # noqa: S202 - of our own making
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for name in NEEDED:
        found = importlib.util.find_spec(name)
        place = Path(found.origin).parent if found.submodule_search_locations else Path(found.origin)
        (libraries / place.name).symlink_to(place)
    code = ALONE.format(path=[str(tmp_path / "installed"), str(libraries)])
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    others, place = done.stdout.splitlines()
    assert others == "[]"
    assert place.startswith(str(tmp_path))
