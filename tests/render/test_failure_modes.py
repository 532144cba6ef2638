"""What may go wrong in a deploy, and what has to come of it; the numbers are those of docs/deploy-render.md."""

import signal
import threading

import httpx
import pytest
from sqlalchemy import make_url

from tests.render import commits
from tests.render.api import Fault
from tests.render.platform import commit_id, until

OPEN = "predeploy  yes: the schema serves this release (exit 0)"


def push(world, name):
    """Push a commit and return the app's deploy once it is over."""
    world.platform.push(name)
    return world.platform.settled(world.app, name)


def still_serves(world, name):
    with httpx.Client(trust_env=False, timeout=60) as client:
        assert client.get(world.app.url + "/readyz").status_code == 200
        assert client.get(world.app.url + "/version").json()["commit"] == commit_id(name)
    assert world.app.live.commit == commit_id(name)


def head(world):
    return world.rows("SELECT version_num FROM migrator.alembic_version")[0][0]


def runs(world):
    """The runs since the one that set the database up: outcome and error."""
    return world.rows("SELECT outcome, error FROM migrator.run WHERE run_id IS NOT NULL ORDER BY id")


# 1: the migration fails


def test_1_a_migration_that_fails_keeps_the_old_release_and_the_old_schema(serving):
    serving.platform.commit("bad", commits.FAILS, commits.with_nickname)
    deploy = push(serving, "bad")
    assert deploy.status == "pre_deploy_failed"
    assert 'add_nickname: type "no_such_type" does not exist' in deploy.text
    assert deploy.log[-1].endswith("the migrator's log says why (exit 4)")
    assert runs(serving) == [("failed", "StepFailed")]
    assert head(serving) == commits.HEAD
    still_serves(serving, "one")


def test_1_the_ledger_says_why_where_the_api_has_no_log(migrated):
    migrated.platform.has_logs = False
    migrated.platform.commit("bad", commits.FAILS, commits.with_nickname)
    deploy = push(migrated, "bad")
    assert deploy.status == "pre_deploy_failed"
    assert 'failed: add_nickname: type "no_such_type" does not exist' in deploy.log[-1]


# 2: the migrator's build fails, or never appears


def test_2_a_build_of_the_migrator_that_fails_is_said(serving):
    serving.migrator.outcomes[commit_id("two")] = "build_failed"
    deploy = push(serving, "two")
    assert deploy.status == "pre_deploy_failed"
    assert "of this commit ended as build_failed: nothing was migrated; see its log (https://" in deploy.log[-1]
    assert deploy.log[-1].endswith("(exit 1)")
    assert serving.platform.jobs == []
    still_serves(serving, "one")


def test_2_a_migrator_that_never_deploys_the_commit_is_said_after_the_grace_time(serving):
    serving.migrator.outcomes[commit_id("two")] = "skipped"
    serving.app.env["PREDEPLOY_GRACE"] = "500ms"
    deploy = push(serving, "two")
    assert deploy.status == "pre_deploy_failed"
    assert (
        f"the migrator has no deploy of this commit {commit_id('two')[:12]} after 0.5 s (PREDEPLOY_GRACE)"
        in deploy.log[-1]
    )
    assert f"its newest is of {commit_id('one')[:12]}, live" in deploy.log[-1]
    assert "deploy the newest commit on both services (exit 1)" in deploy.log[-1]
    still_serves(serving, "one")


def test_2_a_run_by_somebody_else_opens_the_gate_meanwhile(migrated, migrator):
    migrated.migrator.outcomes[commit_id("two")] = "skipped"
    migrated.platform.push("two")
    until(lambda: "to appear" in migrated.platform.text, "the wait")
    image = migrated.platform.images[commit_id("two")]
    done = migrator("upgrade", env={**migrated.migrator.env, "PYTHONPATH": str(image)}, cwd=image)
    assert done.code == 0, done.err
    deploy = migrated.platform.settled(migrated.app, "two")
    assert deploy.status == "live", deploy.text
    assert migrated.platform.jobs == []


def test_2_a_slow_build_of_the_migrator_is_waited_for(migrated):
    migrated.migrator.outcomes[commit_id("two")] = built = threading.Event()
    migrated.app.env["PREDEPLOY_GRACE"] = "0.2s"  # not counted while a build is under way
    migrated.platform.push("two")
    until(lambda: "of this commit: build_in_progress" in migrated.platform.text, "the wait")
    threading.Event().wait(0.6)
    built.set()
    assert migrated.platform.settled(migrated.app, "two").status == "live"


# 3: two pushes at once


def test_3_under_wait_the_skipped_commit_is_closed_and_the_newest_goes_through(serving):
    """The migrator skips from "one" to "three", the app is still at "two"."""
    serving.platform.commit("three", commits.AFTER_NICKNAME, commits.with_motto)
    serving.migrator.outcomes[commit_id("two")] = "skipped"
    serving.app.env["PREDEPLOY_GRACE"] = "2s"
    serving.platform.push("two")
    until(lambda: serving.app.of("two") and serving.app.of("two").predeploy, "the pre-deploy of two")
    serving.platform.push("three")
    last = serving.platform.settled(serving.app, "three")
    assert serving.app.of("two").status == "pre_deploy_failed"
    assert last.status == "live", last.text
    still_serves(serving, "three")


def test_3_under_override_the_killed_gate_says_that_its_job_goes_on_and_the_next_passes(serving):
    serving.platform.commit("three", commits.AFTER_NICKNAME, commits.with_motto)
    serving.app.policy = serving.migrator.policy = "override"
    serving.platform.job_starts.clear()
    serving.platform.push("two")
    until(lambda: serving.platform.jobs, lambda: serving.platform.text)
    first = serving.app.of("two")
    until(lambda: "pending" in first.text, lambda: first.text)
    serving.platform.push("three")
    assert first.predeploy.wait() == 143
    job = serving.platform.jobs[-1]
    words = f"predeploy  terminated: job {job.id} goes on alone; what it does is in the ledger for the next deploy"
    assert f"{words}; safe to run again (exit 143)" in first.predeploy.lines
    serving.platform.job_starts.set()
    assert serving.platform.settled(serving.app, "three").status == "live"
    serving.platform.done(job)
    assert first.status == "canceled"
    assert head(serving) == "0000000000a2"


# 4: the job runs a newer image than was asked for


def test_4_a_job_that_runs_another_commit_refuses_and_the_deploy_is_closed(serving):
    serving.platform.commit("three", commits.AFTER_NICKNAME, commits.with_motto)
    serving.platform.push("two", "migrator")
    serving.platform.settled(serving.migrator, "two")
    serving.platform.push("three", "migrator")
    serving.platform.settled(serving.migrator, "three")
    serving.platform.push("two", "app")
    deploy = serving.platform.settled(serving.app, "two")
    assert deploy.status == "pre_deploy_failed"
    (job,) = serving.platform.jobs
    assert f"built from commit {commit_id('three')}, and the run is for {commit_id('two')}" in job.text
    assert head(serving) == commits.HEAD
    still_serves(serving, "one")


# 5: two jobs at once


def test_5_of_two_jobs_at_once_one_works_and_the_other_finds_nothing_to_do(migrated):
    migrated.platform.push("two", "migrator")
    migrated.platform.settled(migrated.migrator, "two")
    jobs = [migrated.platform.start_job(migrated.migrator, "migrator upgrade") for _ in range(2)]
    for job in jobs:
        migrated.platform.done(job)
    assert [job.status for job in jobs] == ["succeeded"] * 2
    assert sum("applied    add_nickname" in job.text for job in jobs) == 1
    assert sum("nothing to do" in job.text for job in jobs) == 1


# 6: the wrong database


def test_6_a_job_that_succeeds_on_another_database_opens_nothing(serving, server):
    with server.database() as other:
        serving.migrator.env["MIGRATOR_DATABASE_URL"] = other
        deploy = push(serving, "two")
        assert deploy.status == "pre_deploy_failed"
        assert serving.platform.jobs[0].status == "succeeded"
        assert "succeeded, and this database does not show it" in deploy.log[-1]
        assert (
            "MIGRATOR_DATABASE_URL of the migrator and DATABASE_URL of the app name the same database" in deploy.log[-1]
        )
        still_serves(serving, "one")
        serving.platform.close()


# 7: the API refuses, limits, fails, is gone


def test_7_a_revoked_key_names_its_variable(serving):
    serving.platform.keys.clear()
    deploy = push(serving, "two")
    assert deploy.status == "pre_deploy_failed"
    assert "does not accept the key (401); put a key that is not revoked" in deploy.log[-1]
    assert "into RENDER_API_KEY of the app's service (exit 2)" in deploy.log[-1]
    still_serves(serving, "one")


def test_7_a_key_without_the_right_names_its_variable(migrated):
    migrated.api.forbidden = True
    deploy = push(migrated, "two")
    assert deploy.status == "pre_deploy_failed"
    assert "(403)" in deploy.log[-1]
    assert "RENDER_API_KEY" in deploy.log[-1]


def test_7_a_rate_limit_is_waited_out_as_told(migrated):
    migrated.api.faults += [
        Fault("GET /services/", 1, 429, {"Retry-After": "1"}),
        Fault("POST .*/jobs", 1, 429, {"RateLimit-Reset": "1"}),
    ]
    deploy = push(migrated, "two")
    assert deploy.status == "live", deploy.text
    assert deploy.text.count("waiting    Render's API takes no more requests for 1 s (429)") == 2
    assert len(migrated.platform.jobs) == 1


def test_7_a_rate_limit_longer_than_the_deploy_has_left_ends_it(migrated):
    migrated.api.faults.append(Fault("GET", 99, 429, {"Retry-After": "3600"}))
    deploy = push(migrated, "two")
    assert deploy.status == "pre_deploy_failed"
    assert "for 3600 s (429), longer than this deploy has left; deploy again then (exit 3)" in deploy.log[-1]


def test_7_an_api_out_of_order_for_a_moment_is_asked_again(migrated):
    migrated.api.faults += [
        Fault("GET", 2, 500),
        Fault("GET", 1, 503, body="<html>not JSON</html>"),
        Fault("GET", 2, 200, body="<html>not JSON</html>"),
        Fault("POST .*/jobs", 1, 503),
    ]
    deploy = push(migrated, "two")
    assert deploy.status == "live", deploy.text
    assert [fault.times for fault in migrated.api.faults] == [0] * 4
    assert len(migrated.platform.jobs) == 1


def test_7_a_job_whose_answer_was_lost_is_found_by_its_name_and_not_started_twice(migrated):
    migrated.api.faults.append(Fault("POST .*/jobs", 1, 504, carried_out=True))
    deploy = push(migrated, "two")
    assert deploy.status == "live", deploy.text
    assert "looking whether it was started" in deploy.text
    assert len(migrated.platform.jobs) == 1
    assert len([line for line in migrated.api.asked if line.startswith("POST")]) == 1


def test_7_an_api_that_stays_away_ends_the_deploy_within_patience(serving):
    serving.api.faults.append(Fault("GET", 999, 500))
    serving.app.env["PREDEPLOY_PATIENCE"] = "500ms"
    deploy = push(serving, "two")
    assert deploy.status == "pre_deploy_failed"
    assert "Render's API answers 500, for 0.5 s (PREDEPLOY_PATIENCE)" in deploy.log[-1]
    assert deploy.log[-1].endswith("(exit 5)")
    still_serves(serving, "one")


def test_7_an_api_that_cannot_be_reached_ends_the_deploy_within_patience(migrated):
    migrated.app.env["RENDER_API_URL"] = "http://127.0.0.1:1/v1"
    migrated.app.env["PREDEPLOY_PATIENCE"] = "500ms"
    deploy = push(migrated, "two")
    assert deploy.status == "pre_deploy_failed"
    assert "Render's API does not answer (ConnectError)" in deploy.log[-1]


def test_7_a_key_revoked_before_the_job_has_run_closes_this_deploy_and_no_later_one(serving):
    serving.platform.job_starts.clear()
    serving.platform.push("two")
    until(lambda: "pending" in serving.platform.text, lambda: serving.platform.text)
    serving.platform.keys.clear()
    deploy = serving.platform.settled(serving.app, "two")
    assert deploy.status == "pre_deploy_failed"
    assert "does not accept the key (401)" in deploy.log[-1]
    assert deploy.log[-1].endswith("(exit 2)")
    still_serves(serving, "one")
    # The job goes on alone. What it did opens the gate, and then no key is needed.
    (job,) = serving.platform.jobs
    serving.platform.job_starts.set()
    serving.platform.done(job)
    assert job.status == "succeeded", job.text
    serving.api.asked.clear()
    serving.platform.deploy(serving.app, commit_id("two"))
    assert serving.platform.settled(serving.app, "two").status == "live"
    assert serving.api.asked == []
    still_serves(serving, "two")


def test_7_a_key_revoked_after_the_job_did_its_work_does_not_undo_it(serving):
    serving.platform.jobs_shown_as = "running"  # the API lags behind what it tells of
    serving.platform.push("two")
    until(lambda: serving.platform.jobs, lambda: serving.platform.text)
    serving.platform.done(serving.platform.jobs[0])
    before = serving.app.of("two")
    assert before.status == "pre_deploy_in_progress"
    serving.platform.keys.clear()
    deploy = serving.platform.settled(serving.app, "two")
    assert deploy.status == "live", deploy.text
    assert deploy.log.index("gate       is open all the same") < deploy.log.index(OPEN)
    still_serves(serving, "two")


def test_7_an_api_that_goes_away_before_the_job_has_run_closes_the_deploy_and_says_what_goes_on(serving):
    serving.platform.job_starts.clear()
    serving.app.env["PREDEPLOY_PATIENCE"] = "500ms"
    serving.platform.push("two")
    until(lambda: "pending" in serving.platform.text, lambda: serving.platform.text)
    serving.api.faults.append(Fault("GET", 999, 503))
    deploy = serving.platform.settled(serving.app, "two")
    assert deploy.status == "pre_deploy_failed"
    assert "Render's API answers 503, for 0.5 s (PREDEPLOY_PATIENCE)" in deploy.log[-1]
    assert deploy.log[-1].endswith("(exit 5)")
    assert len(serving.platform.jobs) == 1
    still_serves(serving, "one")


# 8: longer than there is time


def test_8_a_job_that_does_not_start_in_time_ends_the_deploy_at_its_own_deadline(serving):
    serving.app.env["PREDEPLOY_DEADLINE"] = "15s"
    serving.platform.job_starts.clear()
    deploy = push(serving, "two")
    assert deploy.status == "pre_deploy_failed"
    job = serving.platform.jobs[0]
    assert "not done within 15 s (PREDEPLOY_DEADLINE)" in deploy.log[-1]
    assert f"waiting for job {job.id} (pending), which goes on alone" in deploy.log[-1]
    assert deploy.log[-1].endswith("(exit 3)")
    still_serves(serving, "one")
    # It ends after the deploy did; the next deploy passes with no job of its own.
    serving.platform.job_starts.set()
    serving.platform.done(job)
    serving.platform.deploy(serving.app, commit_id("two"))
    assert serving.platform.settled(serving.app, "two").status == "live"
    assert len(serving.platform.jobs) == 1


# 9: a lock of the app's clients is in the way


def test_9_a_lock_in_the_way_ends_the_job_before_the_deploy_and_both_say_who_held_it(serving):
    import psycopg2  # noqa: PLC0415

    serving.app.env["PREDEPLOY_DEADLINE"] = "24s"
    blocker = psycopg2.connect(serving.owner_url, application_name="a report")
    try:
        with blocker.cursor() as cursor:
            cursor.execute("SELECT * FROM users")
        deploy = push(serving, "two")
    finally:
        blocker.close()
    assert deploy.status == "pre_deploy_failed"
    assert runs(serving) == [("busy", "Busy")]
    assert "a report" in deploy.text
    assert deploy.log[-1].endswith("(exit 3)")
    still_serves(serving, "one")


# 10 is in test_rollout: a rollback and a redeploy pass at once.


def test_10_a_rollback_to_a_release_that_the_schema_broke_is_closed_with_no_job(serving):
    serving.rows("UPDATE migrator.release SET broken_by = '0000000000b1', broken_at = now()")
    serving.platform.deploy(serving.app, commit_id("one"), "rollback")
    deploy = serving.platform.settled(serving.app, "one")
    assert deploy.status == "pre_deploy_failed"
    assert "revision 0000000000b1 changed the schema in a way that this release cannot live with" in deploy.log[-1]
    assert serving.platform.jobs == []


# 11: no pre-deploy (a free plan, a resume)


def test_11_with_no_predeploy_readiness_keeps_the_traffic_away(serving):
    del serving.app.written["preDeployCommand"]
    serving.platform.push("two", "app")
    closed = "gate: closed: the schema has not been migrated for this release"
    until(lambda: closed in serving.platform.text, lambda: serving.platform.text)
    until(lambda: serving.platform.unhealthy == 503, lambda: serving.platform.text)
    serving.platform.start_limit_s = 0
    deploy = serving.platform.settled(serving.app, "two")
    assert deploy.status == "update_failed"
    still_serves(serving, "one")


# 12: the app fails after its migration


def test_12_an_app_that_fails_after_its_migration_leaves_the_old_one_on_the_new_schema(serving):
    serving.platform.commit("sick", commits.NICKNAME, commits.with_nickname)
    (serving.platform.images[commit_id("sick")] / "app" / "probes.py").write_text("raise SystemExit('sick')\n")
    deploy = push(serving, "sick")
    assert deploy.status == "update_failed", deploy.text
    assert head(serving) == "0000000000a1"
    still_serves(serving, "one")
    with httpx.Client(trust_env=False, timeout=60) as client:
        answer = client.post(serving.app.url + "/users", json={"email": "a@example.org", "name": "A"})
        assert answer.status_code == 201, answer.text


# 13: the first Blueprint: both services build at once, and a job has nothing to start from yet


def test_13_the_first_deploy_waits_for_a_migrator_that_builds_longer_than_the_app(world):
    world.migrator.outcomes[commit_id("one")] = built = threading.Event()
    world.platform.push("one")
    until(lambda: "of this commit: build_in_progress" in world.platform.text, lambda: world.platform.text)
    built.set()
    deploy = world.platform.settled(world.app, "one")
    assert deploy.status == "live", deploy.text


def test_13_a_job_that_is_not_accepted_yet_is_asked_for_again_for_a_while(migrated):
    migrated.api.faults.append(Fault("POST .*/jobs", 3, 400))
    deploy = push(migrated, "two")
    assert deploy.status == "live", deploy.text
    assert len(migrated.platform.jobs) == 1


def test_13_a_job_that_is_never_accepted_ends_the_deploy_with_the_apis_words(migrated):
    migrated.api.faults.append(Fault("POST .*/jobs", 999, 400, body='{"id": "e", "message": "no build"}'))
    migrated.app.env["PREDEPLOY_GRACE"] = "500ms"
    deploy = push(migrated, "two")
    assert deploy.status == "pre_deploy_failed"
    assert deploy.log[-1].endswith("/jobs: no build (exit 1)")


# 14: a variable that nobody set


def test_14_a_missing_key_is_named_with_where_it_belongs(migrated):
    del migrated.app.env["RENDER_API_KEY"]
    deploy = push(migrated, "two")
    assert deploy.status == "pre_deploy_failed"
    assert (
        "RENDER_API_KEY is not set, and the schema has to be migrated first; set it on the app's service"
        in deploy.log[-1]
    )
    assert deploy.log[-1].endswith("(exit 2)")
    assert migrated.api.asked == []


def test_14_a_missing_database_url_is_named(migrated):
    del migrated.app.env["DATABASE_URL"]
    deploy = push(migrated, "two")
    assert deploy.status == "pre_deploy_failed"
    assert deploy.log == ["predeploy: DATABASE_URL is not set: give postgresql://user:password@host:port/database"]


# 15: previews of pull requests


def test_15_a_preview_does_not_migrate(migrated):
    migrated.app.env["IS_PULL_REQUEST"] = "true"
    deploy = push(migrated, "two")
    assert deploy.status == "pre_deploy_failed"
    assert "previews do not migrate" in deploy.log[-1]
    assert migrated.api.asked == []


# 16 is in test_blueprint: commands of plain words. Here: what arrives is what was written.


def test_16_the_jobs_command_is_plain_words(migrated):
    push(migrated, "two")
    (job,) = migrated.platform.jobs
    assert job.program.words == job.command.split()
    assert not set(job.command) & set("'\"`$&|;<>\\*?()")
    assert "-c" not in job.command.split()


# 17: the migrator is suspended, deleted, renamed, not alone


def test_17_a_suspended_migrator_is_said_to_be(migrated):
    migrated.migrator.suspended = True
    deploy = push(migrated, "two")
    assert deploy.status == "pre_deploy_failed"
    assert f"the migrator's service {migrated.migrator.id} is suspended; resume it" in deploy.log[-1]


def test_17_a_deleted_migrator_is_said_to_be_missing(migrated):
    migrated.app.env["MIGRATOR_SERVICE_ID"] = "crn-deleted"
    deploy = push(migrated, "two")
    assert deploy.status == "pre_deploy_failed"
    assert "there is no service crn-deleted" in deploy.log[-1]
    assert deploy.log[-1].endswith("(exit 2)")


def test_17_a_renamed_migrator_is_said_to_be_missing(migrated):
    migrated.migrator.name = "migrator-2"
    migrated.app.env["PREDEPLOY_GRACE"] = "500ms"
    deploy = push(migrated, "two")
    assert deploy.status == "pre_deploy_failed"
    assert "no cron job named migrator of this repository is in the workspace" in deploy.log[-1]


def test_17_of_two_migrators_none_is_guessed(migrated):
    from tests.render.platform import Service  # noqa: PLC0415

    other = migrated.platform.services["other"] = Service(migrated.migrator.written, 99)
    migrated.platform.push("two", "app")
    deploy = migrated.platform.settled(migrated.app, "two")
    assert deploy.status == "pre_deploy_failed"
    assert f"2 services are named migrator: {migrated.migrator.id}, {other.id}" in deploy.log[-1]


@pytest.mark.parametrize(("attribute", "value"), [("repo", "https://github.com/example/other"), ("branch", "next")])
def test_17_a_migrator_of_another_repository_or_branch_is_refused(migrated, attribute, value):
    migrated.app.env["MIGRATOR_SERVICE_ID"] = migrated.migrator.id
    setattr(migrated.migrator, attribute, value)
    deploy = push(migrated, "two")
    assert deploy.status == "pre_deploy_failed"
    assert deploy.log[-1].endswith("(exit 2)")


# Besides: the database is down, and the signal of a superseding deploy before any job


def test_a_database_that_is_down_ends_the_deploy_with_no_request_to_the_api(migrated):
    gone = make_url(migrated.app_url).set(port=1).render_as_string(hide_password=False)
    migrated.app.env["DATABASE_URL"] = gone
    deploy = push(migrated, "two")
    assert deploy.status == "pre_deploy_failed"
    assert "the database cannot be reached" in deploy.log[-1]
    assert deploy.log[-1].endswith("(exit 5)")
    assert migrated.api.asked == []


def test_a_signal_before_any_job_says_that_none_was_started(migrated):
    migrated.migrator.outcomes[commit_id("two")] = threading.Event()
    migrated.platform.push("two")
    until(lambda: "of this commit: build_in_progress" in migrated.platform.text, "the wait")
    gate = migrated.app.of("two").predeploy
    gate.terminate(signal.SIGTERM)
    assert gate.wait() == 143
    assert gate.lines[-1] == "predeploy  terminated: no job was started; safe to run again (exit 143)"
    migrated.migrator.outcomes[commit_id("two")].set()
