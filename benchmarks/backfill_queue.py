"""Naive batches as tasks of procrastinate, a queue that needs only PostgreSQL: what a team does that has one already.

Run by benchmarks/backfill.py with the Python that has it: backfill_queue.py ROWS SIZE WORKERS; DATABASE_URL, UPDATE.
"""

from __future__ import annotations

import os
import sys

import procrastinate

ROWS, SIZE, WORKERS = (int(argument) for argument in sys.argv[1:4])
UPDATE = os.environ["UPDATE"]

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))


@app.task(name="batch")
async def batch(low: int) -> None:
    """Change the rows of one range, on a connection of the pool."""
    async with app.connector.pool.connection() as connection:
        await connection.execute(UPDATE, (low, low + SIZE))


async def main() -> None:
    """Put the tasks into the queue, and work until it is empty."""
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await batch.batch_defer_async(*({"low": low} for low in range(0, ROWS, SIZE)))
        await app.run_worker_async(wait=False, concurrency=WORKERS, install_signal_handlers=False)
        rows = await app.connector.execute_query_all_async("SELECT count(*) AS n FROM procrastinate_jobs "
                                                           "WHERE status <> 'succeeded'")  # fmt: skip
        assert rows[0]["n"] == 0, rows


if __name__ == "__main__":
    import asyncio

    asyncio.run(main())
