"""A commit with a new revision and the models of before: the gate is open over it, and it is still applied."""

import pytest

from lockstep import settings
from lockstep.project import environment
from lockstep_gate.predeploy import revisions
from tests.render import commits
from tests.render.platform import ROOT, commit_id

NOT_APPLIED = (
    "gate       the schema serves this release, and revision 0000000000c1 of its commit has not been applied; "
    "run `migrator upgrade` of this commit, then ask again"
)


def push(world, name):
    world.platform.push(name)
    return world.platform.settled(world.app, name)


def again(world, name, trigger="manual"):
    """Deploy a commit's app once more; return the deploy, and what it asked of the API."""
    world.api.asked.clear()
    before = world.app.of(name)
    deploy = world.platform.deploy(world.app, commit_id(name), trigger)
    assert deploy is not before
    return world.platform.settled(world.app, name), list(world.api.asked)


def test_the_job_runs_and_then_a_redeploy_and_rollbacks_ask_no_api(serving):
    serving.platform.commit("beside", commits.BESIDE)
    deploy = push(serving, "beside")
    assert deploy.status == "live", deploy.text
    assert NOT_APPLIED in deploy.log
    (job,) = serving.platform.jobs
    assert "applied    describe_users" in job.text
    for name, trigger in (("beside", "manual"), ("one", "rollback"), ("beside", "rollback")):
        deploy, asked = again(serving, name, trigger)
        assert (deploy.status, asked) == ("live", []), deploy.text
    assert len(serving.platform.jobs) == 1


def test_a_revision_that_fails_keeps_its_commit_out_although_the_schema_serves_it(serving):
    serving.platform.commit("beside", commits.BESIDE_FAILS)
    deploy = push(serving, "beside")
    assert deploy.status == "pre_deploy_failed"
    assert "division by zero" in deploy.log[-1]
    assert deploy.log[-1].endswith("(exit 4)")
    assert serving.app.live.commit == commit_id("one")


def test_without_a_key_the_commit_is_closed_and_says_what_is_missing(serving):
    serving.platform.commit("beside", commits.BESIDE)
    serving.platform.keys.clear()
    deploy = push(serving, "beside")
    assert deploy.status == "pre_deploy_failed"
    assert "does not accept the key (401)" in deploy.log[-1]
    # What serves is none the worse: neither its readiness nor the plain gate asks about revisions.
    deploy, asked = again(serving, "one")
    assert (deploy.status, asked) == ("live", []), deploy.text


def test_a_newer_commits_run_that_took_the_revision_along_is_as_good(serving):
    serving.platform.commit("beside", commits.BESIDE)
    serving.platform.commit("newer", commits.AFTER_BESIDE)
    assert push(serving, "newer").status == "live"
    deploy, asked = again(serving, "beside")
    assert (deploy.status, asked) == ("live", []), deploy.text


def test_a_revision_that_is_held_back_has_been_taken_up(serving):
    serving.platform.commit("less", commits.DROP, commits.without_phone_number)
    deploy = push(serving, "less")
    assert "deferred   drop_phone_number" in deploy.text, deploy.text
    deploy, asked = again(serving, "less")
    assert (deploy.status, asked) == ("live", []), deploy.text


def test_a_revision_that_was_taken_back_is_applied_again(serving):
    serving.platform.commit("beside", commits.BESIDE)
    push(serving, "beside")
    down = serving.platform.start_job(serving.migrator, "migrator downgrade -1 --yes")
    serving.platform.done(down)
    assert down.status == "succeeded", down.text
    deploy, _ = again(serving, "beside")
    assert deploy.status == "live"
    assert "applied    describe_users" in serving.platform.jobs[0].text
    deploy, asked = again(serving, "one", "rollback")
    assert (deploy.status, asked) == ("live", []), deploy.text


def test_the_heads_are_those_that_alembic_finds():
    project = environment.load(settings.load({}))
    assert revisions.heads(ROOT / "migrator" / "versions") == tuple(project.script.get_heads())


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, ()),
        ({"a": ("a", None), "b": ("b", "a")}, ("b",)),
        ({"a": ("a", None), "b": ("b", "a"), "c": ("c", "a")}, ("b", "c")),
        ({"a": ("a", None), "b": ("b", "a"), "c": ("c", "a"), "d": ("d", ("b", "c"))}, ("d",)),
    ],
    ids=["none", "a line", "a fork", "a merge"],
)
def test_the_heads_of_a_directory(tmp_path, files, found):
    for name, (revision, down) in files.items():
        text = f"revision: str = {revision!r}\ndown_revision: str | None = {down!r}\n"
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "__init__.py").write_text("not even Python")
    assert revisions.heads(tmp_path) == found


@pytest.mark.parametrize(
    "text", ["revision = (", "revision = name()", "down_revision = None", "for revision in (): ..."]
)
def test_a_file_that_does_not_say_what_it_is_ends_the_build_with_its_name(tmp_path, capsys, text):
    (tmp_path / "odd.py").write_text(text)
    assert revisions.main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "in odd.py; write it as a string" in said
    assert len(said.splitlines()) == 1


def test_what_the_build_writes_is_what_the_image_reads(tmp_path, capsys):
    versions = ROOT / "migrator" / "versions"
    assert revisions.main([str(versions)]) == 0
    written = tmp_path / "revisions.txt"
    written.write_text(capsys.readouterr().out)
    assert revisions.at(written) == revisions.heads(versions) == revisions.at(versions)
    written.unlink()
    assert revisions.at(written) is None
