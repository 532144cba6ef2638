"""Odd files: a revision, models or an env.py that raise anything, ids of two lines, times before Christ."""

import pytest

RAISE = [
    "raise BaseException",
    "class Odd(BaseException): pass\nraise Odd('x\\ny')",
    "raise GeneratorExit",
    "exit('x')",
]
NAMES = ["b2\n", "b2\nb3", "b\x1b[31m2", "b2\u2028", "b\u202e2", "b\x00"]
TIMES = ["4713-01-01 BC", "0001-01-01 BC", "20000-01-01", "infinity", "-infinity", "294276-01-01", "0001-01-01"]


@pytest.fixture
def there(db, project, run):
    project.sql("a1", "CREATE TABLE t (id int PRIMARY KEY)")
    assert run("upgrade", project=project).code == 0
    return db


@pytest.mark.parametrize("line", RAISE)
def test_a_revision_file_that_raises_anything_cannot_be_loaded(line, there, project, run):
    (project.versions / "b2.py").write_text(line + "\n")
    done = run("upgrade", project=project)
    assert (done.code, "cannot be loaded" in done.last) == (1, True), done.text


@pytest.mark.parametrize("line", RAISE)
def test_an_env_py_that_raises_anything_is_one_line(line, there, project, run):
    project.env_py.write_text(line + "\n")
    project.sql("b2", "ALTER TABLE t ADD COLUMN n int")
    done = run("upgrade", project=project)
    assert (done.code, "env.py failed" in done.last) == (4, True), done.text


@pytest.mark.parametrize("line", RAISE)
def test_models_that_raise_anything_cannot_be_imported(line, there, project, run):
    (project.directory / "models.py").write_text(line + "\n")
    project.ini.write_text(project.ini.read_text() + "models = %(here)s/models.py\n")
    project.sql("b2", "ALTER TABLE t ADD COLUMN n int")
    done = run("upgrade", project=project)
    assert (done.code, "import" in done.last) == (2, True), done.text
    assert there.columns("t") == ["id"]


@pytest.mark.parametrize("name", NAMES)
def test_an_id_that_does_not_show_in_one_line_is_refused(name, there, project, run):
    path = project.sql("b2", "ALTER TABLE t ADD COLUMN n int")
    path.write_text(path.read_text().replace("revision = 'b2'", f"revision = {name!r}", 1))
    done = run("upgrade", project=project)
    assert (done.code, done.last.count("\n")) == (1, 0), done.text
    assert there.columns("t") == ["id"]


@pytest.mark.parametrize("column", ["started", "seen", "ended"])
@pytest.mark.parametrize("time", TIMES)
def test_a_report_of_any_time_is_shown_and_does_not_fail_a_run(time, column, there, project, run):
    there.rows("INSERT INTO migrator.instance (id, release) VALUES (gen_random_uuid(), 'sha256:odd')")
    there.rows(f"UPDATE migrator.instance SET {column} = %s", time)
    there.rows("UPDATE migrator.run SET started = %s, finished = %s", time, time)
    project.sql("b2", "ALTER TABLE t ADD COLUMN n int")
    for arguments in (["status"], ["status", "--json"], ["history"], ["plan"], ["upgrade"], ["status"]):
        done = run(*arguments, project=project)
        assert done.code == 0, done.text


def test_a_schema_that_is_held_outside_of_a_revision_is_busy(there, project, run, client):
    there.rows("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    there.rows("CREATE POLICY odd ON t USING (id > 0)")
    client().run("LOCK TABLE t")
    project.sql("b2", "CREATE TABLE u (id int)")
    done = run("upgrade", project=project)
    assert done.code in {0, 3}, done.text  # newer servers look at the table to print its policy


def test_a_downgrade_that_was_cut_off_outside_a_transaction_goes_on_where_it_was(there, project, run, tmp_path):
    place = tmp_path / "fail"
    outside = "with op.get_context().autocommit_block():\n    op.execute('{} INDEX CONCURRENTLY ix{}')\n"
    down = f"{outside.format('DROP', '')}import os\nif os.path.exists({str(place)!r}): raise ValueError"
    project.revision("b2", outside.format("CREATE", " ON t (id)"), down)
    assert run("upgrade", project=project).code == 0
    place.touch()
    assert run("downgrade", "a1", project=project).code == 4
    place.unlink()
    done = run("upgrade", project=project)
    assert (done.code, "is half taken back" in done.last) == (1, True), done.text
    done = run("downgrade", "a1", project=project)
    assert (done.code, "resumed" in done.text) == (0, True), done.text
