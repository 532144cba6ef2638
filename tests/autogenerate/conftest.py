"""Projects to autogenerate in, each on a database of its own."""

import contextlib
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.autogenerate.project import Project


@pytest.fixture(autouse=True)
def shadow(server, monkeypatch):
    """Databases to compare with are made on the tests' own server."""
    monkeypatch.setenv("MIGRATOR_SHADOW_URL", server.url)


@pytest.fixture
def project(server, tmp_path: Path):
    """Makes a project on a fresh database that holds the models and rows."""
    with contextlib.ExitStack() as stack:

        def make(metadata: sa.MetaData, rows: str = "", at: str = "safe", **kw) -> Project:
            url = sa.make_url(stack.enter_context(server.database())).set(drivername="postgresql+psycopg2")
            engine = sa.create_engine(url)
            stack.callback(engine.dispose)
            with engine.begin() as connection:
                for schema in {table.schema for table in metadata.tables.values()} - {None}:
                    connection.exec_driver_sql(f'create schema "{schema}"')
                metadata.create_all(connection)
                connection.exec_driver_sql((rows or "select 1").replace("%", "%%"))
            return Project.make(tmp_path / at, engine, **kw)

        yield make
