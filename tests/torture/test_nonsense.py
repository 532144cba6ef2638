"""Nonsense: whatever is read from outside, the answer is one clear line and its code, and nothing was changed.

Settings, URLs, models and env.py have tests of their own; here are corpora over revision files, alembic.ini, variables,
and the ledger's rows edited by hand.
"""

# ruff: noqa: E501 - a corpus is read by the line
import json

import psycopg2
import pytest

from lockstep import settings
from lockstep.errors import Usage
from tests.torture import state

SECRET = "hunter2hunter2"
GOOD = """'''add a column'''
from alembic import op
revision = 'b2'
down_revision = 'a1'
branch_labels = None
depends_on = None

def upgrade():
    op.execute('ALTER TABLE t ADD COLUMN n int')

def downgrade():
    op.execute('ALTER TABLE t DROP COLUMN n')
"""
LINE = "    op.execute('ALTER TABLE t ADD COLUMN n int')"


def look(db):
    return state.dump(db._look, "app")


def wrong_with(done, codes, what):
    """Return what is wrong with how a run answered nonsense."""
    wrong = []
    if done.code not in codes:
        wrong.append(f"exit {done.code}, not {sorted(codes)}")
    if "Traceback" in done.text or SECRET in done.text:
        wrong.append("a traceback or a secret")
    if done.code and not done.last.endswith(")"):
        wrong.append("no last line with the code")
    if done.code and f"(exit {done.code}; " not in done.last:
        wrong.append("no last line with the code")
    return [f"{what!r}: {'; '.join(wrong)}\n    {done.text.strip()[-400:]}"] if wrong else []


@pytest.fixture
def there(db, project, run):
    """A database with one revision applied and a row in it."""
    project.sql("a1", "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    assert run("upgrade", project=project).code == 0
    return db


def files():
    """Return texts of a revision file, none of which can be applied."""
    cuts = [GOOD[:end] for end in range(1, GOOD.index("def upgrade") + 40, 9)]
    values = ["None", "1", "[]", "{}", "b'b2'", "''", "'a1'", "'x' * 300", "object()", "lambda: 1", "('b2',)"]
    names = [GOOD.replace("revision = 'b2'", f"revision = {value}", 1) for value in values]
    parents = [
        "1",
        "'b2'",
        "'nowhere'",
        "('nowhere',)",
        "{}",
        "b'a1'",
        "['a1', 'nowhere']",
        "object()",
        "''",
        "('b2',)",
    ]
    names += [GOOD.replace("down_revision = 'a1'", f"down_revision = {value}") for value in parents]
    names += [GOOD.replace("depends_on = None", f"depends_on = {value}") for value in ("'nowhere'", "1", "'b2'")]
    at_import = [
        "import sys; sys.exit(0)", "import sys; sys.exit('bye')", "raise SystemExit", "raise KeyError('x')", "1 / 0",
        "raise RecursionError", "raise MemoryError", "raise GeneratorExit", "import nowhere", "from alembic import nothing",
        "op.execute('DROP TABLE t')", "raise Exception('a\\nb\\x1b[31mc')",
        f"raise ValueError('postgresql://u:{SECRET}@h/d')", "exec('def')", "class A(B): pass", "assert False", "yield",
        "return 1", "await x", "'\\ud800'.encode()", "import os; os.close(99)", "del revision", "(" * 150,
    ]  # fmt: skip
    at_import = [GOOD.replace("branch_labels = None", f"branch_labels = None\n{line}") for line in at_import]
    inside = [
        "raise ValueError", "raise SystemExit(0)", "exit()", "1 / 0", "op.execute('nonsense')", "op.execute('COMMIT'); op.execute('SELECT 1 INTO u')",
        "op.execute('ROLLBACK')", "op.execute('ALTER TABLE t ADD n int; COMMIT; BEGIN')", "op.execute(None)", "op.execute(1)",
        "op.nothing()", "op.get_bind().commit(); op.execute('SELECT 1 INTO u')", "op.get_bind().close()",
        "op.execute('SELECT 1 FROM nowhere')", "op.execute('ABORT')",
        "op.execute('PREPARE TRANSACTION $$x$$')", "op.execute('ROLLBACK AND CHAIN')", "op.execute('END')",
        "op.add_column('t', None)", "op.execute('SELECT pg_terminate_backend(pg_backend_pid())')",
        "op.execute('SELECT pg_cancel_backend(pg_backend_pid())')", "op.execute('\\x00')", "op.execute('SELECT 1/0')",
        "raise RecursionError", "raise MemoryError", "raise KeyboardInterrupt", "raise GeneratorExit",
        "yield", "op.execute('VACUUM t')",

        f"op.execute(\"ALTER ROLE nobody PASSWORD '{SECRET}'\")", "op.execute(\"SELECT '\\udcff'\")",
        "op.execute('DROP SCHEMA migrator CASCADE')",
        "op.execute('TRUNCATE migrator.alembic_version')", "op.execute('SELECT pg_advisory_unlock_all()'); 1 / 0",
    ]  # fmt: skip
    inside = [GOOD.replace(LINE, "    " + line) for line in inside]
    whole = [
        "",
        "\x00",
        "\x0c",
        "#",
        "'",
        "revision = 'b2'",
        "{",
        "%PDF-1.4",
        "<?xml?>",
        "import this as",
        GOOD * 2 + "(",
    ]
    functions = [GOOD.replace("def upgrade", "def upgrate"), GOOD.replace("def upgrade()", "def upgrade(a, b)")]
    functions += [GOOD.replace("def upgrade", "async def upgrade")]
    functions += [GOOD + f"\nupgrade = {value}\n" for value in ("None", "1", "'x'", "[]")]
    return list(dict.fromkeys([*cuts, *names, *at_import, *inside, *whole, *functions]))


@pytest.mark.slow
def test_a_revision_file_of_any_content(there, project, run):
    before, wrong = look(there), []
    path = project.versions / "b2_b2.py"
    texts = files()
    for text in texts:
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        done = run("upgrade", project=project, MIGRATOR_DEADLINE="20s")
        changed = look(there) != before
        # A cut-off file may still be one without a step, or none at all for Alembic: then it says so or has nothing to do.
        wrong += wrong_with(done, {0, 1, 2, 4, 5, 130} if not changed else {-1}, text)
        if changed:
            break
    assert not wrong, f"{len(wrong)} of {len(texts)}\n" + "\n".join(wrong)


def test_bytes_that_are_no_text(there, project, run):
    before, wrong = look(there), []
    for data in (
        b"\xff\xfe\x00",
        "é = 1\nrevision = 'ü'".encode("latin-1"),
        b"# coding: nonsense\n",
        bytes(range(256)),
        b"\0" * 4096,
    ):
        (project.versions / "b2_b2.py").write_bytes(data)
        wrong += wrong_with(run("upgrade", project=project), {1, 4}, data)
    (project.versions / "b2_b2.py").unlink()
    (project.versions / "b2_b2.py").symlink_to(project.versions / "nowhere.py")
    wrong += wrong_with(run("upgrade", project=project), {1, 4}, "a link to nowhere")
    assert not wrong, "\n".join(wrong)
    assert look(there) == before


INIS = [
    "", "[", "[alembic", "alembic]", "[alembic]", "[alembic]\n", "script_location = x", "[alembic]\nscript_location",
    "[alembic]\nscript_location =", "[alembic]\nscript_location = /nowhere", "[alembic]\nscript_location = %(nowhere)s",
    "[alembic]\nscript_location = %", "[alembic]\nscript_location = %(here)s", "[other]\na = b", "\x00", "{}", "---\na: b",
    "[alembic]\n[alembic]\n", "[alembic]\na = 1\na = 2", "[alembic]\nscript_location = nowhere:here",
    "[alembic]\nscript_location = %(here)s/alembic\nversion_locations = /nowhere\npath_separator = nonsense",
    "[alembic]\nscript_location = %(here)s/alembic\ntimezone = Mars/Olympus\npath_separator = os\nmodels = /nowhere.py",
    "[alembic]\nscript_location = %(here)s/alembic\npath_separator = os\nmodels = %(here)s/alembic.ini",
    "[alembic]\nscript_location = %(here)s/alembic\npath_separator = os\nmodels = %(here)s",
    "[alembic]\nscript_location = %(here)s/alembic\npath_separator = os\nfile_template = %%(nonsense)s\nmodels = .",
    "<?xml version='1.0'?>", "\ufeff", "= = =", "[alembic]\n = x", "]" * 50, "[alembic]\nscript_location = ~nobody/x",
]  # fmt: skip


def test_an_alembic_ini_of_any_content(there, project, run):
    before, wrong = look(there), []
    project.sql("b2", "ALTER TABLE t ADD COLUMN n int")
    for text in INIS:
        project.ini.write_text(text)
        wrong += wrong_with(run("upgrade", project=project), {1, 2, 4}, text)
    for data in (b"\xff\xfe", b"[alembic]\nscript_location = \xe4", bytes(range(256))):
        project.ini.write_bytes(data)
        wrong += wrong_with(run("upgrade", project=project), {1, 2, 4}, data)
    assert not wrong, f"{len(wrong)} of {len(INIS) + 3}\n" + "\n".join(wrong)
    assert look(there) == before


NUMBERS = [
    "-1", "nan", "inf", "1e9", "5 parsecs", "0x10", "1_000", "1,5", "--", "'", ";", "9" * 400, "1s1s", "s", ".5s", "5.s", "½s",
    "1\n2", "%s", "$(id)", "None", "true", "٣٣x", "-0s", "1h30", "\u202e1s", "1" + "0" * 30 + "d",
]  # fmt: skip


def test_a_duration_of_any_content():
    durations = [option for option in settings.OPTIONS if option.kind == "duration"]
    pairs = [(option.variable, value) for option in durations for value in NUMBERS]
    taken = []
    for name, value in pairs:
        try:
            settings.load({}, {name: value})
        except Usage as error:
            taken += [f"{name}={value}: {error}"] if name not in str(error) or "\n" in str(error) else []
        else:
            taken.append(f"{name}={value}")
    assert len(pairs) > 200
    assert not taken, f"{len(taken)} of {len(pairs)}\n" + "\n".join(taken)


def test_a_run_ends_at_a_duration_of_any_content_and_at_that_of_any_option(there, project, run):
    before, wrong = look(there), []
    project.sql("b2", "ALTER TABLE t ADD COLUMN n int")
    names = [option.variable for option in settings.OPTIONS if option.kind == "duration"]
    for name, value in [(names[0], value) for value in NUMBERS] + [(name, "5 parsecs") for name in names]:
        wrong += wrong_with(run("upgrade", project=project, **{name: value}), {2}, f"{name}={value}")
    assert not wrong, "\n".join(wrong)
    assert look(there) == before


CONTRACTS = [
    None, "null", "[]", "{}", '"x"', "1", "true", '{"format": 99}', '{"format": 1}', '{"format": 1, "tables": 1, "sequences": []}',
    '{"format": 1, "tables": [1], "sequences": []}', '{"format": 1, "tables": [{}], "sequences": []}',
    '{"format": 1, "tables": [{"schema": 1, "name": 2, "columns": 3}], "sequences": []}',
    '{"format": 1, "tables": [{"schema": null, "name": "t", "columns": [{"name": "x"}]}], "sequences": []}',
    '{"format": 1, "tables": [], "sequences": [["a"]]}', '{"format": "1", "tables": [], "sequences": []}',
    '{"format": 1, "tables": [{"schema": null, "name": "t; DROP TABLE t", "columns": []}], "sequences": []}',
    json.dumps({"format": 1, "tables": [], "sequences": [], "more": "x" * 10_000}),
]  # fmt: skip


def test_a_contract_of_any_content(there, project, run):
    before, wrong = look(there), []
    there.rows(
        "INSERT INTO migrator.instance (id, release) VALUES ('00000000-0000-4000-8000-000000000001', 'sha256:edited')"
    )
    project.sql("b2", "SELECT 1/0")  # what is judged is the contract; a sound one comes to this
    for text in CONTRACTS:
        there.rows("DELETE FROM migrator.release")
        there.rows("INSERT INTO migrator.release (digest, contract) VALUES ('sha256:edited', %s)", text)
        wrong += wrong_with(run("upgrade", project=project), {1, 4}, text)
        for verb in ("status", "plan"):
            wrong += wrong_with(run(verb, project=project), {0, 1}, f"{verb} with {text}")
    there.rows("DELETE FROM migrator.release")
    there.rows("DELETE FROM migrator.instance")
    assert not wrong, "\n".join(wrong)
    assert look(there) == before


EDITS = [
    "UPDATE migrator.step SET seal = ''", "UPDATE migrator.step SET seal = NULL", "UPDATE migrator.step SET seal = repeat('x', 100000)",
    "UPDATE migrator.step SET seal = 'ast99:abc'", "UPDATE migrator.step SET state = 'started'",
    "UPDATE migrator.step SET state = 'started', uncertain = true, digests = '{x,y}'", "UPDATE migrator.step SET direction = 'down'",
    "UPDATE migrator.step SET direction = 'stamp'", "UPDATE migrator.step SET revision = 'nobody'", "DELETE FROM migrator.step",
    "UPDATE migrator.step SET revision = ''", "DELETE FROM migrator.step; DELETE FROM migrator.run", "TRUNCATE migrator.ledger",
    "INSERT INTO migrator.step (run, revision, direction, state) SELECT 1, 'b2', 'up', 'started'",
    "INSERT INTO migrator.step (run, revision, direction, state) SELECT 1, 'b2', 'up', 'finished'",
    "INSERT INTO migrator.step (run, revision, direction, state, digests) SELECT 1, 'b2', 'up', 'started', '{a,b,c}'",
    "INSERT INTO migrator.step (run, revision, direction, state, digests) SELECT 1, 'b2', 'up', 'started', ARRAY[NULL]::text[]",
    "UPDATE migrator.run SET outcome = NULL, finished = NULL", "UPDATE migrator.run SET outcome = 'nonsense'",
    "UPDATE migrator.run SET started = 'infinity'", "UPDATE migrator.run SET started = '-infinity', finished = 'infinity'",
    "UPDATE migrator.run SET found = '1'", "UPDATE migrator.run SET found = '{}', outcome = 'failed'",
    "UPDATE migrator.run SET from_heads = NULL, to_heads = '{}'", "INSERT INTO migrator.ledger (version) VALUES (-5)",
    "INSERT INTO migrator.ledger (version) VALUES (2147483647)", "UPDATE migrator.ledger SET version = version + 100",
    "INSERT INTO migrator.deferred VALUES ('a1', now(), 'x', '{}')", "INSERT INTO migrator.deferred VALUES ('', now(), '', '{NULL}')",
    "INSERT INTO migrator.deferred VALUES ('b2', 'infinity', repeat('x', 100000), '{x}')",
    "INSERT INTO migrator.release (digest) VALUES ('')", "INSERT INTO migrator.release (digest, broken_by) VALUES ('x', 'nobody')",
    "INSERT INTO migrator.release (digest, recorded) VALUES ('x', 'infinity')",
    "INSERT INTO migrator.instance (id, release, seen) VALUES (gen_random_uuid(), '', 'infinity')",
    "INSERT INTO migrator.instance (id, release, started) VALUES (gen_random_uuid(), repeat('x', 100000), '-infinity')",
    "UPDATE migrator.alembic_version SET version_num = ''", "UPDATE migrator.alembic_version SET version_num = 'nobody'",
    "UPDATE migrator.alembic_version SET version_num = E'a1\\n'", "INSERT INTO migrator.alembic_version VALUES ('nobody')",
    "UPDATE migrator.alembic_version SET version_num = '''; DROP TABLE t; --'", "DELETE FROM migrator.alembic_version",
    "DROP TABLE migrator.alembic_version", "ALTER TABLE migrator.alembic_version RENAME version_num TO other",
    "ALTER TABLE migrator.alembic_version ALTER version_num TYPE text", "DROP TABLE migrator.run CASCADE",
    "DROP TABLE migrator.step CASCADE", "DROP TABLE migrator.release", "DROP TABLE migrator.instance", "DROP TABLE migrator.deferred",
    "DROP TABLE migrator.ledger", "ALTER TABLE migrator.run DROP COLUMN message", "ALTER TABLE migrator.step DROP COLUMN seal",
    "ALTER TABLE migrator.run RENAME TO runs", "DROP SCHEMA migrator CASCADE", "ALTER SCHEMA migrator RENAME TO other",
    "ALTER TABLE migrator.step ADD COLUMN more int NOT NULL DEFAULT 0", "ALTER TABLE migrator.step ADD CHECK (id < 2) NOT VALID",
    "ALTER TABLE migrator.run ADD CHECK (verb <> 'upgrade') NOT VALID", "ALTER TABLE migrator.run ALTER id DROP IDENTITY",
    "CREATE TABLE public.alembic_version (version_num text); INSERT INTO public.alembic_version VALUES ('a1')",
    "CREATE TABLE public.alembic_version (x int)", "CREATE VIEW public.alembic_version AS SELECT 'a1'::text AS version_num",
    "DROP TABLE migrator.ledger; CREATE VIEW migrator.ledger AS SELECT 1000 AS version",
    "ALTER TABLE migrator.instance DROP COLUMN ended", "ALTER TABLE migrator.release DROP COLUMN contract",
    "ALTER TABLE migrator.deferred DROP COLUMN reason", "ALTER TABLE migrator.instance ENABLE ROW LEVEL SECURITY",
]  # fmt: skip


@pytest.mark.parametrize("group", range(8))
def test_a_ledger_edited_by_hand_in_any_way(group, there, server, project, run):
    """Each edit on a clone of its own: done all the same, or one clear line; never the app's table changed by a no."""
    wrong = []
    project.sql("b2", "ALTER TABLE t ADD COLUMN n int")
    there.close()
    name = there.url.rpartition("/")[2].partition("?")[0]
    edits = EDITS[group::8]
    for edit in edits:
        with server.database(name) as url:
            connection = psycopg2.connect(url)
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(edit)
                done = run("upgrade", project=project, url=url, MIGRATOR_DEADLINE="20s")
                wrong += wrong_with(done, {0, 1, 4}, edit)
                cursor.execute("SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'n'")
                if cursor.fetchone()[0] != (done.code == 0):
                    wrong.append(
                        f"{edit}: exit {done.code}, and the table says otherwise\n    {done.text.strip()[-400:]}"
                    )
                wrong += wrong_with(run("status", project=project, url=url), {0, 1, 4}, f"status with {edit}")
            connection.close()
    assert not wrong, f"{len(wrong)} of {len(edits)}\n" + "\n".join(wrong)
