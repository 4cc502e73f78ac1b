"""Writes ready events with TokenLedger 0.1.1, in its own environment, and prints rows a second."""

import sys
import time

from tokenledger.config import TokenLedgerConfig
from tokenledger.migrations.runner import MigrationRunner
from tokenledger.models import LLMEvent
from tokenledger.tracker import TokenTracker

url, count = sys.argv[1], int(sys.argv[2])
events = [
    LLMEvent.fast_construct(
        provider="openai",
        model="gpt-4o",
        input_tokens=1_000,
        output_tokens=100,
        total_tokens=1_100,
        cost_usd=0.0035,
        duration_ms=2_000.0,
        user_id=f"user_{number % 1_000}",
        organization_id=f"org_{number % 50}",
    )
    for number in range(count)
]
# Its fastest setting for Postgres of those tried: batches of 1,000, written where they are full.
settings = TokenLedgerConfig(database_url=url, batch_size=1_000, async_mode=False)
tracker = TokenTracker(settings)
# The tables and indexes its documents tell people to make: `tokenledger db init`.
MigrationRunner(url).init()
tracker.initialize(create_tables=False)
began = time.perf_counter()
for event in events:
    tracker.track(event)
tracker.flush()
print(count / (time.perf_counter() - began))
tracker.shutdown()
