"""The two built images: what is in them, as whom they run, and what they refuse."""

import json
import time

import pytest

from lockstep import errors

BOTH = pytest.mark.parametrize("name", ["app", "migrator"])
OTHER_COMMIT = "fedcba9876543210fedcba9876543210fedcba98"
LOCKED_DOWN = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none")

LOOK_AROUND = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
writable = [folder for top in ("/srv", "/opt/venv") for folder, _, _ in os.walk(top) if os.access(folder, os.W_OK)]
print(json.dumps({
    "uid": os.getuid(), "groups": [os.getgid(), *os.getgroups()], "capabilities": int(status["CapEff"], 16),
    "writable": writable, "holds": sorted(os.listdir("/srv")), "commit": os.environ["IMAGE_COMMIT"],
}))
"""


def run_in(engine, image, *command):
    """Run a command in a fresh container that has no network, no capability and nothing to write to."""
    return engine.docker("run", "--rm", *LOCKED_DOWN, image, *command, check=False)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("app", "app"),
        ("app", "app.__main__"),
        ("app", "app.gate"),
        ("app", "lockstep_gate.predeploy.render_api"),
        ("migrator", "lockstep_gate.contract.derivation"),
        ("migrator", "lockstep.cli"),
        ("migrator", "alembic"),
    ],
)
def test_an_image_holds_what_it_runs(engine, images, name, module):
    done = run_in(engine, images.of(name), "python", "-c", f"import {module}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("app", "migrator"),
        ("app", "lockstep"),
        ("app", "alembic"),
        ("app", "hatchling"),
        ("app", "pip"),
        ("migrator", "app"),
        ("migrator", "hatchling"),
        ("migrator", "uvicorn"),
    ],
)
def test_an_image_holds_nothing_it_does_not_run(engine, images, name, module):
    done = run_in(engine, images.of(name), "python", "-c", f"import {module}")
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


@BOTH
def test_it_runs_without_rights_on_a_read_only_system(engine, images, name):
    done = run_in(engine, images.of(name), "python", "-W", "error::SyntaxWarning", "-c", LOOK_AROUND)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["uid"] == 10001
    assert 1000 in seen["groups"], "Render's secret files are readable to group 1000 only"
    assert seen["capabilities"] == 0
    assert seen["writable"] == []
    assert seen["holds"] == [name]


@pytest.mark.parametrize(("name", "command"), [("app", ["python", "-m", "app"]), ("migrator", ["migrator", "upgrade"])])
def test_it_has_a_command_and_no_entrypoint(engine, images, name, command):
    config = engine.inspect(images.of(name))["Config"]
    assert config["Entrypoint"] is None
    assert config["Cmd"] == command
    user, _, _ = config["User"].partition(":")
    assert user.isdigit(), "a numeric user, so that a platform can tell that it is not root"


@BOTH
def test_the_commit_is_baked_in_and_costs_no_layer(engine, images, name):
    first = engine.inspect(images.of(name))
    tag = engine.build(name, f"{images.of(name)}-other", OTHER_COMMIT)
    try:
        second = engine.inspect(tag)
    finally:
        engine.docker("image", "rm", "--force", tag)
    for image, commit in ((first, "0123456789abcdef0123456789abcdef01234567"), (second, OTHER_COMMIT)):
        assert f"IMAGE_COMMIT={commit}" in image["Config"]["Env"]
        assert image["Config"]["Labels"]["org.opencontainers.image.revision"] == commit
    assert first["RootFS"]["Layers"] == second["RootFS"]["Layers"]


@BOTH
def test_no_test_and_no_stale_bytecode_is_shipped(engine, images, name):
    code = "import pathlib; print(*(p.relative_to('/srv') for p in pathlib.Path('/srv').rglob('*')), sep='\\n')"
    files = run_in(engine, images.of(name), "python", "-c", code).stdout.split()
    assert f"{name}/__main__.py" in files
    assert [file for file in files if "test" in file or "/." in file] == []
    sources = {file for file in files if file.endswith(".py")}
    compiled = {file.replace("__pycache__/", "").replace(".cpython-", "!") for file in files if file.endswith(".pyc")}
    assert {file.split("!")[0] + ".py" for file in compiled} == sources


def test_the_migrator_needs_a_database_url_and_says_so(engine, images):
    done = run_in(engine, images.migrator)
    assert done.returncode == errors.Usage.code
    assert "MIGRATOR_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_migrator_says_that_a_database_cannot_be_reached_and_keeps_the_password(engine, images):
    url = "postgresql://migrator:hush-hush@127.0.0.1:9/lockstep"
    done = run_in(engine, images.migrator, "env", f"MIGRATOR_DATABASE_URL={url}", "migrator", "upgrade", "--wait", "1s")
    assert done.returncode == errors.Unreachable.code
    assert "hush-hush" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_stock_alembic_reads_the_history_in_the_image(engine, images):
    args = ("--rm", *LOCKED_DOWN, "--workdir=/srv/migrator", images.migrator, "alembic", "heads")
    done = engine.docker("run", *args)
    assert done.stdout.strip().endswith("(head)")


def test_a_stop_reaches_the_migrator_and_ends_it_at_once(engine, images):
    url = "postgresql://migrator@127.0.0.1:9/lockstep"
    options = ("--detach", *LOCKED_DOWN, "--env", f"MIGRATOR_DATABASE_URL={url}")
    container = engine.docker("run", *options, images.migrator).stdout.strip()
    try:
        while "waiting" not in engine.docker("logs", container).stdout:
            assert engine.inspect(container)["State"]["Running"]
            time.sleep(0.1)
        engine.docker("stop", "--time=30", container)
        assert engine.inspect(container)["State"]["ExitCode"] == 143
    finally:
        engine.docker("rm", "--force", container)
