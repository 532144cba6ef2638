"""Fixtures of the engine's tests."""

from __future__ import annotations

import logging
import sys

import pytest

from tests.migrator.rig import Client, Database, Project, Running, call


@pytest.fixture(autouse=True)
def undisturbed():
    """Take back what an env.py that nobody here wrote does to logging and to the import path."""
    root = logging.getLogger()
    handlers, level, path = root.handlers[:], root.level, sys.path[:]
    loggers = {
        name: (item.level, item.disabled)
        for name, item in root.manager.loggerDict.items()
        if isinstance(item, logging.Logger)
    }
    yield
    root.handlers[:], sys.path[:] = handlers, path
    root.setLevel(level)
    for name, (its_level, disabled) in loggers.items():
        logging.getLogger(name).setLevel(its_level)
        logging.getLogger(name).disabled = disabled


@pytest.fixture
def db(database):
    """An empty database."""
    with_look = Database(database)
    yield with_look
    with_look.close()


@pytest.fixture
def project(tmp_path):
    """An Alembic project with this product's env.py and versions of its own."""
    return Project(tmp_path / "own", own=True)


@pytest.fixture
def foreign(tmp_path):
    """A project as `alembic init` makes it."""
    (tmp_path / "foreign").mkdir()
    return Project(tmp_path / "foreign", own=False)


@pytest.fixture
def run(db, capsys, monkeypatch):
    """Run a verb on the test's database in this process: `run("upgrade", project=…, KEY="value")`."""

    def one(*arguments, project=None, url=None, **environment):
        environment = {"MIGRATOR_DATABASE_URL": db.url if url is None else url, **environment}
        if project is not None:
            environment["MIGRATOR_CONFIG"] = str(project.ini)
        return call(arguments, environment, capsys, monkeypatch)

    return one


@pytest.fixture
def run_late(run):
    """Run a verb into its deadline: `run_late("upgrade", came_so_far=…)`, which is told what came of it.

    On a busy machine the time may be up before the run has come to what the test is about: then it is given more.
    """

    def one(*arguments, came_so_far, **environment):
        for deadline in ("2s", "6s", "20s", "60s"):
            done = run(*arguments, MIGRATOR_DEADLINE=deadline, **environment)
            if came_so_far(done):
                break
        return done

    return one


@pytest.fixture
def spawn(db):
    """Start a verb on the test's database in a process of its own."""
    started = []

    def one(*arguments, project=None, url=None, patient=False, processes=None, **environment):
        environment = {"MIGRATOR_DATABASE_URL": db.url if url is None else url, **environment}
        if project is not None:
            environment["MIGRATOR_CONFIG"] = str(project.ini)
        started.append(Running(arguments, environment, patient=patient, processes=processes))
        return started[-1]

    yield one
    for running in started:
        running.close()


@pytest.fixture
def client(db):
    """Make sessions of somebody else's on the test's database."""
    made = []

    def one(application="a client"):
        made.append(Client(db.url, application))
        return made[-1]

    yield one
    for item in made:
        item.close()
