"""`migrator sql`: what a revision that has no SQL without a database says."""

import pytest


@pytest.mark.parametrize(
    "body",
    [
        "op.get_bind().execute(sa.text('SELECT 1')).scalar_one()",
        "sa.inspect(op.get_bind()).get_table_names()",
        "op.get_bind().dialect.has_table(op.get_bind(), 'x')",
    ],
)
def test_a_revision_that_reads_the_database_is_named_with_its_line(project, run, body):
    project.sql("a1", "CREATE TABLE t (id int)")
    project.revision("b2", body)
    done = run("sql", project=project)
    assert done.code == 4
    assert "b2.py:" in done.last
    assert "the revision reads the database, and `sql` has none" in done.last


def test_a_broken_revision_is_called_broken(project, run):
    project.revision("a1", "op.create_tabel('t')")
    done = run("sql", project=project)
    assert done.code == 4
    assert "a1.py:" in done.last
    assert "the revision is broken (AttributeError: " in done.last
    assert done.last.endswith("Cure: correct it. (exit 4; run it again after that change)")
