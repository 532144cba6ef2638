"""The order on Render: the migrator's job of a commit succeeds, and only then the app of that commit is rolled out."""

import httpx

from tests.render import commits


def get(world, path):
    with httpx.Client(trust_env=False, timeout=60) as client:
        return client.get(world.app.url + path)


def asked(world, line):
    return [one for one in world.api.asked if one.startswith(line)]


def test_the_first_deploy_migrates_an_empty_database_and_then_serves(world):
    world.platform.push("one")
    deploy = world.platform.settled(world.app, "one")
    assert deploy.status == "live", deploy.text
    (job,) = world.platform.jobs
    assert job.status == "succeeded"
    assert "  applied    create_users" in deploy.text  # the job's log, as it came
    assert "predeploy  yes: the schema serves this release (exit 0)" in deploy.text
    assert get(world, "/readyz").status_code == 200
    run_id = job.command.split()[job.command.split().index("--run-id") + 1]
    assert world.rows("SELECT run_id, outcome FROM migrator.run") == [(run_id, "done")]


def test_a_change_is_migrated_while_the_old_release_serves_and_the_old_one_ends_cleanly(serving):
    old = serving.app.instance
    serving.platform.push("two")
    deploy = serving.platform.settled(serving.app, "two")
    assert deploy.status == "live", deploy.text
    assert serving.app.of("one").status == "deactivated"
    assert old.wait() == 0
    assert get(serving, "/readyz").status_code == 200
    assert get(serving, "/version").json()["commit"] == deploy.commit


def test_a_redeploy_with_nothing_to_do_asks_no_api(serving):
    serving.api.asked.clear()
    serving.platform.deploy(serving.app, serving.app.live.commit)
    deploy = serving.platform.settled(serving.app, "one")
    assert deploy.status == "live"
    assert serving.api.asked == []
    assert serving.platform.jobs == []


def test_a_rollback_passes_at_once_on_the_newer_schema(serving):
    serving.platform.push("two")
    serving.platform.settled(serving.app, "two")
    serving.api.asked.clear()
    before = serving.app.of("one")
    serving.platform.deploy(serving.app, before.commit, "rollback")
    deploy = serving.platform.settled(serving.app, "one")
    assert deploy is not before
    assert deploy.status == "live", deploy.text
    assert serving.api.asked == []
    assert get(serving, "/readyz").status_code == 200


def test_a_drop_is_deferred_while_the_old_release_serves_and_the_night_applies_it(serving):
    serving.platform.commit("less", commits.DROP, commits.without_phone_number)
    serving.platform.push("less")
    deploy = serving.platform.settled(serving.app, "less")
    assert deploy.status == "live", deploy.text
    assert "deferred   drop_phone_number" in deploy.text, deploy.text
    column = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'phone_number'"
    assert serving.rows(column) == [(1,)]
    # The old instance is gone; once its last report has expired, the cron's own command applies what was held back.
    serving.rows("UPDATE migrator.instance SET seen = seen - interval '1 hour' WHERE ended IS NOT NULL")
    serving.rows("UPDATE migrator.release SET recorded = recorded - interval '1 hour'")
    night = serving.platform.start_job(serving.migrator, serving.migrator.written["dockerCommand"])
    serving.platform.done(night)
    assert night.status == "succeeded", night.text
    assert "applied    drop_phone_number" in night.text
    assert "checked    that the database is as the models say" in night.text
    assert serving.rows(column) == [(0,)]
    assert get(serving, "/users").status_code == 200


def test_the_serving_process_has_no_key(serving):
    assert "RENDER_API_KEY" in serving.app.env
    with open(f"/proc/{serving.app.instance.process.pid}/environ", "rb") as file:  # noqa: PTH123 - it is no regular file
        environment = file.read()
    assert b"DATABASE_URL=" in environment
    assert b"RENDER_API_KEY" not in environment
    assert serving.platform.key.encode() not in environment


def test_key_and_passwords_are_in_no_log_line(serving):
    """So it is at the end of every test with the stand-in (see world_of); here: that a leak would be seen."""
    assert "DATABASE_URL" in serving.app.env
    assert serving.platform.text
    for name, secret in serving.secrets().items():
        assert name in serving.leaks(f"connecting with {secret} now")
    assert serving.leaks(serving.app_url)
    for text in (serving.platform.text, serving.ledger(), serving.platform.command_lines):
        assert text
        assert serving.leaks(text) == []
