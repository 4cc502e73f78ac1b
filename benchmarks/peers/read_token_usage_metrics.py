"""Reads with Token Usage Metrics 0.1.2: prints pages of 1 a second, then rows a second by 1,000."""

import asyncio
import sys
import time

import asyncpg
from token_usage_metrics.client import TokenUsageClient
from token_usage_metrics.config import BackendType, Settings
from token_usage_metrics.models import UsageEvent, UsageFilter

SECONDS = 1.5


async def main(url: str, count: int) -> None:
    """Write the events once, then read."""
    settings = Settings(
        backend=BackendType.POSTGRES,
        postgres_dsn=url,
        buffer_size=1_000_000,
        flush_batch_size=2_000,
        flush_interval=0.1,
    )
    client = TokenUsageClient(settings)
    await client.start()
    connection = await asyncpg.connect(url)
    [table] = [
        row["table_name"]
        for row in await connection.fetch(
            "SELECT table_name FROM information_schema.columns "
            "WHERE column_name = 'request_type' AND table_name LIKE '%event%'"
        )
    ]
    if not await connection.fetchval(f"SELECT count(*) FROM {table}"):
        events = [
            UsageEvent(
                project_name=f"project_{number % 7}",
                request_type="chat",
                input_tokens=1_000,
                output_tokens=100,
                metadata={"user": f"user_{number % 1_000}", "org": f"org_{number % 50}"},
            )
            for number in range(count)
        ]
        await client.log_many(events)
        await client.flush(timeout=120)
        began = time.perf_counter()
        while await connection.fetchval(f"SELECT count(*) FROM {table}") < count:
            if time.perf_counter() - began > 120:
                raise SystemExit("rows are missing after two minutes")
            await asyncio.sleep(0.01)
        await connection.execute(f"VACUUM ANALYZE {table}")
    for limit in (1, 1_000):
        wanted = UsageFilter(project_name="project_3", limit=limit)
        rows, pages, began = 0, 0, time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            events, _ = await client.fetch_raw(wanted)
            rows, pages = rows + len(events), pages + 1
        took = time.perf_counter() - began
        print((pages if limit == 1 else rows) / took)
    await connection.close()
    await client.aclose()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
