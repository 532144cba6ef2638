"""Compose as the scheduler of a backfill's workers: as many containers as asked for share one."""

import pytest

ROWS = 300_000
# What a revision's op.backfill writes down.
DECLARED = f"""
INSERT INTO public.users (email, name) SELECT n || '@example.org', 'n' FROM generate_series(1, {ROWS}) AS n;
INSERT INTO migrator.backfill
  (name, revision, namespace, relation, assignments, predicate, search_path, batch_size, before_serving, on_error)
SELECT 'phones', version_num, 'public', 'users', '{{"phone_number": "''+'' || id"}}', 'phone_number IS NULL', 'public',
       1000, false, 'stop' FROM migrator.alembic_version"""


@pytest.fixture
def ask(stack):
    """Run SQL in the stack's database; return what psql prints, rows and columns bare."""

    def sql(statement):
        names = ("-U", "migrator", "-d", "lockstep", "-v", "ON_ERROR_STOP=1", "-Atc", statement)
        return stack.compose("exec", "-T", "postgres", "psql", *names).stdout.strip()

    return sql


def test_three_containers_share_a_backfill(stack, ask):
    stack.up()
    stack.until_healthy("app")
    ask(DECLARED)
    done = stack.compose("--profile", "backfill", "up", "--scale", "backfill=3", "--no-build", "backfill")
    said = done.stdout + done.stderr
    assert {f"backfill_{number}" in said.replace("-", "_") for number in (1, 2, 3)} == {True}
    assert ask("SELECT count(*) FROM public.users WHERE phone_number = '+' || id") == str(ROWS)
    assert ask("SELECT state FROM migrator.backfill") == "done"
    assert ask("SELECT sum(rows) FROM migrator.backfill_range") == str(ROWS)
