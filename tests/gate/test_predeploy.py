"""The pre-deploy ends with the code of the migrator's run, as the ledger has it."""

import pytest

from lockstep_gate import settings
from lockstep_gate.predeploy import settings as predeploy_settings
from lockstep_gate.predeploy import trigger
from lockstep_gate.predeploy.deadline import Deadline
from lockstep_gate.predeploy.decision import Predeploy
from lockstep_gate.predeploy.render_api import Job
from tests.app.rig import BUILD, ROLE

JOB = Job("job-1", "migrator upgrade --run-id run-1", "failed")
RUNS = """
CREATE TABLE migrator.run (id int GENERATED ALWAYS AS IDENTITY, run_id text, outcome text, error text, message text);
"""


@pytest.fixture
def predeploy(migrated):
    migrated.execute(RUNS + f"GRANT SELECT ON migrator.run TO {ROLE}")
    environ = {"DATABASE_URL": migrated.url, "RENDER_API_KEY": "rnd_5tandIn"}
    given = predeploy_settings.read(environ)
    made = Predeploy(settings.read(environ), given, BUILD, None, Deadline.after(10))
    yield made
    made._through.close()


@pytest.mark.parametrize(
    ("outcome", "error", "message", "code"),
    [
        ("usage", "Usage", "no database URL is set", 2),
        ("usage", "ModelsError", "models.py is not Python", 2),
        ("refused", "Refused", "there are 2 heads", 1),
        ("busy", "Busy", "the lock was not got", 3),
        ("failed", "StepFailed", "division by zero", 4),
        ("unreachable", "Exhausted", "no files left", 5),
        ("interrupted", "Interrupted", "stopped by signal 15; what was running was rolled back", 143),
        ("interrupted", "Interrupted", "stopped by signal 2; what was running was rolled back", 130),
        ("failed", "MigratorError", "KeyError: 'x'", 70),
    ],
)
def test_a_recorded_ending_comes_out_with_its_own_code(predeploy, migrated, outcome, error, message, code):
    migrated.execute(
        "INSERT INTO migrator.run (run_id, outcome, error, message) VALUES ('run-1', %s, %s, %s)",
        outcome, error, message,
    )  # fmt: skip
    ending = trigger.failed(JOB, predeploy._last_words(JOB))
    assert (ending.code, ending.message) == (code, f"job job-1 failed: {message}")


def test_a_job_of_which_the_ledger_has_no_word_is_refused(predeploy):
    assert trigger.failed(JOB, predeploy._last_words(JOB)).code == 1


def test_no_secret_is_printed_whoever_wrote_it(predeploy, capsys):
    predeploy.say("the key rnd_5tandIn, and postgresql://app:hush@db/x")
    assert capsys.readouterr().out == "the key ***, and postgresql://app:***@db/x\n"
