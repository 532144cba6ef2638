"""The local order, on the same commits as the stand-in's: what comes of each event is what comes of it on Render."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading

import httpx
import pytest

from tests.ports import free_port
from tests.render import commits
from tests.render.platform import ROOT, commit_id, image, until

STOP_S = 60


class Local:
    """`make up` on one directory, with the images of a commit."""

    def __init__(self, directory, images):
        self.directory, self.images, self.port, self.said = directory, images, free_port(), []

    def inside(self, name):
        """Return how a shell runs Python in the image of a commit."""
        image = self.images[commit_id(name)]
        return f"cd {image} && PYTHONPATH=$PWD IMAGE_COMMIT={commit_id(name)} exec {sys.executable}"

    @contextlib.contextmanager
    def up(self, name, migrator=None):
        """Run the order; yields once it serves or has ended: the process."""
        inside = self.inside(name)
        words = ("--migrator", migrator or f'sh -c "{inside} -m migrator upgrade"', "--app", f'sh -c "{inside} -m app"')
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "--directory", self.directory, "up", "--port", str(self.port), *words],
            cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        reader = threading.Thread(target=lambda: self.said.extend(process.stdout), daemon=True)
        first = len(self.said)
        reader.start()

        def settled():
            if process.poll() is not None:
                reader.join(STOP_S)  # what it said last arrives after its end
                return True
            return any("ready on" in line for line in self.said[first:])

        try:
            until(settled, lambda: "".join(self.said))
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(STOP_S)
            reader.join(5)
            process.stdout.close()

    def two_at_once(self, name):
        """Run the migrator of a commit twice, both begun before either ends; return what each said."""
        words = [sys.executable, "-m", "local", "--directory", self.directory, "run", "--", "sh", "-c"]
        twice = f"({self.inside(name)} -m migrator upgrade) & ({self.inside(name)} -m migrator upgrade); wait"
        done = subprocess.run(
            [*words, twice], cwd=ROOT, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        self.said.append(done.stdout + done.stderr)
        return done.stdout

    def passwords(self):
        """Return the passwords that the first start made up."""
        return json.loads((self.directory / "passwords.json").read_text()).values()

    def leave_the_last_report_fresh(self):
        """As an instance does that was killed rather than stopped."""
        code = (
            "import os, psycopg2; c = psycopg2.connect(os.environ['DATABASE_URL']); c.autocommit = True; "
            "c.cursor().execute('UPDATE migrator.instance SET ended = NULL, seen = now()')"
        )
        words = ("-m", "local", "--directory", self.directory, "run", "--", sys.executable, "-c", code)
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdin=subprocess.DEVNULL, capture_output=True)

    def get(self, path):
        with httpx.Client(trust_env=False, timeout=60) as client:
            return client.get(f"http://127.0.0.1:{self.port}{path}")

    @property
    def text(self):
        return "".join(self.said)


@pytest.fixture
def local(tmp_path, images):
    images = {
        **images,
        commit_id("bad"): image(tmp_path, "bad", commits.FAILS, commits.with_nickname),
        commit_id("less"): image(tmp_path, "less", commits.DROP, commits.without_phone_number),
    }
    made = Local(tmp_path / "local", images)
    yield made
    passwords = made.passwords()
    assert len(passwords) == 3
    assert not [password for password in passwords if password in made.text], "a password is in a log"


@pytest.mark.slow
def test_success_nothing_to_do_failures_two_at_once_a_newer_one_and_a_rollback(local):
    with local.up("one") as process:
        assert process.poll() is None, local.text
        assert local.get("/readyz").status_code == 200
    with local.up("one") as process:
        assert process.poll() is None
        assert "nothing to do" in local.text
    with local.up("bad") as process:
        assert process.poll() == 4, local.text
        assert "failed with exit code 4; the app is not started" in local.text
    with local.up("two", migrator="/no/such/migrator") as process:
        assert process.poll() not in (None, 0), local.text
        assert "cannot run /no/such/migrator" in local.text
    said = local.two_at_once("two")
    assert said.count("applied    add_nickname") == 1
    assert said.count("nothing to do") == 1
    with local.up("two") as process:
        assert process.poll() is None, local.text
        assert local.get("/version").json()["commit"] == commit_id("two")
    with local.up("one") as process:  # a rollback: the schema is ahead, and serves it
        assert process.poll() is None, local.text
        assert local.get("/readyz").status_code == 200


def test_a_database_that_does_not_answer_keeps_the_app_from_starting(local):
    inside = local.inside("one").replace(
        "exec", "MIGRATOR_DATABASE_URL=postgresql://m@127.0.0.1:1/x MIGRATOR_WAIT=0s exec"
    )
    with local.up("one", migrator=f'sh -c "{inside} -m migrator upgrade"') as process:
        assert process.poll() == 5, local.text
        assert "failed with exit code 5; the app is not started" in local.text


def test_a_drop_is_deferred_while_the_old_release_may_still_serve(local):
    with local.up("one") as process:
        assert process.poll() is None, local.text
    local.leave_the_last_report_fresh()
    with local.up("less") as process:
        assert process.poll() is None, local.text
        assert "deferred   drop_phone_number" in local.text
        assert local.get("/readyz").status_code == 200
    with local.up("less") as process:
        assert process.poll() is None, local.text
