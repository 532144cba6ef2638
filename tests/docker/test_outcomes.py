"""The compose order's outcomes, row by row as docs/deploy-render.md has them; success and failure: test_compose.

What serves keeps serving through each of them: a row that fails is tried on a stack that is up.
"""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.docker.conftest import stack_of
from tests.render.platform import commit_id

FAILS_TO_BUILD = "ARG PYTHON_IMAGE\nFROM ${PYTHON_IMAGE}\nRUN false\n"


@pytest.fixture(scope="module")
def serving(engine, built, tmp_path_factory):
    """A stack of commit "one" that is up; no test changes it."""
    with stack_of(engine, built("one"), tmp_path_factory.mktemp("stack")) as stack:
        stack.up()
        stack.until_healthy("app")
        yield stack


@pytest.fixture
def still_serves(serving):
    """Whatever the test does, the app that serves is left alone."""
    before, env = serving.container("app"), dict(serving.env)
    yield
    serving.env.update(env)
    after = serving.container("app")
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    assert httpx.get(f"{serving.url}/readyz", timeout=60).status_code == 200


def commit(stack):
    """Return the commit that serves."""
    stack.until_healthy("app")
    assert httpx.get(f"{stack.url}/readyz", timeout=60).status_code == 200
    return httpx.get(f"{stack.url}/version", timeout=60).json()["commit"]


def override(**migrator):
    return {"services": {"migrator": migrator}}


@pytest.mark.usefixtures("still_serves")
def test_a_migrator_that_does_not_build_ends_the_up_before_anything_starts(serving, tmp_path):
    (tmp_path / "Dockerfile").write_text(FAILS_TO_BUILD)
    names = {"APP_IMAGE": "lockstep-test/unused-app", "MIGRATOR_IMAGE": "lockstep-test/unused-migrator"}
    serving.env.update(names)
    ran = serving.container("migrator")["Id"]
    try:
        done = serving.compose(
            "up", "--detach", "--build", override=override(build={"dockerfile": f"{tmp_path}/Dockerfile"}), check=False
        )
    finally:
        serving.engine.docker("image", "rm", "--force", *names.values(), check=False)
    assert done.returncode != 0
    assert "RUN false" in done.stdout + done.stderr
    assert serving.container("migrator")["Id"] == ran


@pytest.mark.usefixtures("still_serves")
def test_a_migrator_that_is_not_there_ends_the_up(serving):
    serving.env["MIGRATOR_IMAGE"] = "lockstep-test/nowhere:none"
    done = serving.compose("up", "--detach", "--no-build", check=False)
    assert done.returncode != 0
    assert "migrator" in done.stderr


@pytest.mark.usefixtures("still_serves")
def test_a_database_that_does_not_answer_is_waited_for_and_then_said(serving):
    url = f"postgresql://migrator:{serving.env['POSTGRES_PASSWORD']}@postgres:9/lockstep"
    down = override(environment={"MIGRATOR_DATABASE_URL": url, "MIGRATOR_WAIT": "1s"})
    assert serving.up(down, check=False).returncode != 0
    assert serving.container("migrator")["State"]["ExitCode"] == 5
    assert "waiting" in serving.logs("migrator")


def test_a_database_that_never_gets_healthy_starts_neither_the_migrator_nor_the_app(stack):
    healthcheck = {"interval": "1s", "retries": 1, "start_period": "0s"}
    down = {"services": {"postgres": {"entrypoint": ["sleep", "infinity"], "healthcheck": healthcheck}}}
    assert stack.up(down, check=False).returncode != 0
    for service in ("migrator", "app"):
        container = stack.container(service)
        assert container is None or container["State"]["Status"] == "created"


def test_two_at_once_then_a_rollback_then_a_drop_that_waits_for_the_old_release(engine, built, tmp_path):
    with stack_of(engine, built("one"), tmp_path) as stack:
        stack.up()
        assert commit(stack) == commit_id("one")

        stack.use(built("two"))
        with ThreadPoolExecutor(2) as pool:
            words = ("run", "--rm", "-T", "--no-deps", "migrator")
            runs = [pool.submit(stack.compose, *words) for _ in range(2)]
        said = [run.result().stdout for run in runs]
        assert sum("applied    add_nickname" in text for text in said) == 1
        assert sum("nothing to do" in text for text in said) == 1
        stack.up()
        assert commit(stack) == commit_id("two")

        stack.use(built("one"))
        stack.up()
        assert commit(stack) == commit_id("one")
        assert "the database is ahead of this image and serves this release" in stack.logs("migrator")


def test_a_drop_is_deferred_while_the_old_release_serves_and_a_later_run_applies_it(engine, built, tmp_path):
    with stack_of(engine, built("one"), tmp_path) as stack:
        stack.up()
        assert commit(stack) == commit_id("one")
        stack.use(built("less"))
        stack.up()
        assert "deferred   drop_phone_number" in stack.logs("migrator")
        assert commit(stack) == commit_id("less")  # compose has stopped the old one, which took its report back
        later = stack.compose("run", "--rm", "-T", "--no-deps", "migrator", "migrator", "upgrade", "--deferred-only")
        assert "applied    drop_phone_number" in later.stdout
        assert httpx.get(f"{stack.url}/users", timeout=60).status_code == 200
