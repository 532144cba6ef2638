"""Every command of an `sh` block is run here, or stands below with the reason why not."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from tests.docs.pages import page, pages
from tests.local.rig import until
from tests.ports import free_port

ADOPT = "MIGRATOR_DATABASE_URL=postgresql://… migrator upgrade --config path/to/alembic.ini"
RUN = {"make up", "make help", "make format", ADOPT}
ELSEWHERE = {
    "pip install dist/lockstep-*.whl dist/lockstep_gate-*.whl": "tests/adopt installs them in an empty environment",
    "make test": "runs this",
    'make test args="-k lock"': "runs this",
    "make story": "tests/story runs the same code, with its outcome asserted",
    "make check": "is run on the tree itself by .ci/run; here it would judge a copy",
}
# Pages whose commands need what no test has.
PLACES = {"docs/deploy-render.md": "a Render account"}


def test_every_command_is_run_or_is_named_with_the_reason():
    written = {text for each in pages() if each.name not in PLACES for text in each.commands()}
    assert written == RUN | set(ELSEWHERE)


def environment(clone, **more):
    return {**os.environ, "HOME": str(clone.parent / "home"), **more}


def make(clone, *arguments, **more):
    """Run a target to its end."""
    done = subprocess.run(
        ["make", *arguments],
        cwd=clone,
        env=environment(clone, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class Up:
    """A `make up` that runs until it is interrupted, as with Ctrl-C."""

    def __init__(self, clone):
        self.port, self.log = free_port(), clone.parent / "up.txt"
        self._file = self.log.open("w")
        self.process = subprocess.Popen(
            ["make", "up"],
            cwd=clone,
            env=environment(clone, PORT=str(self.port)),
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self):
        until(lambda: "ready on" in self.text or self.process.poll() is not None)
        assert "ready on" in self.text, self.text
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            self.process.wait(60)
        self._file.close()

    @property
    def text(self):
        return self.log.read_text()

    def ask(self, path, body=None):
        """Send a request; return the answer's JSON."""
        data = json.dumps(body).encode() if body else None
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return json.load(answer)


def plain(text):
    """Numbers out, and the columns they were in: what is left is the same on every machine."""
    return [" ".join(re.sub(r"\b[0-9a-f]{12}\b|[\d.]+", "0", line).split()) for line in text.strip().splitlines()]


@pytest.mark.slow
def test_a_new_user_starts_it_writes_a_user_changes_a_model_and_finds_the_user_again(clone):
    with Up(clone) as first:
        ada = first.ask("/users", {"email": "ada@example.org", "name": "Ada"})
    printed = iter(plain(first.text))
    for line in plain(page("README.md").blocks("text")[0]):
        assert line in printed, f"not printed, or not in this order: {line}\n{first.text}"
    assert "all       stopped; the data is kept" in first.text

    models = clone / "app" / "storage" / "models.py"
    email = "    email: Mapped[str] = mapped_column(Text, unique=True)\n"
    nickname = "    nickname: Mapped[str | None] = mapped_column(Text)\n"
    models.write_text(models.read_text().replace(email, email + nickname))
    said = make(clone, "migration", "m=add nickname")
    assert re.search(r"^wrote +migrator/versions/\S+_add_nickname\.py$", said, re.MULTILINE)
    assert models.read_text() == (clone / "migrator" / "models.py").read_text()

    with Up(clone) as second:
        assert second.ask(f"/users/{ada['id']}")["email"] == "ada@example.org"
    assert re.search(r"^applied +add_nickname ", second.text, re.MULTILINE)
    assert "thrown away" in make(clone, "reset")
    assert not list((clone.parent / "home").iterdir())


def test_help_lists_the_targets_and_format_leaves_a_formatted_file_alone(clone):
    assert "make up" in make(clone, "help")
    before = (clone / "app" / "gate.py").read_text()
    make(clone, "format")
    assert (clone / "app" / "gate.py").read_text() == before


def test_the_engine_runs_on_a_project_that_alembic_made(db, tmp_path):
    """The command as it is written, its two placeholders filled in."""
    ini = tmp_path / "path" / "to" / "alembic.ini"
    ini.parent.mkdir(parents=True)
    command.init(Config(str(ini), stdout=io.StringIO()), str(ini.parent / "alembic"))
    revision = 'revision = "a1"\ndown_revision = None\nfrom alembic import op\n'
    revision += 'def upgrade():\n    op.execute("CREATE TABLE things (id int)")\n'
    (ini.parent / "alembic" / "versions" / "a1_first.py").write_text(revision)
    line = ADOPT.replace("postgresql://…", db.url).replace(
        " migrator", f" {Path(sys.executable).with_name('migrator')}"
    )
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "done: 1 applied, the database is at a1 (safe to run again)"
    assert db.columns("things") == ["id"]
