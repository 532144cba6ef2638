"""An upgrade with nothing to do as a process: the driver's core alone, an early end, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import quote

import psycopg2
import pytest
from sqlalchemy import make_url

from tests.migrator.test_quick import DONE, HEAD, copy, execute, prepared  # noqa: F401 - its fixtures

QUICK = (
    "import os, sys; from lockstep.upgrade import quick; code = quick.answer(['upgrade']); "
    "print(code, 'psycopg2' in sys.modules, os.environ.get('PGPASSWORD'), file=sys.stderr)"
)
REST = """
import sys
from lockstep.postgres import driver
core = driver.core()
assert not {"psycopg2", "ssl", "re", "json"} & set(sys.modules)
driver.complete()
import decimal, ssl, psycopg2, psycopg2.errors, psycopg2.extras, psycopg2.sql
assert psycopg2._psycopg is core and ssl.OPENSSL_VERSION
from sqlalchemy import create_engine, exc, make_url, text
url = make_url(sys.argv[1]).set(drivername="postgresql+psycopg2")
with create_engine(url).connect() as connection:
    print(connection.execute(text("SELECT 1.5, '{\\"a\\": 1}'::jsonb, int4range(1, 3)")).one())
    cursor = connection.connection.cursor()
    cursor.execute("SELECT %s, %s, %s", (decimal.Decimal("1.5"), (1, 2)[:1], psycopg2.extras.Json({"a": None})))
    try:
        connection.execute(text("SELECT 1 FROM nowhere"))
    except exc.ProgrammingError as error:
        assert type(error.orig) is psycopg2.errors.UndefinedTable
"""


def test_the_rest_of_the_process_finds_the_driver_whole(copy):  # noqa: F811 - a fixture
    done = copy.python("-W", "error", "-c", REST, copy.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "(Decimal('1.5'), {'a': 1}, NumericRange(1, 3, '[)'))\n"


@pytest.mark.parametrize("password", ["it's", "back\\slash", "two words", "%40é/?#:@", "='"])
def test_a_password_of_any_characters_and_nothing_of_it_stays(copy, execute, password):  # noqa: F811 - fixtures
    role = f"odd_{os.getpid()}"
    execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD %s", password)
    try:
        url = make_url(copy.url)
        given = f"postgresql://{role}:{quote(password, safe='')}@{url.host}:{url.port}/{url.database}"
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(given.replace(f":{quote(password, safe='')}@", ":wrong@"))
        said = copy.python("-c", QUICK, MIGRATOR_DATABASE_URL=given)
        assert said.stderr == "None False None\n"  # of other rights than the run before: for the whole way to look at
        assert copy.upgrade(MIGRATOR_DATABASE_URL=given)[:2] == (False, 0)
        said = copy.python("-c", QUICK, MIGRATOR_DATABASE_URL=given)
        assert (said.stdout, said.stderr) == (DONE.format(HEAD), "0 False None\n")
        said = copy.python("-c", QUICK, MIGRATOR_DATABASE_URL=given, PGPASSWORD="another")
        assert (said.stdout, said.stderr) == (DONE.format(HEAD), "0 False another\n")
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
    assert copy.run("upgrade")[:2] == (0, DONE.format(HEAD) + "at the end\n")


def test_what_a_pool_of_threads_has_to_do_at_the_end_is_done(copy):  # noqa: F811 - a fixture
    (copy.top / "sitecustomize.py").write_text(
        "import concurrent.futures as c, time\n"
        "c.ThreadPoolExecutor().submit(lambda: (time.sleep(1), print('at the end', flush=True)))\n"
    )
    assert copy.run("upgrade")[:2] == (0, DONE.format(HEAD) + "at the end\n")


def _started(made, *words):
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(made.top), "MIGRATOR_DATABASE_URL": made.url}
    line = ["sh", "-c", " ".join(words)]
    return subprocess.run(line, env=env, cwd=made.top, capture_output=True, text=True, timeout=60, check=False)
