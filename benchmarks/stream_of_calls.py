"""Writes calls of now into a ledger at a given rate, as a drainer does, until it is stopped.

A process of its own, so that it takes no time from the measuring one: `python -m
benchmarks.stream_of_calls URL ROWS_PER_SECOND BATCH SECONDS`. Prints the rows it wrote.
"""

from __future__ import annotations

import random
import sys
import time
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final
from uuid import UUID

from msgspec.structs import replace

from benchmarks.spans import chat_spans
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.pricing.book import PriceBook
from tokenledger_exporter.pricing.catalog.genai_prices import package_rows
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_exporter.recorder.encode import encode_span
from tokenledger_exporter.spool.codec import FORMAT_VERSION, decode_record
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenledger_exporter.domain.ledger_row import LedgerRow

USERS, ORGANIZATIONS, FEATURES, MODELS, PROJECTS, TEAMS = 1_000, 50, 12, 10, 7, 5
_HEADER: Final = SpoolHeader(format_version=FORMAT_VERSION, ledger="bench")
_VERSION: Final = (8 << 76) | (2 << 62)


def made_rows(count: int, seed: int = 1) -> list[LedgerRow]:
    """Priced rows of as many users, models and features as the ledger has; not yet of any time."""
    drawn = random.Random(seed)  # noqa: S311 - the same rows in every run
    book = PriceBook(package_rows())
    [span] = chat_spans(1)
    [one] = build_rows(decode_record(encode_span(span)), _HEADER, lambda _provider: book)
    if one.cost_usd is None:
        raise AssertionError("the span of the bench is not priced")
    return [
        replace(
            one,
            model=f"model-{drawn.randrange(MODELS)}",
            user_id=f"user-{drawn.randrange(USERS)}",
            organization_id=f"org-{drawn.randrange(ORGANIZATIONS)}",
            feature=f"feature-{drawn.randrange(FEATURES)}",
            team=f"team-{drawn.randrange(TEAMS)}",
            project=f"project-{drawn.randrange(PROJECTS)}",
            response_id=f"chatcmpl-{drawn.getrandbits(116):029x}",
        )
        for _ in range(count)
    ]


def of_now(rows: Sequence[LedgerRow], drawn: random.Random) -> list[LedgerRow]:
    """The rows as calls that started within the last second."""
    now = datetime.now(timezone.utc)
    return [
        replace(
            row,
            event_id=UUID(
                int=int(moment.timestamp() * 1000) << 80 | _VERSION | drawn.getrandbits(62)
            ),
            timestamp=moment,
            ended_at=moment + timedelta(milliseconds=500),
            response_id=f"chatcmpl-{drawn.getrandbits(116):029x}",
        )
        for row in rows
        for moment in [now - timedelta(seconds=drawn.random())]
    ]


def main(url: str, rate: int, batch: int, seconds: float) -> None:
    """Write, and print how many rows it were."""
    rows = made_rows(batch)
    drawn = random.Random(time.time_ns())  # noqa: S311 - no two runs write the same rows
    written, began = 0, time.monotonic()
    with closing(BatchWriter(url)) as writer:
        while time.monotonic() - began < seconds:
            writer.write(of_now(rows, drawn))
            written += batch
            if (ahead := began + written / rate - time.monotonic()) > 0:
                time.sleep(ahead)
    print(written, time.monotonic() - began)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
