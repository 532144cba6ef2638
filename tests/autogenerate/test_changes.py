"""Every kind of change: the safe revisions end where the naive one ends, and go back to where they began."""

import pytest
import sqlalchemy as sa

from tests.autogenerate.changes import CHANGES, FIRST, Change
from tests.autogenerate.models import ROWS, world
from tests.autogenerate.project import titled
from tests.autogenerate.schema import difference, dump


@pytest.mark.parametrize("change", CHANGES, ids=[change.name for change in CHANGES])
def test_leads_where_the_naive_revision_leads_and_back(change: Change, project) -> None:
    safe = project(world(**change.before), ROWS + change.rows, schemas=("Order",))
    start = dump(safe.engine)
    written, _ = safe.revision(world(**change.after), FIRST)
    if change.titles:
        assert [titled(script) for script in written] == list(change.titles)
    stages = _up_one_by_one(safe, written)
    safe.check(world(**change.after))
    _down_one_by_one(safe, written, [start, *stages], change)

    if change.naive:
        naive = safe.naive()
        naive.revision(world(**change.after))
        _make_schemas(naive.engine, world(**change.after))
        naive.upgrade()
        assert difference(stages[-1], dump(naive.engine)) == []
    else:
        models = project(world(**change.after), "", at="models")
        assert difference(stages[-1], dump(models.engine)) == []


def _up_one_by_one(project, written) -> list[list[str]]:
    stages = []
    for script in written:
        project.upgrade(script.revision)
        stages.append(dump(project.engine))
    return stages


def _down_one_by_one(project, written, stages, change: Change) -> None:
    for done, script in enumerate(reversed(written)):
        if change.back and done == change.back_at:
            with project.engine.begin() as connection:
                connection.exec_driver_sql(change.back)
        project.downgrade(script.down_revision or "base")
        lost = difference(stages[len(written) - done - 1], dump(project.engine))
        assert lost == [], f"after {script.doc} was taken back"


def _make_schemas(engine: sa.Engine, metadata: sa.MetaData) -> None:
    """Alembic's own revision does not make a schema."""
    with engine.begin() as connection:
        for schema in {table.schema for table in metadata.tables.values()} - {None}:
            connection.exec_driver_sql(f'create schema if not exists "{schema}"')
