"""The order on Render once more, in the built images: the app's pre-deploy, the migrator's job, the app itself."""

import secrets

import httpx
import pytest

from tests.render.conftest import world_of
from tests.render.platform import ROOT, Platform, Program, commit_id

LOCKED_DOWN = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


@pytest.fixture
def world(engine, built, database, server, tmp_path):
    """The stand-in on an empty database; what it starts are containers of a commit's images."""

    class Built(Platform):
        """Starts containers. They share the host's network: the stand-in's API and the database are there."""

        def __init__(self, *given):
            super().__init__(*given)
            self.names = []

        def _start_process(self, words, service, commit, variables, line):
            name = f"locksteptest-{secrets.token_hex(4)}"
            self.names.append(name)
            image = self.images[commit].of("migrator" if service.type == "cron" else "app")
            # By name alone, so that no value stands in a command line; the commit is baked in.
            given = [f"--env={variable}" for variable in variables if variable != "IMAGE_COMMIT"]
            command = ["docker", "run", "--rm", "--network=host", f"--name={name}", *LOCKED_DOWN, *given, image, *words]
            return Program(command, ROOT, {"PATH": engine.env["PATH"], **variables}, line)

        def close(self):
            super().close()
            if self.names:
                engine.docker("rm", "--force", *self.names, check=False)

    images = {commit_id(name): built(name) for name in ("one", "two", "bad", "beside")}
    role = f"app_{secrets.token_hex(4)}"
    with world_of(database, tmp_path, role, images=images, make=Built) as made:
        yield made
        made.rows(f"DROP OWNED BY {role}")
    server.execute("DROP ROLE IF EXISTS {}", role)


def push(world, name):
    world.platform.push(name)
    return world.platform.settled(world.app, name)


def test_images_of_one_commit_go_the_way_of_a_deploy_and_of_a_rollback(world):
    assert push(world, "one").status == "live", world.platform.text
    (job,) = world.platform.jobs
    assert job.status == "succeeded"
    assert world.rows("SELECT DISTINCT commit FROM migrator.run") == [(commit_id("one"),)]

    failed = push(world, "bad")
    assert failed.status == "pre_deploy_failed"
    assert failed.log[-1].endswith("(exit 4)")

    # The models of "one", and a revision besides: the image knows its id, and holds no file of it.
    deploy = push(world, "beside")
    assert deploy.status == "live", world.platform.text
    assert "revision 0000000000c1 of its commit has not been applied" in deploy.text
    assert "applied    describe_users" in deploy.text

    world.api.asked.clear()
    for name in ("beside", "one"):
        world.platform.deploy(world.app, commit_id(name))
        assert world.platform.settled(world.app, name).status == "live"
    assert world.api.asked == []
    with httpx.Client(trust_env=False, timeout=60) as client:
        assert client.get(world.app.url + "/version").json()["commit"] == commit_id("one")
        assert client.get(world.app.url + "/readyz").status_code == 200
