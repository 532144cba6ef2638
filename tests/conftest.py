"""Fixtures: a real PostgreSQL for the run, a database of its own for each test, and the migrator as a process.

The server is TEST_DATABASE_URL's, else a container's where a Docker engine answers, else an embedded one. A server
that was given is left as it was found: tests only write to databases they made. Tests make roles too, which are the
whole server's: each of several workers has a server of its own, and one that was given has one worker.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import psycopg2
import pytest
from psycopg2 import sql
from sqlalchemy import make_url
from xdist.scheduler import LoadScopeScheduling

from lockstep.develop.sandbox import binaries, embedded
from tests import forks

ROOT = Path(__file__).resolve().parents[1]
MIGRATOR_SECONDS = 120
SHARE = 8
ROOMY_BYTES = 4 * 2**30
MINE = ("DATABASE_URL", "PORT", "IMAGE_COMMIT", "RENDER_GIT_COMMIT", "PYTHONDONTWRITEBYTECODE")
PREFIXES = ("MIGRATOR_", "PG", "RENDER_")
KEPT = ("PG_BIN",)
# The same examples in every run; and none fails for what else the machine was doing.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")
DECIDED = ("given_url", "engine_silence", "kind", "why")  # once, by the process that hands out the tests


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server, as its superuser, and what it is in a few words."""

    url: str = field(repr=False)
    describe: str

    def named(self, database: str) -> str:
        """Return the URL of another database on it."""
        return make_url(self.url).set(database=database).render_as_string(hide_password=False)

    def execute(self, statement: str, *names: str) -> None:
        """Run a statement outside of any transaction, its {} filled with identifiers."""
        with contextlib.closing(psycopg2.connect(self.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    @contextlib.contextmanager
    def database(self, template: str = "template0"):
        """Make a database from a template; drop it afterwards, whoever is still connected."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'", name, template)
        try:
            yield self.named(name)
        finally:
            self.execute("DROP DATABASE {} WITH (FORCE)", name)


@dataclass(frozen=True)
class Outcome:
    """What came of a command."""

    code: int
    out: str
    err: str


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    # One more than there are processors: many tests wait for something. A given server has one user at a time.
    return 0 if "TEST_DATABASE_URL" in os.environ else (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False  # the order is that of `longest_first`
    return InShares(config, log)


class InShares(LoadScopeScheduling):
    """So many neighbours of a file go to one worker together; and all that use images do: one worker builds them.

    The shards of a property are long each, and there to be spread.
    """

    @functools.cached_property
    def _shares(self):
        shares = {}
        for file, tests in itertools.groupby(self.collection, lambda nodeid: nodeid.split("::", 1)[0]):
            for number, nodeid in enumerate(tests):
                begun = nodeid if "[shard-" in nodeid else f"{file} {len(shares) - number % SHARE}"
                shares[nodeid] = "tests/docker" if file.startswith("tests/docker/") else begun
        return shares

    def _split_scope(self, nodeid):
        return self._shares[nodeid]


def longest_first(item) -> int:
    """Order the tests of a run with several workers: what takes long begins early, what needs no server fills up."""
    if item.get_closest_marker("slow") or item.get_closest_marker("docker"):
        return 0
    return 1 if "server" in item.fixturenames else 2


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    node.workerinput["decided"] = {name: getattr(node.config, name) for name in DECIDED}


def pytest_configure(config):
    # What a developer has exported must not change what a test shows.
    os.environ["XDG_CACHE_HOME"] = os.devnull  # no manifest is kept from one test for another
    config.given_url = os.environ.pop("TEST_DATABASE_URL", None)
    for name in list(os.environ):
        if name not in KEPT and (name in MINE or name.startswith(PREFIXES)):
            del os.environ[name]
    # A shell's job in the background is deaf to it, and so would be all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if is_worker(config):
        for name, value in config.workerinput["decided"].items():
            setattr(config, name, value)
        return
    if config.given_url and config.getoption("numprocesses", None):
        raise pytest.UsageError("TEST_DATABASE_URL gives one server, and its roles are for one worker: leave out -n")
    config.engine_silence = engine_silence()
    config.servers_place = servers_in_memory()


def pytest_unconfigure(config):
    if place := getattr(config, "servers_place", None):
        shutil.rmtree(place, ignore_errors=True)


def servers_in_memory() -> Path | None:
    """Have the throw-away servers of all processes of this run in memory, where there is room; return where.

    They are made where temporary files are. The tests' own directories stay where pytest makes and keeps them.
    """
    if memory() is None:
        return None
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    place = Path(tempfile.mkdtemp(prefix="tests-of-", dir=memory()))
    place.chmod(0o1777)  # as /tmp is: a server does not run as root
    os.environ["TMPDIR"], tempfile.tempdir = str(place), None
    return place


def pytest_sessionstart(session):
    if not is_worker(session.config):
        session.config.kind, session.config.why = choose(session.config)


def is_worker(config) -> bool:
    """Tell whether this process only runs tests that another one hands out."""
    return hasattr(config, "workerinput")


def pytest_report_header(config):
    return f"PostgreSQL: {config.kind}{config.why}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    wanted = config.getoption("markexpr") or ""
    nightly = [item for item in items if item.get_closest_marker("nightly") and "nightly" not in wanted]
    if nightly:
        config.hook.pytest_deselected(items=nightly)
        items[:] = [item for item in items if item not in nightly]
    if is_worker(config):
        items.sort(key=longest_first)
    # Where an engine is required, as in CI, these tests run, and fail by themselves.
    if config.engine_silence and not os.environ.get("REQUIRE_DOCKER"):
        for item in items:
            if item.get_closest_marker("docker"):
                item.add_marker(pytest.mark.skip(reason=config.engine_silence))


def ask_docker(statement: str) -> str:
    """Do something with the Docker engine; return the last line of what went wrong, empty if nothing did.

    In a process of its own: the engine's client leaves sockets open, which strict tests would take for theirs.
    """
    code = f"import docker; client = docker.from_env(); {statement}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1] if done.returncode else ""


def engine_silence() -> str:
    """Return why no Docker engine answers; empty if one does."""
    return "no Docker engine answers" if ask_docker("client.ping()") else ""


def image() -> str:
    """Return the image of the tests' container: the compose file's unless POSTGRES_IMAGE names another."""
    return os.environ.get("POSTGRES_IMAGE", "postgres:18-bookworm")


def missing_image() -> str:
    """Return why the image cannot be had, pulling it if need be; empty once it is there."""
    if ask_docker(f"client.images.get({image()!r})") and ask_docker(f"client.images.pull({image()!r})"):
        return f"the Docker engine cannot pull {image()}"
    return ""


def choose(config) -> tuple[str, str]:
    """Return which server the run takes, and why if there is a why."""
    if config.given_url:
        return "the server of TEST_DATABASE_URL", ""
    why = config.engine_silence or missing_image()
    if why and os.environ.get("POSTGRES_IMAGE"):
        raise pytest.UsageError(f"POSTGRES_IMAGE is set, but {why}")
    if not why:
        return f"testcontainers, image {image()}", ""
    return f"embedded {binaries.version(binaries.find())}", f" ({why})"


@contextlib.contextmanager
def container():
    """Run PostgreSQL in a container; yields its URL."""
    # The container that removes those of a killed run is one more image to have; this one is stopped right here.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 - reads the variable on import

    with PostgresContainer(image(), username="postgres", password=secrets.token_urlsafe(12), driver=None) as running:
        yield running.get_connection_url()


def memory() -> Path | None:
    """Return a directory in memory that holds a server's data with ease; None if there is none.

    Making and dropping a database is making and dropping 300 files: on a disk that takes several times as long.
    """
    place = Path("/dev/shm")
    roomy = place.is_dir() and os.access(place, os.W_OK) and shutil.disk_usage(place).free >= ROOMY_BYTES
    return place if roomy else None


def quick_to_connect() -> dict[str, str]:
    """Return the settings by which a password is checked once: 4,096 times are most of what it takes to connect."""
    return {"scram_iterations": "4096"} if int(binaries.version(binaries.find()).partition(".")[0]) >= 16 else {}


@pytest.fixture(scope="session")
def server(pytestconfig):
    """A PostgreSQL server for the whole run: `.url` of its superuser, `.describe`."""
    with contextlib.ExitStack() as stack:
        if pytestconfig.given_url:
            url = make_url(pytestconfig.given_url).set(drivername="postgresql").render_as_string(hide_password=False)
        elif pytestconfig.kind.startswith("testcontainers"):
            url = stack.enter_context(container())
        else:
            url = stack.enter_context(embedded.throwaway(quick_to_connect(), parent=memory())).url()
        with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version')")
            version = cursor.fetchone()[0]
            if quick_to_connect() and pytestconfig.kind.startswith("embedded"):
                change = sql.SQL("ALTER ROLE {} PASSWORD {}")
                cursor.execute(change.format(sql.Identifier(embedded.SUPERUSER), sql.Literal(make_url(url).password)))
                connection.commit()
        yield Server(url, f"{pytestconfig.kind}, PostgreSQL {version}")


@pytest.fixture
def database(server):
    """The URL of a fresh, empty database, dropped afterwards."""
    with server.database() as url:
        yield url


@pytest.fixture(scope="session")
def checkpoint(server, pytestconfig, tmp_path_factory):
    """A checkpoint of this repository's revisions for the server's version, which template databases are loaded from.

    Written by whoever needs it first, of all workers and of all later runs, until what it is made of is another; with
    pytest's cache switched off, by each worker.
    """
    cache = getattr(pytestconfig, "cache", None)
    kept = cache.mkdir("checkpoint") if cache else tmp_path_factory.mktemp("checkpoint")
    made_of = hashlib.sha256(server.describe.encode())
    for place in sorted(one for name in ("versions", "checkpoint") for one in (ROOT / "migrator" / name).glob("*.py")):
        made_of.update(place.read_bytes())
    file = kept / f"{made_of.hexdigest()[:16]}.sql"
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.is_file():
            done = run_migrator("checkpoint", "--checkpoint", file, env={"MIGRATOR_SHADOW_URL": server.url})
            if done.code:
                pytest.fail(f"migrator checkpoint: exit {done.code}\n{done.out}{done.err}")
    return file


@pytest.fixture(scope="session")
def migrated_template(server, checkpoint):
    """The name of a database at head, which tests clone rather than migrate one each."""
    with server.database() as url:
        done = run_migrator("upgrade", "--checkpoint", checkpoint, env={"MIGRATOR_DATABASE_URL": url})
        if done.code or "loaded from the checkpoint" not in done.out:
            pytest.fail(f"migrator upgrade: exit {done.code}\n{done.out}{done.err}")
        yield make_url(url).database


@pytest.fixture
def migrated_database(server, migrated_template):
    """The URL of a database at head, dropped afterwards."""
    with server.database(migrated_template) as url:
        yield url


def run_migrator(*args, env=None, cwd=ROOT) -> Outcome:
    """Run `python -m migrator` as a process with a clean environment."""
    done = forks.run(
        [sys.executable, "-m", "migrator", *map(str, args)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        cwd=cwd,
        timeout=MIGRATOR_SECONDS,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def migrator():
    """Run the migrator: `migrator("upgrade", env={...})` gives code, out and err."""
    return run_migrator
