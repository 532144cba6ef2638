"""An upgrade with nothing to do as a process: how it ends, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import quote

import psycopg2
import pytest
from sqlalchemy import make_url

from tests.migrator.test_look import DONE, HEAD, copy, execute, prepared  # noqa: F401 - its fixtures

LOOKED = (
    "import os, sys; from lockstep import cli; code = cli.main(['upgrade']); "
    "print(code, 'alembic' in sys.modules, os.environ.get('PGPASSWORD'), file=sys.stderr)"
)


def test_a_password_of_any_characters_and_nothing_of_it_stays(copy, execute):  # noqa: F811 - fixtures
    role, url = f"odd_{os.getpid()}", make_url(copy.url)
    execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'plain'")

    def given(password):
        return f"postgresql://{role}:{quote(password, safe='')}@{url.host}:{url.port}/{url.database}"

    try:
        assert copy.upgrade(MIGRATOR_DATABASE_URL=given("plain"))[:2] == (False, 0)  # of other rights than before
        for password in ("it's", "back\\slash", "two words", "%40é/?#:@", "='"):
            execute(f"ALTER ROLE {role} PASSWORD %s", password)
            with pytest.raises(psycopg2.OperationalError):
                psycopg2.connect(given("wrong"))
            said = copy.python("-c", LOOKED, MIGRATOR_DATABASE_URL=given(password))
            assert (said.stdout, said.stderr) == (DONE.format(HEAD), "0 False None\n"), password
            said = copy.python("-c", LOOKED, MIGRATOR_DATABASE_URL=given(password), PGPASSWORD="another")
            assert (said.stdout, said.stderr) == (DONE.format(HEAD), "0 False another\n"), password
    finally:
        execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("shell", ["", ">&-", "2>&-", "<&-", ">&- 2>&- <&-", ">/dev/full", ">/dev/full 2>/dev/full"])
def test_the_process_ends_well_with_nobody_to_talk_to(copy, execute, shell):  # noqa: F811 - fixtures
    [(before,)] = execute("SELECT count(*) FROM migrator.run")
    done = _started(copy, "exec", sys.executable, "-m", "migrator", "upgrade", shell)
    assert (done.returncode, done.stdout) == (0, "" if ">" in shell.replace("2>", "") else DONE.format(HEAD))
    assert execute("SELECT count(*) FROM migrator.run") == [(before + 1,)]


def test_what_another_tool_wants_done_at_the_end_is_done(copy):  # noqa: F811 - a fixture
    (copy.top / "sitecustomize.py").write_text("import atexit\natexit.register(print, 'at the end')\n")
    done = copy.python("-m", "migrator", "upgrade")
    assert (done.returncode, done.stdout) == (0, DONE.format(HEAD) + "at the end\n")


def test_what_a_pool_of_threads_has_to_do_at_the_end_is_done(copy):  # noqa: F811 - a fixture
    (copy.top / "sitecustomize.py").write_text(
        "import concurrent.futures as c, time\n"
        "c.ThreadPoolExecutor().submit(lambda: (time.sleep(1), print('at the end', flush=True)))\n"
    )
    done = copy.python("-m", "migrator", "upgrade")
    assert (done.returncode, done.stdout) == (0, DONE.format(HEAD) + "at the end\n")


def _started(made, *words):
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(made.top), "MIGRATOR_DATABASE_URL": made.url}
    line = ["sh", "-c", " ".join(words)]
    return subprocess.run(line, env=env, cwd=made.top, capture_output=True, text=True, timeout=60, check=False)
