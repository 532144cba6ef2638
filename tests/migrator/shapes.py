"""Shapes: the env.py files that projects have, each with a URL of its own, in a variable that the engine knows nothing of."""
# ruff: noqa: E501 - files as they are written

HEAD = """\
import os
from alembic import context
import sqlalchemy as sa
from sqlalchemy import MetaData, Table, Column, Integer, Text, create_engine, pool, text

DRIVER = {driver!r}
URL = os.environ["SHOP_DATABASE_URL"].replace("postgresql://", f"postgresql+{{DRIVER}}://")
metadata = MetaData()
Table("things", metadata, Column("id", Integer, primary_key=True), *[Column(name, Text) for name in {columns!r}])

def configured(connection, **options):
    context.configure(connection=connection, target_metadata=metadata, **options)
    with context.begin_transaction():
        context.run_migrations()

"""

CONNECTS = """\
with create_engine(URL, poolclass=pool.NullPool).connect() as connection:
    configured(connection)
"""

ASYNC = """\
import asyncio
from sqlalchemy.ext.asyncio import create_async_engine

async def run():
    engine = create_async_engine(URL, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(configured)
    await engine.dispose()

"""

# name: (driver, env.py after the head)
SHAPES = {
    "psycopg2": ("psycopg2", CONNECTS),
    "psycopg 3": ("psycopg", CONNECTS),
    "pg8000": ("pg8000", CONNECTS),
    "asyncio.run": ("asyncpg", ASYNC + "asyncio.run(run())\n"),
    "psycopg 3, asynchronous": ("psycopg", ASYNC + "asyncio.run(run())\n"),
    "a loop of its own": (
        "asyncpg",
        ASYNC
        + "loop = asyncio.new_event_loop()\ntry:\n    loop.run_until_complete(run())\nfinally:\n    loop.close()\n",
    ),
    "asyncio.run in a thread": (
        "asyncpg",
        ASYNC + "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(1) as threads:\n    threads.submit(lambda: asyncio.run(run())).result()\n",
    ),
    "a loop that runs already, in a thread": (
        "asyncpg",
        ASYNC + "import threading\n"
        "loop = asyncio.new_event_loop()\nthread = threading.Thread(target=loop.run_forever, daemon=True)\nthread.start()\n"
        "try:\n    asyncio.run_coroutine_threadsafe(run(), loop).result()\n"
        "finally:\n    loop.call_soon_threadsafe(loop.stop)\n    thread.join()\n    loop.close()\n",
    ),
    "begins first": ("psycopg2", "with create_engine(URL).begin() as connection:\n    configured(connection)\n"),
    "begins first, asynchronously": (
        "asyncpg",
        ASYNC.replace("engine.connect()", "engine.begin()") + "asyncio.run(run())\n",
    ),
    "sets limits first": (
        "psycopg2",
        (
            "with create_engine(URL).connect() as connection:\n"
            "    connection.execute(text(\"SET lock_timeout = '3s'\"))\n    configured(connection)\n"
        ),
    ),
    "makes its schema first": (
        "psycopg",
        (
            "with create_engine(URL).connect() as connection:\n"
            "    connection.execute(text('CREATE SCHEMA IF NOT EXISTS deep'))\n"
            "    configured(connection, version_table_schema='deep', version_table='versions')\n"
        ),
    ),
    "makes its schema by the context": (
        "psycopg2",
        (
            "with create_engine(URL).connect() as connection:\n"
            "    context.configure(connection=connection, target_metadata=metadata, version_table_schema='deep')\n"
            "    with context.begin_transaction():\n"
            "        context.execute('CREATE SCHEMA IF NOT EXISTS deep')\n        context.run_migrations()\n"
        ),
    ),
    "takes a lock": (
        "psycopg2",
        (
            "with create_engine(URL).connect() as connection:\n"
            "    context.configure(connection=connection, target_metadata=metadata)\n"
            "    connection.execute(text('SELECT pg_advisory_lock(42)'))\n    try:\n"
            "        with context.begin_transaction():\n            context.run_migrations()\n"
            "    finally:\n        connection.execute(text('SELECT pg_advisory_unlock(42)'))\n"
        ),
    ),
    "takes a lock and never lets go": (
        "psycopg2",
        (
            "connection = create_engine(URL).connect()\nconnection.execute(text('SELECT pg_advisory_lock(42)'))\n"
            "configured(connection)\n"
        ),
    ),
    "locks its transaction": (
        "psycopg2",
        (
            "with create_engine(URL).begin() as connection:\n"
            "    connection.execute(text('SELECT pg_advisory_xact_lock(42)'))\n    configured(connection)\n"
        ),
    ),
    "never closes": ("psycopg2", "connection = create_engine(URL).connect()\nconfigured(connection)\n"),
    "never closes, asynchronously": (
        "asyncpg",
        ASYNC.replace(
            "    async with engine.connect() as connection:\n        await",
            "    connection = await engine.connect()\n    if True:\n        await",
        ).replace("    await engine.dispose()\n", "")
        + "asyncio.run(run())\n",
    ),
    "autocommit": (
        "psycopg2",
        "with create_engine(URL, isolation_level='AUTOCOMMIT').connect() as connection:\n    configured(connection)\n",
    ),
    "one transaction, none around DDL": (
        "psycopg2",
        (
            "with create_engine(URL).connect() as connection:\n"
            "    configured(connection, transactional_ddl=False, transaction_per_migration=False)\n"
        ),
    ),
    "swallows errors": (
        "psycopg2",
        (
            "try:\n    with create_engine(URL).connect() as connection:\n        configured(connection)\n"
            "except Exception as error:\n    print('never mind', type(error).__name__)\n"
        ),
    ),
    "a creator": (
        "psycopg2",
        (
            "import psycopg2\nengine = create_engine('postgresql+psycopg2://', creator=lambda: psycopg2.connect(os.environ['SHOP_DATABASE_URL']))\n"
            "with engine.connect() as connection:\n    configured(connection)\n"
        ),
    ),
}


def env_py(shape, columns):
    """Return the env.py of a shape whose models have these columns."""
    driver, rest = SHAPES[shape]
    return HEAD.format(driver=driver, columns=columns) + rest
