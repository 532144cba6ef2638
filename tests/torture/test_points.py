"""Points: where a run is cut is counted from what it sends; only what changes nothing is cut by few of the faults."""

import collections
import signal
import subprocess
import sys

import pytest

from tests.torture import points
from tests.torture.faults import FAULTS
from tests.torture.forks import ROOT
from tests.torture.proxy import AFTER, BEFORE, CONNECT, DURING, Sent

PLAIN = {"terminate this backend", "cut the network", "SIGTERM"}
READING = [
    "SELECT 1", "BEGIN", "BEGIN ISOLATION LEVEL READ COMMITTED", "ROLLBACK", "show transaction isolation level",
    "SET ROLE NONE; RESET ALL; SELECT set_config('role', 'none', false)", "WITH a AS (SELECT 1) SELECT * FROM a",
    "PREPARE asks (int) AS SELECT $1", "SET LOCAL plan_cache_mode = force_generic_plan; EXECUTE asks (1)",
    "PREPARE writes (int) AS WITH gone AS (DELETE FROM t WHERE id = $1) INSERT INTO u VALUES ($1)",
    "SELECT 'GRANT SELECT, INSERT; CREATE TABLE t'", "EXPLAIN (FORMAT JSON) SELECT 1 FROM t",
]  # fmt: skip
CHANGING = [
    CONNECT, "COMMIT", "CREATE TABLE t ()", "VACUUM t", "DO $$ BEGIN END $$", "SELECT 1; DROP TABLE t",
    "SET LOCAL plan_cache_mode = force_generic_plan; EXECUTE writes (1)", "EXECUTE nobody_knows (1)",
    "WITH gone AS (DELETE FROM t RETURNING 1) SELECT * FROM gone", "SELECT pg_try_advisory_lock(1)",
    "SELECT pg_advisory_unlock(1)", "SELECT nextval('s')", "SELECT 1 INTO t", "BEGIN; UPDATE t SET n = 1; COMMIT",
    "EXPLAIN ANALYZE SELECT 1", "EXPLAIN (ANALYZE) DELETE FROM t",
]  # fmt: skip
# A process of the pool, and its parent, which is killed; what they print ends when the last of them does.
ORPHAN = """
import multiprocessing
from tests.torture import pool
child = multiprocessing.get_context("spawn").Process(target=pool._end_with_parent)
child.start()
print("there", flush=True)
child.join()
"""


def cuts(*texts, connections=None):
    """Return (fault, when) of each point, by the statement's number."""
    numbered = zip(range(1, len(texts) + 1), connections or [1] * len(texts), texts, strict=True)
    found = collections.defaultdict(set)
    for point in points.of("x", [Sent(*each) for each in numbered]):
        found[point.number].add((FAULTS[point.fault].name, FAULTS[point.fault].when))
    return found


@pytest.mark.parametrize("text", READING)
def test_what_changes_nothing_is_cut_before_it_by_the_faults_that_meet_the_migrator_elsewhere_there(text):
    assert cuts(*READING)[READING.index(text) + 1] == {(name, BEFORE) for name in PLAIN}


@pytest.mark.parametrize("text", CHANGING)
def test_what_changes_something_is_cut_before_it_while_it_is_done_and_after(text):
    # Each on the second connection, so that all faults have something to do.
    texts = [CONNECT, *READING, *CHANGING]
    found = cuts(*texts, connections=[1] + [2] * (len(texts) - 1))[len(READING) + 2 + CHANGING.index(text)]
    unknown = {("terminate this backend", when) for when in (BEFORE, DURING)} if text == CONNECT else set()
    assert found == {(fault.name, fault.when) for fault in FAULTS} - unknown


def test_a_sigkill_is_tried_on_both_sides_of_whatever_changes_something():
    found = cuts("SELECT 1", "COMMIT", "SELECT 2")
    assert {when for name, when in found[2] if name == "kill"} == {BEFORE, DURING, AFTER}
    assert not any(name == "kill" for name, _ in found[1] | found[3])


def test_no_backend_is_ended_that_is_not_there():
    alone, later = cuts(CONNECT, "COMMIT", CONNECT, "COMMIT", connections=[1, 1, 2, 1]), "terminate the other backends"
    assert later not in {name for name, _ in alone[2]}
    assert later in {name for name, _ in alone[3]} & {name for name, _ in alone[4]}


def test_a_process_of_the_pool_ends_with_the_one_that_asked_for_it():
    process = subprocess.Popen([sys.executable, "-c", ORPHAN], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "there\n"
    process.send_signal(signal.SIGKILL)
    assert process.communicate(timeout=120)[0] == ""
