"""The two-deploy story: real processes of two releases, one database, requests all the while."""

from __future__ import annotations

import dataclasses
import subprocess

import pytest

from local.story.tale import DROP, begun, failed_rollout, nothing_is_lost, rollout

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def first(first):
    """Release 1, in processes of its own from the first line, as on a platform."""
    return dataclasses.replace(first, processes=subprocess)


@pytest.fixture(scope="session")
def second(second):
    return dataclasses.replace(second, processes=subprocess)


def test_no_request_of_either_release_fails_while_release_2_replaces_release_1(tale, first, second):
    with begun(tale, first) as load:
        breaking = rollout(tale, first, second, load)
    assert load.failures == []
    nothing_is_lost(tale, load)
    assert tale.columns() == {"id", "email", "full_name", "locale", "organisation_id", "created_at"}
    served = dict(tale.place.rows("SELECT digest, broken_by FROM migrator.release"))
    assert sorted(served.values(), key=str) == sorted([breaking, None], key=str)
    assert tale.place.rows("SELECT revision FROM migrator.deferred") == []


def test_release_1_goes_on_and_nothing_is_lost_when_release_2_fails_after_its_migrations(tale, first, second):
    with begun(tale, first) as load:
        failed_rollout(tale, first, second, load)
    assert load.failures == []
    nothing_is_lost(tale, load)
    assert {"name", "phone_number", "full_name", "locale"} <= tale.columns()
    assert tale.place.rows("SELECT count(*) FROM users WHERE name <> full_name OR name IS NULL") == [(0,)]
    assert tale.place.rows("SELECT count(*) > 0 FROM users WHERE phone_number IS NOT NULL") == [(True,)]
    assert tale.place.rows("SELECT broken_by FROM migrator.release") == [(None,), (None,)]
    held_back = tale.place.rows("SELECT reason FROM migrator.deferred")
    assert [DROP in reason for (reason,) in held_back] == [True]


def test_without_the_guard_the_same_deploy_fails_requests(tale, first, second):
    with begun(tale, first) as load:
        tale.migrate(second, "--ignore-live-releases", "to see what the guard is for")
        load.go_on()
    assert load.failures
    assert {"name", "phone_number"}.isdisjoint(tale.columns())
