"""What a rehearsal sees, allows, refuses and survives."""

import signal
import time

import pytest

from lockstep.develop.rehearsal import walk
from lockstep.errors import Refused, Usage
from lockstep.stop.deadline import Deadline
from tests.rehearsal.rig import Project, rules

ADD = 'op.add_column("orders", sa.Column("a", sa.Text()))'
DROP = 'op.drop_column("orders", "a")'
TWO_WAYS = "def upgrade():\n    {up}\n\n\ndef downgrade():\n    {down}\n"


def test_statement_is_observed_whole(project, server):
    project.add('op.add_column("orders", sa.Column("t", sa.UUID(), server_default=sa.text("gen_random_uuid()")))')
    seen = project.rehearse(server.url).revisions[0].up.observations[0]
    assert seen.kind == "AlterTableStmt"
    assert [(lock.relation, lock.words) for lock in seen.taken] == [("orders", "ACCESS EXCLUSIVE")]
    assert seen.changes.rewritten == ("orders",)
    assert {index.name for index in seen.changes.indexes_rebuilt} == {"orders_pkey", "ix_orders_customer"}
    assert seen.rows_read == (("orders", 900),)  # once for the table, once for each index
    assert seen.wal_bytes > 0
    assert any("rewriting table" in line for line in seen.notices)
    assert seen.line == 12


def test_widening_is_no_finding_although_linters_say_so(project, server):
    project.add(
        'op.alter_column("orders", "note", type_=sa.Text())\nop.alter_column("orders", "note", type_=sa.Text())'
    )
    assert rules(project.rehearse(server.url)) == ["downgrade-differs"]


def test_what_a_downgrade_does_to_a_table_in_use_is_a_warning(project, server):
    up = 'op.drop_index("ix_orders_customer", "orders", postgresql_concurrently=True)'
    back = 'op.create_index("ix_orders_customer", "orders", ["customer_id"])'
    up = f"with op.get_context().autocommit_block():\n        {up}"
    project.add(TWO_WAYS.format(up=up, down=f"{back}\n    op.execute(\"UPDATE orders SET note = 'x'\")"))
    found = {one.rule: one for one in project.rehearse(server.url).findings}
    assert {one.level for one in found.values()} == {"warning"}
    assert {one.direction for one in found.values()} == {"down"}
    assert found["index-blocks-writes"].observed == "the downgrade: index ix_orders_customer was built on orders"
    assert found["index-blocks-writes"].line == 17
    assert sorted(found) == ["data-after-lock", "index-blocks-writes", "writes-whole-table"]


def test_waiver_allows_it_in_both_directions(project, server):
    allow = "# migrator: allow index-blocks-writes: the table is tiny"
    project.add(TWO_WAYS.format(up='op.execute("DROP INDEX ix_orders_customer")', down=f"{allow}\n    "
                'op.create_index("ix_orders_customer", "orders", ["customer_id"])'))  # fmt: skip
    assert rules(project.rehearse(server.url)) == ["drop-index-locks-table"]


def test_table_that_the_pending_revisions_make_is_nobodys_yet(project, server):
    made = 'op.create_table("new", sa.Column("a", sa.Text()))\n    op.create_index("ix_new", "new", ["a"])'
    project.add(TWO_WAYS.format(up=made, down='op.drop_table("new")'))
    later = 'op.alter_column("new", "a", nullable=False)'
    project.add(TWO_WAYS.format(up=later, down='op.alter_column("new", "a", nullable=True)'))
    assert rules(project.rehearse(server.url)) == []


def test_waiver_with_a_reason_is_kept_and_shown(project, server):
    up = "# migrator: allow index-blocks-writes: the table is tiny\n    op.create_index('i', 'orders', ['code'])"
    project.add(TWO_WAYS.format(up=up, down="op.execute('DROP INDEX i')"))
    rehearsal = project.rehearse(server.url)
    assert rules(rehearsal) == []
    assert [one.waived for one in rehearsal.findings] == ["the table is tiny"]


@pytest.mark.parametrize(
    ("comment", "text"),
    [
        ("# migrator: allow index-blocks-writes: why", "index-blocks-writes is allowed, and was not found"),
        ("# migrator: allow nonsense: why", "there is no rule nonsense"),
    ],
)
def test_waiver_that_does_nothing_is_a_finding(project, server, comment, text):
    project.add(TWO_WAYS.format(up=f"{comment}\n    {ADD}", down=DROP))
    assert [one.observed for one in project.rehearse(server.url).findings] == [text]


def test_waiver_without_a_reason_does_not_count(project, server):
    up = "# migrator: allow index-blocks-writes\n    op.create_index('i', 'orders', ['code'])"
    project.add(TWO_WAYS.format(up=up, down="op.execute('DROP INDEX i')"))
    assert rules(project.rehearse(server.url)) == ["index-blocks-writes", "waiver"]


def test_text_that_quotes_a_waiver_is_none(project, server):
    up = "text = '# migrator: allow index-blocks-writes: why'\n    op.create_index('i', 'orders', ['code'])"
    project.add(TWO_WAYS.format(up=up, down="op.execute('DROP INDEX i')"))
    assert rules(project.rehearse(server.url)) == ["index-blocks-writes"]


def test_python_that_never_ends_is_stopped_at_the_deadline(project, server):
    project.add("import time\nwhile True:\n    time.sleep(0.01)")
    assert rules(project.rehearse(server.url, deadline_ms=5000)) == ["never-ends"]


def test_alarm_that_comes_before_the_revision_begins_leaves_none_behind(monkeypatch):
    before, set_timer = signal.getsignal(signal.SIGALRM), signal.setitimer
    monkeypatch.setattr(walk.signal, "setitimer", lambda *given: (set_timer(*given), time.sleep(0.05)))
    with pytest.raises(walk._TimeUp), walk.Bounded(Deadline.after(0), None)._alarm():
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) == before


def test_revision_after_one_that_fails_is_not_reached(project, server):
    project.add('op.execute("SELECT nonsense")')
    project.add(ADD)
    assert project.rehearse(server.url).not_reached == ("r2",)


def test_seed_gives_the_rows_a_revision_needs(project, server, tmp_path):
    up = (
        "if op.get_bind().scalar(sa.text(\"SELECT count(*) FROM orders WHERE code = 'gold'\")) != 3:\n"
        '        raise ValueError("no gold")\n'
        "    op.execute(\"UPDATE orders SET note = 'g' WHERE code = 'gold'\")"
    )
    project.add(TWO_WAYS.format(up=up, down="pass"))
    assert rules(project.rehearse(server.url)) == ["not-rehearsed"]
    seed = tmp_path / "seed.sql"
    seed.write_text(
        "INSERT INTO customers (id, name) VALUES (1000000, 'x');"
        "INSERT INTO orders (customer_id, code) SELECT 1000000, 'gold' FROM generate_series(1, 3)"
    )
    assert rules(project.rehearse(server.url, seed=seed)) == []


def test_seed_that_fails_is_usage(project, server, tmp_path):
    project.add(ADD)
    (tmp_path / "seed.sql").write_text("INSERT INTO nowhere VALUES (1)")
    with pytest.raises(Usage, match="nowhere"):
        project.rehearse(server.url, seed=tmp_path / "seed.sql")


def test_base_that_does_not_run_is_refused(tmp_path, server):
    project = Project.make(tmp_path / "p", setup="SELECT nonsense")
    project.add(ADD)
    with pytest.raises(Refused, match="do not run on an empty database"):
        project.rehearse(server.url)


def test_range_is_rehearsed_from_and_to(project, server):
    for name in "abc":
        project.add(TWO_WAYS.format(up=ADD.replace('"a"', f'"{name}"'), down=DROP.replace('"a"', f'"{name}"')))
    rehearsal = project.rehearse(server.url, start="r1", end="r2")
    assert [one.revision for one in rehearsal.revisions] == ["r2"]


def test_nothing_is_left_on_the_server(project, server):
    project.add(ADD)
    project.rehearse(server.url)
    import contextlib  # noqa: PLC0415

    import psycopg2  # noqa: PLC0415

    with contextlib.closing(psycopg2.connect(server.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'shadow%'")
        assert cursor.fetchone() == (0,)


def test_declared_backfill_is_not_taken_for_rows_changed_under_the_lock(project, server):
    backfill = (
        "import lockstep.backfill.declare\n    op.backfill('orders', set={'note': \"'x'\"}, where=\"note <> 'x'\")"
    )
    project.add(TWO_WAYS.format(up=f"{ADD}\n    {backfill}", down=DROP))
    assert rules(project.rehearse(server.url)) == []


@pytest.mark.parametrize(
    "body",
    [
        'op.create_index("ix", "orders", ["note"], uniqe=True)',
        "op.drop_colum('orders', 'note')",
        "undefined",
        'op.add_column("orders", sa.Column("a", sa.Text(), sa.Nothing()))',
        'op.create_table("x", sa.Column("a", sa.types.NullType()))',
    ],
)
def test_python_that_is_broken_is_an_error(body, project, server):
    project.add(body)
    assert rules(project.rehearse(server.url)) == ["fails"]


@pytest.mark.parametrize(
    "body", ["op.get_bind().execute(sa.text('SELECT 1 WHERE false')).first()[0]", "raise ConnectionError('no route')"]
)
def test_what_asks_for_rows_or_the_network_is_not_rehearsed(body, project, server):
    project.add(body)
    assert rules(project.rehearse(server.url)) == ["not-rehearsed"]
