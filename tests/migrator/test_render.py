"""What `plan` shows of a revision is what it runs: no literal is another one there."""

import contextlib
import io

from alembic.migration import MigrationContext
from alembic.operations import Operations
from hypothesis import given
from hypothesis import strategies as st

from lockstep.postgres.statements import unbound
from lockstep.project import offline


@given(st.text(alphabet=":\\a1$% '_é\t(?[]{}", max_size=16))
def test_a_literal_is_written_down_as_it_is(text):
    statement = "INSERT INTO t VALUES ('" + text.replace("'", "''") + "')"
    written = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql",
        opts={"as_sql": True, "literal_binds": True, "output_buffer": written},
        dialect_opts={"paramstyle": "named"},
    )
    with contextlib.redirect_stdout(io.StringIO()), offline.verbatim():
        Operations(context).execute(unbound(statement))
    assert statement + ";" in written.getvalue()
