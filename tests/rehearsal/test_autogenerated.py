"""What autogenerate writes for every kind of change rehearses with no error, and goes down and up again."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.autogenerate import project as autogenerate
from tests.autogenerate.changes import CHANGES, FIRST
from tests.autogenerate.models import ROWS, world
from tests.rehearsal.rig import Project

BASE = """def upgrade():
    from tests.autogenerate.changes import CHANGES
    from tests.autogenerate.models import world

    metadata = world(**CHANGES[{number}].before)
    for schema in sorted({{table.schema for table in metadata.tables.values()}} - {{None}}):
        op.execute(f'create schema "{{schema}}"')
    metadata.create_all(op.get_bind())
"""


@pytest.fixture
def engine(database):
    engine = sa.create_engine(sa.make_url(database).set(drivername="postgresql+psycopg2"), poolclass=sa.pool.NullPool)
    yield engine
    engine.dispose()


def scripts_of(change, engine, directory):
    """Let autogenerate write the revisions of a change."""
    metadata = world(**change.before)
    with engine.begin() as connection:
        for schema in sorted({table.schema for table in metadata.tables.values()} - {None}):
            connection.exec_driver_sql(f'create schema "{schema}"')
        metadata.create_all(connection)
        connection.exec_driver_sql((ROWS + change.rows).replace("%", "%%"))
    written, _ = autogenerate.Project.make(directory, engine, schemas=("Order",)).revision(world(**change.after), FIRST)
    return written


@pytest.mark.nightly
@pytest.mark.parametrize("number", range(len(CHANGES)), ids=[change.name for change in CHANGES])
def test_no_error_is_found_in_what_autogenerate_writes(number, engine, server, tmp_path):
    change = CHANGES[number]
    scripts = scripts_of(change, engine, tmp_path / "written")
    project = Project.make(tmp_path / "rehearsed", body=BASE.format(number=number))
    for script in scripts:
        text = Path(script.path).read_text(encoding="utf-8")
        text = re.sub(r"^(down_revision.*) = None$", r"\1 = 'r0'", text, flags=re.MULTILINE)
        (project.directory / "versions" / f"{script.revision}_step.py").write_text(text)
    (tmp_path / "seed.sql").write_text(ROWS + change.rows)
    rehearsal = project.rehearse(server.url, seed=tmp_path / "seed.sql", rows=100)
    assert [one.revision for one in rehearsal.revisions] == [script.revision for script in scripts]
    assert {f"{one.rule}: {one.observed}" for one in rehearsal.errors} == set()
