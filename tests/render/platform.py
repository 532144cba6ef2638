"""A stand-in for Render: what its documentation says of builds, pre-deploys, rollouts and jobs, with real processes.

A commit is a directory with `app/` and `migrator/` in it, as an image would hold them. Services are read from a
Blueprint. Nothing here knows of the database: the processes do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import yaml

from tests import forks
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
REPO = "https://github.com/example/lockstep"
OWNER = "tea-0123456789abcdefghij"
PATIENCE_S = 60
TYPES = {"web": "web_service", "cron": "cron_job", "worker": "background_worker", "pserv": "private_service"}
UNDER_WAY = ("created", "queued", "build_in_progress", "pre_deploy_in_progress", "update_in_progress")


def until(seen, what, seconds=PATIENCE_S):
    """Return the first true value of `seen()`; fail after a while, saying for what."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := seen():
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {what() if callable(what) else what}")


def commit_id(name):
    """Return the 40 hexadecimal digits of a commit that tests call by a name."""
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


def now():
    return dt.datetime.now(dt.UTC)


def image(top, name, revisions=(), models=None):
    """Write what the images of a commit hold; return the directory."""
    target = top / commit_id(name)
    for part in ("app", "migrator"):
        shutil.copytree(ROOT / part, target / part, ignore=shutil.ignore_patterns("*.pyc.*", ".*"))
    for revision_name, text in revisions:
        (target / "migrator" / "versions" / f"{revision_name}.py").write_text(text)
    if models:
        text = models((ROOT / "app" / "storage" / "models.py").read_text())
        (target / "app" / "storage" / "models.py").write_text(text)
        (target / "migrator" / "models.py").write_text(text)
    return target


class Program:
    """A process and all it says."""

    def __init__(self, words, directory, env, on_line=lambda _line: None):
        self.words, self.lines, self._on_line = words, [], on_line
        # What the platform's images have on their PATH.
        heads = {"python": [sys.executable], "migrator": [sys.executable, "-m", "migrator"]}
        start = forks.Popen if words[0] in heads else subprocess.Popen
        self.process = start(
            [*heads.get(words[0], words[:1]), *words[1:]],
            cwd=directory,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(directory), "PYTHONUNBUFFERED": "1", **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stdout:
            for line in self.process.stdout:
                self.lines.append(line.rstrip("\n"))
                self._on_line(line.rstrip("\n"))

    @property
    def text(self):
        return "\n".join(self.lines)

    def wait(self, seconds=PATIENCE_S):
        code = self.process.wait(seconds)
        self._reader.join(PATIENCE_S)
        return code

    def terminate(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self):
        self.terminate(signal.SIGKILL)
        self.wait(10)


@dataclasses.dataclass
class Deploy:
    id: str
    commit: str
    trigger: str = "new_commit"
    status: str = "created"
    created: dt.datetime = dataclasses.field(default_factory=now)
    log: list = dataclasses.field(default_factory=list)
    predeploy: Program | None = None
    canceled: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def text(self):
        return "\n".join(self.log)


@dataclasses.dataclass
class Job:
    id: str
    service: str
    command: str
    commit: str
    created: dt.datetime = dataclasses.field(default_factory=now)
    status: str | None = None
    started: dt.datetime | None = None
    finished: dt.datetime | None = None
    lines: list = dataclasses.field(default_factory=list)  # (id, time, text)
    program: Program | None = None

    @property
    def text(self):
        return "\n".join(line[2] for line in self.lines)


class Service:
    """One service of the Blueprint, with its deploys (the newest first) and the instance that serves."""

    def __init__(self, written, number):
        self.written = written
        prefix = "crn" if written["type"] == "cron" else "srv"
        self.id = f"{prefix}-{number:020d}"
        self.name, self.type, self.branch, self.repo = written["name"], written["type"], written["branch"], REPO
        self.env = {}
        self.suspended = False
        self.deploys = []
        self.instance = None
        self.url = ""
        self.outcomes = {}  # commit -> what becomes of its build: a status, an event to wait for, or "skipped"
        self.waiting = None  # the newest push that came while a deploy was under way
        self.policy = "wait"

    @property
    def live(self):
        return next((deploy for deploy in self.deploys if deploy.status == "live"), None)

    @property
    def current(self):
        return next((deploy for deploy in self.deploys if deploy.status in UNDER_WAY), None)

    def of(self, commit):
        """Return the newest deploy of a commit."""
        return next((deploy for deploy in self.deploys if deploy.commit == commit_id(commit)), None)


class Platform:
    """Render, as far as this project leans on it."""

    def __init__(self, directory, blueprint=ROOT / "render.yaml", images=None):
        self.directory = directory
        self.images = dict(images or {})  # commit -> directory
        self.key = "rnd_5tandInKeyOfTheTests0123456789"
        self.keys = {self.key}
        self.url = ""  # the API's, once it is served
        self._numbers = itertools.count(1)
        written = yaml.safe_load(blueprint.read_text())["services"]
        self.services = {one["name"]: Service(one, next(self._numbers)) for one in written}
        self.jobs = []
        self.job_starts = threading.Event()
        self.job_starts.set()
        self.job_delay_s = 0.0
        self.job_log_s = 0.0
        self.has_logs = True
        self.jobs_shown_as = None  # what the API says of every job that has been started, whatever became of it
        self.shutdown_gap_s = 0.1  # Render: 60 s between the switch of traffic and SIGTERM
        self.start_limit_s = 60  # Render: 15 minutes
        self.unhealthy = 0  # the last answer of a health check that was not a yes
        self.mutex = threading.RLock()
        self.programs = []
        self.said = []  # everything any process said
        self._threads = []

    @property
    def app(self):
        return self.services["app"]

    @property
    def migrator(self):
        return self.services["migrator"]

    def id(self, prefix):
        return f"{prefix}-{next(self._numbers):020d}"

    def configure(self, name, **variables):
        """Set a service's variables; every one that its Blueprint asks for has to be there in the end."""
        service = self.services[name]
        for item in service.written["envVars"]:
            if "value" in item:
                service.env.setdefault(item["key"], item["value"])
        service.env |= variables

    # Commits

    def commit(self, name, revisions=(), models=None):
        """Write a commit: the project as it is, with more revisions and other models if told so."""
        self.images[commit_id(name)] = image(self.directory, name, revisions, models)

    def push(self, name, *services):
        """Push a commit: every service deploys it."""
        for service in services or self.services:
            self.deploy(self.services[service], commit_id(name), "new_commit")

    # Deploys

    def deploy(self, service, commit, trigger="manual"):
        """Ask for a deploy; return it, or None where it waits behind one that is under way."""
        with self.mutex:
            if service.outcomes.get(commit) == "skipped" and trigger == "new_commit":
                return None
            current = service.current
            if current and service.policy == "wait":
                service.waiting = (commit, trigger)
                return None
            if current:
                current.canceled.set()
                if current.predeploy:
                    current.predeploy.terminate()
                current.status = "canceled"
            deploy = Deploy(self.id("dep"), commit, trigger)
            service.deploys.insert(0, deploy)
        self._thread(lambda: self._roll(service, deploy))
        return deploy

    def _thread(self, work):
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _roll(self, service, deploy):
        try:
            self._steps(service, deploy)
        finally:
            with self.mutex:
                waiting, service.waiting = service.waiting, None
            if waiting:
                self.deploy(service, *waiting)

    def _status(self, deploy, status):
        if deploy.canceled.is_set():
            return False
        deploy.status = status
        return True

    def _steps(self, service, deploy):
        self._status(deploy, "build_in_progress")
        outcome = service.outcomes.get(deploy.commit)
        if isinstance(outcome, threading.Event):
            outcome.wait(PATIENCE_S)
        elif outcome:
            self._status(deploy, outcome)
            return
        command = service.written.get("preDeployCommand")
        if command and not self._predeploy(service, deploy, command):
            return
        if service.type == "web" and not self._start(service, deploy):
            return
        with self.mutex:
            if self._status(deploy, "live"):
                for other in service.deploys:
                    if other is not deploy and other.status == "live":
                        other.status = "deactivated"

    def _predeploy(self, service, deploy, command):
        if not self._status(deploy, "pre_deploy_in_progress"):
            return False
        deploy.predeploy = self._run(command.split(" "), service, deploy.commit, deploy.log.append)
        code = deploy.predeploy.wait(PATIENCE_S * 2)
        if code:
            self._status(deploy, "pre_deploy_failed")
        return code == 0

    def _start(self, service, deploy):
        """Start an instance, and let it take over once it is healthy; else keep the one that serves."""
        self._status(deploy, "update_in_progress")
        port = free_port()
        env = {"HOST": "127.0.0.1", "PORT": str(port)}
        instance = self._run(["python", "-m", "app"], service, deploy.commit, deploy.log.append, env)
        url = f"http://127.0.0.1:{port}"
        if not self._healthy(instance, url + service.written["healthCheckPath"]):
            instance.terminate()
            self._status(deploy, "update_failed")
            return False
        old, service.instance, service.url = service.instance, instance, url
        if old:
            time.sleep(self.shutdown_gap_s)
            old.terminate()
        return True

    def _healthy(self, instance, url):
        began = time.monotonic()
        with httpx.Client(trust_env=False, timeout=60) as client:
            while time.monotonic() < began + self.start_limit_s and instance.process.poll() is None:
                with contextlib.suppress(httpx.HTTPError):
                    status = client.get(url, timeout=5).status_code
                    if status < 400:
                        return True
                    self.unhealthy = status
                time.sleep(0.05)
        return False

    def _run(self, words, service, commit, on_line, env=None):
        variables = {
            "RENDER": "true",
            "RENDER_GIT_COMMIT": commit,
            "RENDER_GIT_BRANCH": service.branch,
            "RENDER_GIT_REPO_SLUG": "example/lockstep",
            "RENDER_SERVICE_ID": service.id,
            "RENDER_SERVICE_NAME": service.name,
            "RENDER_SERVICE_TYPE": service.type,
            "IS_PULL_REQUEST": "false",
            "IMAGE_COMMIT": commit,  # baked in by the Dockerfile
            **service.env,
            **(env or {}),
        }

        def line(text):
            self.said.append(text)
            on_line(text)

        program = self._start_process(words, service, commit, variables, line)
        self.programs.append(program)
        return program

    def _start_process(self, words, _service, commit, variables, line):
        return Program(words, self.images[commit], variables, line)

    # Jobs

    def start_job(self, service, command):
        """Start a job on the newest build of a service, as it is now; None where there is none yet."""
        live = service.live
        if live is None:
            return None
        job = Job(self.id("job"), service.id, command, live.commit)
        self.jobs.insert(0, job)
        self._thread(lambda: self._job(service, job))
        return job

    def _job(self, service, job):
        time.sleep(self.job_delay_s)
        self.job_starts.wait(PATIENCE_S)
        if job.status == "canceled":
            return

        def line(text):
            job.lines.append((self.id("log"), now(), text))

        job.program = self._run(job.command.split(" "), service, job.commit, line)
        job.status, job.started = "running", now()
        code = job.program.wait(PATIENCE_S * 2)
        job.finished = now()
        job.status = "succeeded" if code == 0 else "failed"

    # For the tests

    def settled(self, service, commit):
        """Wait for the end of a commit's newest deploy; return it."""

        def over():
            deploy = service.of(commit)
            return deploy if deploy and deploy.status not in UNDER_WAY else None

        return until(over, lambda: f"{service.name} of {commit}: {service.of(commit)}\n{self.text}")

    def done(self, job):
        """Wait for the end of a job."""
        until(lambda: job.status in ("succeeded", "failed", "canceled"), lambda: job.text)

    @property
    def text(self):
        return "\n".join(self.said)

    @property
    def command_lines(self):
        """What a list of processes would have shown of every process there was."""
        return "\n".join(" ".join(program.process.args) for program in self.programs)

    def close(self):
        self.job_starts.set()
        for program in self.programs:
            program.terminate()
        for program in self.programs:
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(5)
            program.stop()
        for thread in self._threads:
            thread.join(10)
