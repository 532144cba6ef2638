"""Property: whatever is changed in what a release stands on, what fails from then on was said before."""

from __future__ import annotations

import os

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import orm

from lockstep import contract
from lockstep.contract import catalog
from lockstep.contract.footprint import Watch
from lockstep.upgrade import unknowns
from lockstep_gate.contract import derive
from tests.contract.attack import changes, database, judged, models, operations

EXAMPLES = int(os.environ.get("FOOTPRINT_EXAMPLES", "100"))
NEEDED = contract.Contract.from_json(derive(models.Base.metadata).to_json())
# These wait, or make tables of their own in a transaction that goes on.
LEFT_OUT = {"slow_query", "temporary_table"}
NEEDLESS = 0.05

_numbers = st.integers(0, 60)
_change = st.tuples(st.sampled_from(changes.NAMES), _numbers, _numbers, _numbers)
drawn = st.lists(_change, min_size=1, max_size=3)


@pytest.fixture(scope="module")
def attacked(server):
    with server.database() as url:
        database.make(url)
        judged.record(url)
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)
        with engine.connect() as connection, judged.control(url) as session:
            yield connection, session.rows
        database.roles_again(server.url)


class Tally:
    def __init__(self) -> None:
        self.cases, self.deferred, self.needless = 0, 0, []


def happened(connection, url, sequence):
    """Make the changes, ask for the verdict, and let the release run, all in one transaction that is rolled back."""
    try:
        connection.begin()
        made = [sql for sql in map(changes.sql, sequence) if _made(connection, judged.text(sql, url))]
        found = verdict(connection)
        return made, found, failures(connection)
    finally:
        connection.rollback()


def verdict(connection):
    watch, known, _ = connection.info["before"]
    behind = watch.found(connection, [NEEDED])
    with watch.searched(connection):
        after = catalog.refresh(connection, known).catalog
    needs = contract.broken(NEEDED, after, since=known.catalog)
    return unknowns.with_behind(tuple(one for one in needs if not watch.disproves(one)), behind, NEEDED)


def _made(connection, sql):
    savepoint = connection.begin_nested()
    try:
        database.run(connection, sql)
    except sa.exc.DBAPIError:
        savepoint.rollback()
        return False
    savepoint.commit()
    return True


def failures(connection):
    """What fails of all that the release does, as the app's role; constraints that wait for COMMIT are asked for."""
    database.run(connection, f"SET LOCAL ROLE {database.ROLE}")
    failed = {}
    for number, (name, operation) in enumerate(operations.OPS.items(), 7_000_000):
        if name in LEFT_OUT:
            continue
        savepoint = connection.begin_nested()
        try:
            with orm.Session(connection, join_transaction_mode="create_savepoint") as session:
                operation(session, number)
                session.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
                session.execute(sa.text("SET CONSTRAINTS ALL DEFERRED"))
                session.commit()
        except Exception as error:  # noqa: BLE001 - whatever it is, the release fails
            failed[name] = str(getattr(error, "orig", None) or error).splitlines()[0]
        if savepoint.is_active:
            savepoint.rollback()
    return failed


def look(connection, outside):
    watch = Watch(outside)
    watch.look(connection, [database.ROLE])
    with watch.searched(connection):
        known = catalog.know(connection, None, app_role=database.ROLE)
    connection.rollback()
    connection.info["before"] = (watch, known, None)


@pytest.mark.slow
@pytest.mark.timeout(900)  # a hundred changes, each with all that the release does before and after
def test_nothing_that_a_release_stands_on_is_changed_unseen(attacked):
    connection, outside = attacked
    url = connection.engine.url.render_as_string(hide_password=False)
    look(connection, outside)
    usual = failures_of_nothing(connection)
    tally = Tally()

    @settings(max_examples=EXAMPLES)
    @given(drawn)
    def check(sequence):
        made, found, failed = happened(connection, url, sequence)
        failed = {name: error for name, error in failed.items() if name not in usual}
        assert found or not failed, f"{made} was passed in silence, and fails: {failed}"
        deferred = any(need.severity == contract.ERROR for need in found)
        tally.cases += 1
        tally.deferred += deferred
        if deferred and not failed:
            tally.needless.append((made, found))

    check()
    assert len(tally.needless) <= max(3, NEEDLESS * tally.deferred), tally.needless


def failures_of_nothing(connection):
    try:
        connection.begin()
        return failures(connection)
    finally:
        connection.rollback()
