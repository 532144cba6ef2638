"""Fixtures: a database with the roles and types that the cases find, in a transaction nobody commits."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.contract.cases import prepare


@pytest.fixture(scope="session")
def prepared_database(server):
    with server.database() as url:
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)
        with engine.begin() as connection:
            prepare(connection)
        yield engine


@pytest.fixture
def release_database(prepared_database):
    """A connection whose work is rolled back."""
    with prepared_database.connect() as connection:
        yield connection
