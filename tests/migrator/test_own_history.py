"""The product's own revisions: each up, down and up again, with the schema equal after the round trip."""
# ruff: noqa: E501 - SQL and messages as they are

import os
import shutil
import subprocess
import sys

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.migrator.rig import ROOT, Result

OURS = ROOT / "migrator"

ALONE = {"MIGRATOR_NO_UNKNOWN_RELEASE": "1"}  # nobody uses the test's database

DUMP = """
SELECT 'column', c.relname, a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' ' || a.attidentity::text
       || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r'
UNION ALL SELECT 'index', c.relname, pg_get_indexdef(c.oid) || i.indisvalid
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace
UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) || convalidated
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
 ORDER BY 1, 2, 3"""


def revisions():
    script = ScriptDirectory.from_config(Config(str(OURS / "alembic.ini")))
    return [item.revision for item in reversed(list(script.walk_revisions()))]


def test_each_goes_up_down_and_up_again_with_an_equal_schema(run, db):
    before = db.rows(DUMP)
    for revision in revisions():
        assert run("upgrade", revision, **ALONE).code == 0
        after = db.rows(DUMP)
        down = run("downgrade", "-1", "--yes")
        assert down.code == 0, down.text
        assert db.rows(DUMP) == before or revision in PROVES_ONLY, revision
        up = run("upgrade", revision, **ALONE)
        assert up.code == 0, up.text
        assert db.rows(DUMP) == after, revision
        before = after
    assert run("upgrade").last.startswith("done: nothing to do")
    down = run("downgrade", "base", "--yes", **ALONE)
    assert down.code == 0, down.text
    assert db.rows(DUMP) == []


# A constraint that was validated stays so: taking the proof away would change nothing that anybody can see.
PROVES_ONLY = {"b7e5a2190c4d"}


def test_they_lead_to_the_models(run, server):
    done = run("check", url="", MIGRATOR_SHADOW_URL=server.url)
    assert done.code == 0, done.text
    assert done.last == f"done: all checks hold at {revisions()[-1]}; nothing was changed"


@pytest.fixture
def copy(tmp_path, server):
    """A copy of the repository's code, whose verbs run there."""
    for name in ("migrator", "app"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))

    def one(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "migrator", *arguments],
            env={**os.environ, "PYTHONPATH": str(tmp_path), "MIGRATOR_SHADOW_URL": server.url, **environment},
            cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    one.directory = tmp_path
    one.models = tmp_path / "app" / "storage" / "models.py"
    one.versions = tmp_path / "migrator" / "versions"
    return one


def edit(copy):
    text = copy.models.read_text()
    line = "    phone_number: Mapped[str | None] = mapped_column(Text)\n"
    assert line in text
    copy.models.write_text(text.replace(line, line + "    nickname: Mapped[str | None] = mapped_column(Text)\n"))


def test_a_model_that_changed_becomes_a_revision(copy):
    before = set(copy.versions.glob("*.py"))
    nothing = copy("revision", "-m", "nothing at all")
    assert nothing.code == 0, nothing.text
    assert nothing.last == "done: the migrations already lead to the models; nothing was written"
    assert set(copy.versions.glob("*.py")) == before
    edit(copy)
    stale = copy("check")
    assert stale.code == 1
    assert "is not the copy of" in stale.text
    done = copy("revision", "-m", "add nickname", "--json")
    assert done.code == 0, done.text
    [written] = set(copy.versions.glob("*.py")) - before
    assert done.json["files"] == [str(written)]
    assert written.name.endswith("_add_nickname.py")
    assert 'op.add_column("users", sa.Column("nickname", sa.Text(), nullable=True))' in written.read_text()
    assert (copy.directory / "migrator" / "models.py").read_bytes() == copy.models.read_bytes()
    checked = copy("check")
    assert checked.code == 0, checked.text


def test_two_heads_are_refused_and_joined(copy):
    head = revisions()[-1]
    for name in ("x1", "y1"):
        (copy.versions / f"2026_05_01_0000-{name}_{name}.py").write_text(
            f'"""{name}"""\nrevision = {name!r}\ndown_revision = {head!r}\ndef upgrade():\n    pass\ndef downgrade():\n    pass\n'
        )
    done = copy("revision", "-m", "more")
    assert done.code == 1
    assert done.last.startswith("refused: there are 2 heads: ")
    joined = copy("revision", "--merge", "-m", "join the two")
    assert joined.code == 0, joined.text
    assert copy("check").code == 0
    again = copy("revision", "--merge")
    assert (again.code, again.last.split("(")[0]) == (0, "done: one head ")


def test_an_empty_revision_is_written_to_fill_in(copy):
    before = set(copy.versions.glob("*.py"))
    done = copy("revision", "--empty", "-m", "clean up é \"quotes\" 'and' \\ more")
    assert done.code == 0, done.text
    [written] = set(copy.versions.glob("*.py")) - before
    compile(written.read_text(), written.name, "exec")


def test_models_that_cannot_be_loaded_change_nothing(copy):
    before = (copy.directory / "migrator" / "models.py").read_bytes()
    copy.models.write_text("import starlette\nthis is no python\n")
    done = copy("revision", "-m", "broken")
    assert done.code in {1, 2}, done.text
    assert "Traceback" not in done.text
    assert (copy.directory / "migrator" / "models.py").read_bytes() == before


def test_a_foreign_project_gets_a_revision_without_its_database(foreign, run, server, tmp_path):
    (tmp_path / "their_models.py").write_text(
        "import sqlalchemy as sa\nmetadata = sa.MetaData()\nsa.Table('t', metadata, sa.Column('id', sa.Integer, primary_key=True))\n"
    )
    text = foreign.env_py.read_text().replace(
        "target_metadata = None",
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport their_models\ntarget_metadata = their_models.metadata",
    )
    foreign.env_py.write_text(text)
    done = run("revision", "-m", "first", project=foreign, url="", MIGRATOR_SHADOW_URL=server.url)
    assert done.code == 0, done.text
    [written] = foreign.versions.glob("*.py")
    assert "op.create_table" in written.read_text()
    again = run("revision", "-m", "second", project=foreign, url="", MIGRATOR_SHADOW_URL=server.url)
    assert again.last == "done: the migrations already lead to the models; nothing was written"
    assert run("upgrade", project=foreign).code == 0
