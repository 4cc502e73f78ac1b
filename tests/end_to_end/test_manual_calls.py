"""Calls tracked manually reach Postgres once, on their own day, at the cost `meter` reported."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

import tokenledger

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


@pytest.mark.usefixtures("unpatched")
def test_a_past_call_that_is_tracked_twice_is_one_row_of_its_day(
    database_url: str, tmp_path: Path
) -> None:
    """gpt-4o, USD a million tokens: input 2.50, output 10.00."""
    call = {"model": "gpt-4o", "input_tokens": 1_000, "output_tokens": 100, "requested_at": NOON}
    tokenledger.configure(database_url=database_url, spool_dir=str(tmp_path))
    with tokenledger.meter() as counted:
        tokenledger.track_many([call, call, {**call, "user_id": "u2"}])
    tokenledger.flush()
    tokenledger.track_many([call])
    tokenledger.flush()
    assert counted.calls == 2
    assert counted.cost_usd == 2 * Decimal("0.0035")
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT timestamp, user_id, cost_usd FROM token_ledger_events ORDER BY user_id"
        ).fetchall()
    assert rows == [(NOON, "", Decimal("0.0035")), (NOON, "u2", Decimal("0.0035"))]
    tokenledger.shutdown()
