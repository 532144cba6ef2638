"""One table of exit codes: what a run recorded comes out of the pre-deploy as the code that the run ended with."""

import pytest

from lockstep_gate import errors, exits
from lockstep_gate.contract import ContractError, ModelsError

RAISED = {
    "usage": errors.Usage("x"),
    "a models file that cannot be loaded": ModelsError("x"),
    "refused": errors.Refused("x"),
    "a contract that cannot be read": ContractError("x"),
    "busy": errors.Busy("x"),
    "failed": errors.StepFailed("x"),
    "unreachable": errors.Unreachable("x"),
    "out of files": errors.Exhausted("x"),
    "SIGHUP": errors.Interrupted(1),
    "SIGINT": errors.Interrupted(2, "stopped by signal 2; what was done stays"),
    "SIGTERM": errors.Interrupted(15),
    "a bug of ours": errors.LockstepError("KeyError: 'x'"),
}


@pytest.mark.parametrize("what", RAISED)
def test_a_recorded_ending_has_the_exit_code_of_the_run_itself(what):
    error = RAISED[what]
    word = "failed" if type(error) is errors.LockstepError else error.word
    assert exits.of_run(word, type(error).__name__, error.message) == error.code


def test_ledgers_of_before_name_a_bug_otherwise():
    assert exits.of_run("failed", "MigratorError", "KeyError: 'x'") == 70


def test_a_stop_whose_signal_nobody_wrote_down_is_a_stop():
    assert exits.of_run("interrupted", None, None) == 143


def test_a_run_without_an_end_is_no_yes():
    assert exits.of_run(None, None, None) == 1
    assert exits.of_run("done", None, None) == 1


def test_each_code_stands_once_in_the_table_and_each_word_names_one_kind():
    assert len({one.code for one in exits.TABLE}) == len(exits.TABLE)
    assert [one.word for one in exits.TABLE if one.code > 128] == ["interrupted"] * 3
