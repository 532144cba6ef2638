"""Fixtures of the two-deploy story: the code of both releases, and a database with its two roles."""

from __future__ import annotations

import compileall
import dataclasses

import pytest

from local.story import place as places
from local.story import release as releases
from local.story.tale import Tale
from tests import forks

# However slow the machine: a test in which the retention ends says how long it is.
LONG = "1h"


@pytest.fixture(scope="session")
def first(tmp_path_factory):
    """Release 1: the product as it is, compiled as in an image; its processes are forks."""
    made = releases.first(tmp_path_factory.mktemp("releases") / "release-1")
    compileall.compile_dir(made.directory, quiet=1)
    return dataclasses.replace(made, processes=forks)


@pytest.fixture(scope="session")
def second(server, first):
    """Release 2, its revisions written once for all tests; only the throw-away databases of the server are used."""
    nowhere = places.Place(server.url, "nowhere", "nobody", "nobody", "")
    return releases.second(nowhere, first, first.directory.with_name("release-2"))


@pytest.fixture
def place(server):
    """An empty database whose owner may make the app's role."""
    with places.made(server.url, retention=LONG) as made:
        yield made


@pytest.fixture(scope="session")
def migrated_once(server, first, checkpoint):
    """A database of release 1, which was recorded so long ago that its rollout is over; tests clone it."""
    with places.made(server.url, retention=LONG) as made:
        done = first.migrator(made, "upgrade", "--checkpoint", str(checkpoint))
        assert (done.code, "loaded from the checkpoint" in done.out) == (0, True), done.out + done.err
        made.rows("UPDATE migrator.release SET recorded = recorded - interval '1 day'")
        yield made


@pytest.fixture
def migrated(migrated_once):
    """A database of release 1, which was recorded so long ago that its rollout is over."""
    with places.cloned(migrated_once) as clone:
        yield clone


@pytest.fixture
def tale(place, tmp_path):
    """The story on that database, told to whoever looks at a failed test's output."""
    told = Tale(place, tmp_path, lambda who, what: print(f"{who:<9} {what}"))
    yield told
    told.close()
