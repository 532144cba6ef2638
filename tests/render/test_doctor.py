"""The two doctors: what only the live platform can tell, with no secret in it, from inside a pre-deploy and a job."""

from tests.render.platform import commit_id


def doctor(world, commit):
    words = ["python", "-m", "app.predeploy", "--doctor"]
    return world.platform._run(words, world.app, commit, lambda _line: None)


def test_the_migrators_doctor_runs_as_a_job_and_changes_nothing(migrated):
    migrated.platform.push("one", "migrator")
    migrated.platform.settled(migrated.migrator, "one")
    before = migrated.rows("SELECT count(*) FROM migrator.run")
    job = migrated.platform.start_job(migrated.migrator, "migrator doctor")
    migrated.platform.done(job)
    assert job.status == "succeeded", job.text
    lines = {line.split(None, 1)[0]: line for line in job.text.splitlines()}
    assert lines["argv"].endswith("-m migrator doctor")
    assert f"baked in {commit_id('one')}, given {commit_id('one')}" in lines["commit"]
    assert "variable   RENDER_SERVICE_TYPE=cron" in job.text
    assert "variable   MIGRATOR_DATABASE_URL=(set, " in job.text
    assert "variable   MIGRATOR_APP_PASSWORD=(set, 21 characters)" in job.text
    assert "superuser" in lines["role"]
    assert lines["pooler"] == "pooler     direct"
    assert lines["tls"].split(None, 1)[1] == "not encrypted, on this machine"
    assert " s from this machine's" in lines["clock"]
    assert migrated.rows("SELECT count(*) FROM migrator.run") == before


def test_the_apps_doctor_asks_the_api_and_the_gate_and_starts_nothing(migrated):
    migrated.platform.push("one")
    migrated.platform.settled(migrated.app, "one")
    migrated.api.asked.clear()
    program = migrated.platform._run(
        ["python", "-m", "app.predeploy", "--doctor"], migrated.app, commit_id("two"), print
    )
    assert program.wait() == 1, program.text  # the gate's answer: the doctor lets nothing pass
    assert f"commit     baked in {commit_id('two')}, given {commit_id('two')}" in program.text
    assert "variable   RENDER_API_KEY=(set, 34 characters)" in program.text
    assert (
        f"api        migrator: {migrated.migrator.id} cron_job of https://github.com/example/lockstep (main)"
        in program.text
    )
    assert "gate       the schema has not been migrated for this release" in program.text
    assert not [line for line in migrated.api.asked if not line.startswith("GET")]


def test_the_apps_doctor_says_what_keeps_it_from_the_api(migrated):
    migrated.platform.keys.clear()
    program = migrated.platform._run(
        ["python", "-m", "app.predeploy", "--doctor"], migrated.app, commit_id("one"), print
    )
    assert program.wait() == 0, program.text
    assert "does not accept the key (401)" in program.text
