"""Writes ready events with Token Usage Metrics 0.1.2 and prints rows a second."""

import asyncio
import sys
import time

import asyncpg
from token_usage_metrics.client import TokenUsageClient
from token_usage_metrics.config import BackendType, Settings
from token_usage_metrics.models import UsageEvent


async def main(url: str, count: int) -> None:
    """Write, wait until every row is there, and print."""
    settings = Settings(
        backend=BackendType.POSTGRES,
        postgres_dsn=url,
        buffer_size=1_000_000,
        flush_batch_size=2_000,
        flush_interval=0.1,
    )
    events = [
        UsageEvent(
            project_name=f"feature_{number % 12}",
            request_type="chat",
            input_tokens=1_000,
            output_tokens=100,
            metadata={"user": f"user_{number % 1_000}", "org": f"org_{number % 50}"},
        )
        for number in range(count)
    ]
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
    before = await connection.fetchval(f"SELECT count(*) FROM {table}")
    began = time.perf_counter()
    await client.log_many(events)
    await client.flush(timeout=120)
    while await connection.fetchval(f"SELECT count(*) FROM {table}") < before + count:
        if time.perf_counter() - began > 120:
            raise SystemExit("rows are missing after two minutes")
        await asyncio.sleep(0.01)
    print(count / (time.perf_counter() - began))
    await connection.close()
    await client.aclose()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
