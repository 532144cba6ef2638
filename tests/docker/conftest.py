"""Fixtures: both images built once, and the compose file's services under a name of their own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.render import commits
from tests.render.platform import commit_id, image

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.timeout(600))


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answers, with the clients and base images to use on it."""

    compose_command: tuple[str, ...]
    env: dict[str, str]

    def run(self, *command, check=True, env=None, timeout=300):
        """Run a command with the engine's environment; return what came of it, as text."""
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def docker(self, *args, check=True, timeout=300):
        """Run the Docker client."""
        return self.run("docker", *args, check=check, timeout=timeout)

    def inspect(self, name):
        """Return what the engine knows of a container or an image."""
        return json.loads(self.docker("inspect", name).stdout)[0]

    def build(self, name, tag, commit=COMMIT, context=ROOT):
        """Build one of the two images from a directory; return its tag."""
        build_args = (f"RENDER_GIT_COMMIT={commit}", f"PYTHON_IMAGE={self.env['PYTHON_IMAGE']}")
        options = [part for arg in build_args for part in ("--build-arg", arg)]
        self.docker(
            "build", "--file", f"{context}/Dockerfile.{name}", "--tag", tag, *options, str(context), timeout=500
        )
        return tag


def unavailable(reason):
    """Skip for want of an engine; where one is required, as in CI, fail."""
    if os.environ.get("REQUIRE_DOCKER"):
        pytest.fail(f"REQUIRE_DOCKER is set, and {reason}")
    pytest.skip(reason)


def ask(command, reason, env=None):
    """Return what a command prints, stripped; skip with the reason when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, stdin=subprocess.DEVNULL)
    if done.returncode:
        unavailable(f"{reason} {done.stderr.strip()}".strip())
    return done.stdout.strip()


def compose_command(env):
    """Return the command of Compose v2, else of docker-compose 1.29."""
    if not subprocess.run(["docker", "compose", "version"], env=env, capture_output=True, check=False).returncode:
        return ("docker", "compose")
    if not shutil.which("docker-compose", path=env["PATH"]):
        unavailable("neither Compose v2 nor docker-compose is installed")
    return ("docker-compose",)


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    client = ask([ROOT / ".ci" / "engine", "client"], "no Docker client that can build images is installed")
    ask([client, "info"], "no Docker engine answers")
    # Compose and the tests call "docker": this puts the client that can build first on the path.
    folder = tmp_path_factory.mktemp("client")
    (folder / "docker").symlink_to(client)
    env = {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "DOCKER_BUILDKIT": "1",
        "COMPOSE_DOCKER_CLI_BUILD": "1",
    }
    images = ask([ROOT / ".ci" / "base-images", "--present"], "no base images are at hand:", env)
    env.update(line.split("=", 1) for line in images.splitlines())
    return Engine(compose_command(env), env)


@dataclass(frozen=True)
class Images:
    """The tags of the two images under test."""

    app: str
    migrator: str

    def of(self, name):
        """Return the tag of the image named."""
        return getattr(self, name)


@pytest.fixture(scope="session")
def images(engine):
    run = secrets.token_hex(4)
    tags = {name: f"lockstep-test/{name}:{run}" for name in ("app", "migrator")}
    try:
        for name, tag in tags.items():
            engine.build(name, tag)
        yield Images(**tags)
    finally:
        engine.docker("image", "rm", "--force", *tags.values(), check=False)


@pytest.fixture(scope="session")
def built(engine, tmp_path_factory):
    """Build the images of a commit by its name, once: built("two")."""
    run, top, made = secrets.token_hex(4), tmp_path_factory.mktemp("commits"), {}

    def build(name):
        if name not in made:
            context = image(top, name, *commits.ALL[name])
            for part in ("Dockerfile.app", "Dockerfile.migrator", ".dockerignore"):
                shutil.copy(ROOT / part, context / part)
            for part in ("engine", "gate", "requirements"):
                shutil.copytree(ROOT / part, context / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            made[name] = Images(*(f"lockstep-test/{part}-{name}:{run}" for part in ("app", "migrator")))
            for part in ("app", "migrator"):
                engine.build(part, made[name].of(part), commit_id(name), context)
        return made[name]

    yield build
    tags = [one.of(part) for one in made.values() for part in ("app", "migrator")]
    if tags:
        engine.docker("image", "rm", "--force", *tags, check=False)


@dataclass(frozen=True)
class Stack:
    """The compose file's services, under a project name and a port of their own."""

    engine: Engine
    project: str
    env: dict[str, str]
    folder: Path
    said: list[str]  # everything that compose and the services printed

    def use(self, images):
        """Take these images from now on."""
        self.env.update({"APP_IMAGE": images.app, "MIGRATOR_IMAGE": images.migrator})

    @property
    def url(self):
        """Return where the app serves."""
        return f"http://127.0.0.1:{self.env['PORT']}"

    def compose(self, *args, override=None, check=True):
        """Run compose on the project; `override` is a dict laid over the compose file."""
        files = ["--file", "docker-compose.yml"]
        if override:
            extra = self.folder / "override.yml"
            extra.write_text(json.dumps(override))  # JSON is YAML too.
            files += ["--file", str(extra)]
        command = (*self.engine.compose_command, *files, "--project-directory", str(ROOT), *args)
        done = self.engine.run(*command, env=self.env, check=check)
        self.said.append(done.stdout + done.stderr)
        return done

    def up(self, override=None, *, check=True):
        """Bring everything up in the background, as the compose file orders it."""
        return self.compose("up", "--detach", override=override, check=check)

    def container(self, service):
        """Return what the engine knows of a service's container; None when there is none."""
        labels = (f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}")
        filters = [part for label in labels for part in ("--filter", f"label={label}")]
        found = self.engine.docker("ps", "--all", "--quiet", *filters).stdout.split()
        return self.engine.inspect(found[0]) if found else None

    def logs(self, service):
        """Return what a service has printed so far, both streams."""
        done = self.engine.docker("logs", self.container(service)["Id"])
        self.said.append(done.stdout + done.stderr)
        return self.said[-1]

    def until_healthy(self, service, seconds=120):
        """Wait until the service's own health check holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.container(service)["State"]["Health"]["Status"] == "healthy":
                return
            time.sleep(0.25)
        pytest.fail(f"{service} did not become healthy:\n{self.logs(service)}")


@contextlib.contextmanager
def stack_of(engine, images, folder):
    """Have the compose file's services under a name of their own; in the end no password is in anything they said."""
    env = {
        "COMPOSE_PROJECT_NAME": f"locksteptest{secrets.token_hex(4)}",
        "PORT": str(free_port()),
        "POSTGRES_PASSWORD": secrets.token_hex(8),
        "APP_PASSWORD": secrets.token_hex(8),
    }
    stack = Stack(engine, env["COMPOSE_PROJECT_NAME"], env, folder, [])
    stack.use(images)
    try:
        yield stack
        stack.compose("logs", "--no-color", check=False)
        for secret in (env["POSTGRES_PASSWORD"], env["APP_PASSWORD"]):
            assert not [text for text in stack.said if secret in text], "a password is in a log"
    finally:
        stack.compose("down", "--volumes", "--timeout", "5", check=False)


@pytest.fixture
def stack(engine, images, tmp_path):
    with stack_of(engine, images, tmp_path) as made:
        yield made
