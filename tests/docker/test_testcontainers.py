"""The migrator image against a PostgreSQL that testcontainers started."""

import pytest
import sqlalchemy as sa


@pytest.fixture
def postgres(engine, monkeypatch):
    # The helper container that cleans up after a killed run is one more image to have; the fixture cleans up itself.
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 - reads the variable on import

    with PostgresContainer(
        engine.env["POSTGRES_IMAGE"], username="migrator", password="made-up", dbname="lockstep"
    ) as container:
        yield container


def migrate(engine, images, postgres):
    """Run the migrator image in the database's own network, as a job beside it would."""
    network = f"--network=container:{postgres.get_wrapped_container().id}"
    url = "postgresql://migrator:made-up@127.0.0.1:5432/lockstep"
    return engine.docker("run", "--rm", network, "--env", f"MIGRATOR_DATABASE_URL={url}", images.migrator, check=False)


def test_the_image_migrates_a_fresh_database_and_has_nothing_to_do_after(engine, images, postgres):
    first = migrate(engine, images, postgres)
    assert first.returncode == 0, first.stdout + first.stderr
    second = migrate(engine, images, postgres)
    assert second.returncode == 0, second.stdout + second.stderr

    database = sa.create_engine(postgres.get_connection_url())
    try:
        with database.connect() as connection:
            tables = sa.inspect(connection).get_table_names("public")
            commits = connection.scalars(sa.text("SELECT commit FROM migrator.release")).all()
    finally:
        database.dispose()
    assert {"users", "organisations"} <= set(tables)
    assert commits == ["0123456789abcdef0123456789abcdef01234567"]
