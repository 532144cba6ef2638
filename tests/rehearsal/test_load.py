"""Under load: clients wait for a revision as long as they are seen to, and a transaction of theirs is waited for."""

import pytest

from tests.rehearsal.rig import TABLES, Project

ADD = (
    'def upgrade():\n    op.add_column("orders", sa.Column("a", sa.Text()))\n\n\n'
    'def downgrade():\n    op.drop_column("orders", "a")\n'
)


@pytest.mark.slow
def test_plain_alembic_lets_clients_wait_for_a_transaction_and_the_migrator_does_not(project, server):
    project.add(ADD)
    ours, plain = project.rehearse(server.url, load=True, compare=True, long_transaction_s=2.0).loads
    assert [window.code for window in (*ours.windows, *plain.windows)] == [0, 0]
    assert not ours.failed
    assert not plain.failed
    assert plain.longest.ms > 1000
    assert plain.longest.table == "orders"
    assert ours.longest.ms < plain.longest.ms


def test_statements_that_fail_are_counted(project, server):
    project.add(ADD.replace('add_column("orders", sa.Column("a", sa.Text()))', 'drop_column("orders", "note")'))
    (measured,) = project.rehearse(server.url, load=True).loads
    assert 'column "note" does not exist' in {one.error for one in measured.failed}
    assert "failed" in measured.summary


def test_clients_write_what_a_foreign_key_to_come_allows(project, server):
    up = "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (amount) REFERENCES customers NOT VALID"
    down = "ALTER TABLE orders DROP CONSTRAINT fk"
    project.add(f'def upgrade():\n    op.execute("{up}")\n\n\ndef downgrade():\n    op.execute("{down}")\n')
    project.add('op.execute("ALTER TABLE orders VALIDATE CONSTRAINT fk")')
    (measured,) = project.rehearse(server.url, load=True).loads
    assert [(window.code, window.said) for window in measured.windows] == [(0, ""), (0, "")]
    assert not measured.failed


def test_names_with_percent_signs_are_written_as_they_are(tmp_path, server):
    odd = 'CREATE TABLE "a %(x)s" ("id %s" bigint PRIMARY KEY, "c %(y)s" text)'
    project = Project.make(tmp_path / "p", setup=odd)
    project.add("""op.execute('ALTER TABLE "a %(x)s" ADD COLUMN b text')""")
    (measured,) = project.rehearse(server.url, load=True).loads
    assert {one.kind for one in measured.samples} == {"read", "insert", "update"}
    assert not measured.failed


def test_every_kind_of_statement_is_sent_and_none_to_alembics_table(project, server):
    project.add(ADD)
    (measured,) = project.rehearse(server.url, load=True).loads
    assert {one.kind for one in measured.samples} == {"read", "insert", "update"}
    assert {one.table for one in measured.samples} == {"orders", "customers"}


def test_revision_that_cannot_be_rehearsed_is_not_loaded(tmp_path, server):
    project = Project.make(tmp_path / "p", setup=TABLES)
    project.add('op.execute("SELECT nonsense")')
    assert project.rehearse(server.url, load=True).loads == ()
