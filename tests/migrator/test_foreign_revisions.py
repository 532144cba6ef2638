"""Revisions as they are in projects that nobody here wrote: with a COMMIT, with no downgrade, on tables with a past."""
# ruff: noqa: E501 - revisions as they are written

import re

import pytest

from tests.migrator.shapes import HEAD

BLOCK = "with op.get_context().autocommit_block():\n    op.create_index('things_id', 'things', ['id'], postgresql_concurrently=True)"
COMMITS = ["op.get_bind().commit()", "op.execute('COMMIT')", "op.execute('commit;')"]


@pytest.fixture
def things(foreign):
    foreign.sql("a1", "CREATE TABLE things (id int)", down=["DROP TABLE things"])
    return foreign


@pytest.mark.parametrize("commit", COMMITS)
def test_a_commit_right_before_an_autocommit_block_is_the_blocks_own(commit, things, run, db, server):
    things.revision("a2", f"{commit}\n{BLOCK}", "op.drop_index('things_id')")
    assert "-- it commits by itself, which is left to the block or to the end" in run("plan", project=things).out
    done = run("rehearse", "--from", "a1", project=things, MIGRATOR_SHADOW_URL=server.url)
    assert done.code == 0, done.text
    done = run("upgrade", project=things)
    assert done.code == 0, done.text
    assert db.steps() == [("a1", "up", "finished"), ("a2", "up", "finished")]
    assert db.one("SELECT indisvalid FROM pg_index WHERE indexrelid = 'things_id'::regclass")


@pytest.mark.parametrize("commit", COMMITS)
def test_a_commit_as_the_last_act_of_a_revision_is_the_runners(commit, things, run, db):
    things.revision("a2", f"op.execute('INSERT INTO things VALUES (1)')\n{commit}")
    things.revision("a3", "op.execute('INSERT INTO things VALUES (2)')")
    done = run("upgrade", project=things)
    assert done.code == 0, done.text
    assert db.rows("SELECT id FROM things ORDER BY 1") == [(1,), (2,)]
    assert db.steps()[1:] == [("a2", "up", "finished"), ("a3", "up", "finished")]


@pytest.mark.parametrize("commit", COMMITS)
def test_a_commit_in_the_middle_is_known_before_and_refused_with_nothing_of_it_kept(commit, things, run, db, server):
    things.revision(
        "a2", f"op.execute('INSERT INTO things VALUES (1)')\n{commit}\nop.execute('INSERT INTO things VALUES (2)')"
    )
    assert "-- it commits by itself and goes on, which is refused" in run("plan", project=things).out
    done = run("rehearse", "--from", "a1", project=things, MIGRATOR_SHADOW_URL=server.url)
    assert (done.code, "ends-transaction" in done.out) == (1, True), done.text
    done = run("upgrade", project=things)
    assert done.code == 4
    assert done.last.startswith("failed: a2 ends the transaction itself and goes on")
    assert db.rows("SELECT id FROM things") == []


def without_downgrade(project, name):
    path = project.revision(name, f"op.execute('CREATE TABLE {name} (id int)')")
    path.write_text(re.sub(r"def downgrade.*", "", path.read_text(), flags=re.DOTALL))


def test_a_revision_without_a_downgrade_is_rehearsed_upwards_with_a_finding(things, run, db, server):
    without_downgrade(things, "b2")
    things.sql("b3", "CREATE TABLE b3 (id int)", down=["DROP TABLE b3"])
    done = run("rehearse", "--from", "a1", project=things, MIGRATOR_SHADOW_URL=server.url)
    assert done.code == 0, done.text
    assert "it has no downgrade" in done.out
    assert "2 rehearsed" in done.last
    assert run("upgrade", project=things).code == 0
    assert run("downgrade", "-1", project=things).code == 0
    done = run("downgrade", "-1", project=things)
    assert (done.code, db.columns("b2")) == (1, ["id"])
    assert done.last.startswith("refused: a revision on the way down has no downgrade: ")


def test_a_table_with_a_dropped_column_is_rehearsed_beside_one_with_a_check(foreign, run, server):
    foreign.sql(
        "a1",
        "CREATE TABLE sizes (id int PRIMARY KEY, size int CHECK (size > 0))",
        "CREATE TABLE things (id int PRIMARY KEY, gone int)",
        "ALTER TABLE things DROP COLUMN gone",
    )
    foreign.sql("a2", "ALTER TABLE things ADD COLUMN note text", down=["ALTER TABLE things DROP COLUMN note"])
    done = run("rehearse", "--from", "a1", project=foreign, MIGRATOR_SHADOW_URL=server.url)
    assert done.code == 0, done.text
    assert "filled     things" in done.out


LOOP = """
with create_engine(URL, poolclass=pool.NullPool).connect() as connection:
    for tenant in ("tenant_a", "tenant_b"):
        connection.execute(text(f"SET search_path TO {tenant}"))
        connection.commit()
        configured(connection)
"""


def test_several_schemas_in_a_loop_are_refused_before_the_first_is_changed(things, run, db):
    db.rows("CREATE SCHEMA tenant_a; CREATE SCHEMA tenant_b")
    things.env_py.write_text(HEAD.format(driver="psycopg2", columns=[]) + LOOP)
    for verb in ("upgrade", "status"):
        done = run(verb, project=things, SHOP_DATABASE_URL=db.url)
        assert done.code == 1, done.text
        assert done.last.startswith(
            "refused: env.py configures more than one database or schema, one after the other; nothing"
        )
    assert db.columns("tenant_a.things") == []
    one = LOOP.replace('("tenant_a", "tenant_b")', 'context.get_x_argument(as_dictionary=True)["tenant"].split()')
    things.env_py.write_text(HEAD.format(driver="psycopg2", columns=[]) + one)
    done = run("upgrade", "-x", "tenant=tenant_a", project=things, SHOP_DATABASE_URL=db.url)
    assert done.code == 0, done.text
    assert db.columns("tenant_a.things") == ["id"]
    assert db.columns("tenant_a.alembic_version") == ["version_num"]
    assert db.columns("tenant_b.things") == []
