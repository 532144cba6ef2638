"""The road with no key on Render: CI runs the migrator and then deploys the app, whose pre-deploy only waits."""

import signal

import pytest
import yaml

from tests.render import commits
from tests.render.api import Fault
from tests.render.conftest import world_of
from tests.render.platform import ROOT, Program, commit_id, until


@pytest.fixture
def keyless(server, migrated_for_an_app, images, tmp_path):
    """The stand-in from the Blueprint for CI: no service has a key, and nothing deploys on a push."""
    template, role = migrated_for_an_app
    blueprint = ROOT / "docs" / "render-ci.yaml"
    with server.database(template) as url, world_of(url, tmp_path, role, images=images, blueprint=blueprint) as made:
        del made.app.env["RENDER_API_KEY"]
        made.app.env["PREDEPLOY_DEADLINE"] = "3s"
        yield made


class Pipeline:
    """The steps of the workflow in docs/, run as it writes them."""

    def __init__(self, world, name):
        self.world, self.commit = world, commit_id(name)
        self.image = world.platform.images[self.commit]
        workflow = yaml.safe_load((ROOT / "docs" / "github-actions-deploy.yml").read_text())
        self.steps = {step.get("name", ""): step for step in workflow["jobs"]["deploy"]["steps"]}

    def _started(self, step, image, env):
        run = self.steps[step]["run"].replace("${{ github.sha }}", self.commit)
        run = run.replace("${{ github.run_id }}-${{ github.run_attempt }}", "7-1")
        words = run.split()
        command = words[words.index(image, words.index("--rm")) + 1 :]
        for passed in self.steps[step]["env"]:
            assert f"--env {passed}" in run
        program = Program(command, self.image, {"IMAGE_COMMIT": self.commit, **env})
        self.world.platform.programs.append(program)
        return program

    def _run(self, step, image, env):
        program = self._started(step, image, env)
        code = program.wait()
        self.world.platform.said.append(program.text)
        return code, program.text

    def migrate(self):
        return self._run("Migrate", "migrator", self.world.migrator.env)

    def ship(self):
        return self._run(*self._of_ship())

    def shipping(self):
        return self._started(*self._of_ship())

    def _of_ship(self):
        platform = self.world.platform
        known = {"RENDER_API_KEY": platform.key, "APP_SERVICE_ID": self.world.app.id, "RENDER_API_URL": platform.url}
        times = {"PREDEPLOY_POLL": "0.1s", "PREDEPLOY_PATIENCE": "20s", "PREDEPLOY_DEADLINE": "60s"}
        step = "Deploy the app, and follow it until it serves"
        return step, "app", {**known, **times}


def test_ci_migrates_and_then_deploys_the_app_by_its_commit(keyless):
    pipeline = Pipeline(keyless, "two")
    code, text = pipeline.migrate()
    assert (code, "applied    add_nickname" in text) == (0, True), text
    code, text = pipeline.ship()
    assert code == 0, text
    assert f"of commit {commit_id('two')[:12]} is live (exit 0)" in text
    assert keyless.app.live.commit == commit_id("two")
    assert keyless.rows("SELECT run_id FROM migrator.run ORDER BY id DESC LIMIT 1") == [("ci-7-1",)]


def test_a_deploy_past_ci_is_held_back_by_the_gate(keyless):
    keyless.platform.deploy(keyless.app, commit_id("two"))
    deploy = keyless.platform.settled(keyless.app, "two")
    assert deploy.status == "pre_deploy_failed"
    assert "waiting for somebody to run the migrator of this release (--wait-only)" in deploy.log[-1]
    assert deploy.log[-1].endswith("(exit 3)")
    assert keyless.api.asked == []


def test_a_gate_that_only_waits_opens_when_ci_has_migrated(keyless):
    keyless.app.env["PREDEPLOY_DEADLINE"] = "60s"
    keyless.platform.deploy(keyless.app, commit_id("two"))
    until(lambda: "has not been migrated" in keyless.platform.text, "the wait")
    assert Pipeline(keyless, "two").migrate()[0] == 0
    assert keyless.platform.settled(keyless.app, "two").status == "live"


def test_a_migration_that_fails_ends_the_pipeline_before_the_deploy(keyless):
    keyless.platform.commit("bad", commits.FAILS, commits.with_nickname)
    code, text = Pipeline(keyless, "bad").migrate()
    assert code == 4
    assert "no_such_type" in text
    assert keyless.app.deploys == []


def test_an_image_of_another_commit_is_refused(keyless):
    pipeline = Pipeline(keyless, "two")
    pipeline.commit = commit_id("one")
    code, text = pipeline._run("Migrate", "migrator", {**keyless.migrator.env, "IMAGE_COMMIT": commit_id("two")})
    assert code == 1
    assert "built from commit" in text


def test_a_deploy_that_fails_fails_the_pipeline(keyless):
    code, text = Pipeline(keyless, "two").ship()  # nobody migrated
    assert code == 1
    assert "ended as pre_deploy_failed; see its log; the release that served keeps serving (exit 1)" in text


def test_a_deploy_that_stands_in_the_queue_answers_with_nothing_and_is_followed_all_the_same(keyless):
    assert Pipeline(keyless, "two").migrate()[0] == 0
    keyless.platform.deploy(keyless.app, commit_id("one"))  # under way: the API answers 202 with no body
    code, text = Pipeline(keyless, "two").ship()
    assert code == 0, text
    assert keyless.app.live.commit == commit_id("two")


def test_a_deploy_whose_answer_was_lost_is_asked_for_once(keyless):
    assert Pipeline(keyless, "two").migrate()[0] == 0
    keyless.api.faults.append(Fault("POST .*/deploys", 1, 502, carried_out=True))
    code, text = Pipeline(keyless, "two").ship()
    assert code == 0, text
    assert len(keyless.app.deploys) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_pipeline_that_is_stopped_says_that_the_deploy_goes_on(keyless, number, code):
    keyless.app.env["PREDEPLOY_DEADLINE"] = "60s"  # its pre-deploy waits: nobody migrated
    program = Pipeline(keyless, "two").shipping()
    until(lambda: "pre_deploy_in_progress" in program.text, "the deploy to be followed")
    program.terminate(number)
    assert program.wait() == code
    assert program.lines[-1] == f"ship       stopped; a deploy that was asked for goes on alone (exit {code})"


def test_a_revoked_key_is_said(keyless):
    keyless.platform.keys.clear()
    code, text = Pipeline(keyless, "two").ship()
    assert code == 2
    assert "does not accept the key (401)" in text


def test_the_workflow_builds_the_commit_it_ships_and_lets_no_newer_push_cut_it_off():
    workflow = yaml.safe_load((ROOT / "docs" / "github-actions-deploy.yml").read_text())
    assert workflow["concurrency"]["cancel-in-progress"] is False
    steps = workflow["jobs"]["deploy"]["steps"]
    assert steps[1]["run"].count("--build-arg RENDER_GIT_COMMIT=${{ github.sha }}") == 2
    assert [step.get("name", "checkout").split()[0] for step in steps] == ["checkout", "Build", "Migrate", "Deploy"]
