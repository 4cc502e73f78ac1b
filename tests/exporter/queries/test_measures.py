"""Errors, latency, tokens and the cache by any dimensions; each figure equals a plain SQL sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from support.ledger_rows import ask
from tokenledger_exporter.db.connection import session
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.measures.measure import MEASURES, measure_steps
from tokenledger_exporter.queries.summaries import last_days

if TYPE_CHECKING:
    from tokenledger_exporter.queries.measures.measure import Measured

CALLS = """
INSERT INTO token_ledger_events
    (timestamp, provider, model, team, feature, cost_status, status, error_type, duration_ms,
     time_to_first_token_ms, input_tokens, output_tokens, cached_tokens, reasoning_tokens,
     price_id, cached_cost_usd, metadata)
SELECT
    now() - n * interval '1 hour', 'openai', 'm' || n % 2, 'ml', 'f' || n % 3, 'unpriced',
    CASE WHEN n % 4 = 0 THEN 'error' ELSE 'success' END, '', 100 * n, NULLIF(n % 5, 0), 1000,
    10 * n, 100 * n, n, 'none', 0, '{"tier": "gold"}'
FROM generate_series(1, 12) AS n
"""


def measured(url: str, measure: str, *by: str, limit: int = 100) -> Measured:
    with psycopg.connect(url) as connection:
        connection.execute(CALLS.encode())
    with session(url) as connection:
        request = last_days(7, *by, limit=limit)
        return run_steps(connection, measure_steps(request, measure))


def test_errors_by_model_and_in_total(database_url: str) -> None:
    """Calls 4, 8 and 12 failed; all have an even number, so they are of model m0."""
    result = measured(database_url, "errors", "model")
    assert [(row.labels, row.figures) for row in result.rows] == [
        (("m0",), {"errors": 3, "error_rate": 0.5}),
        (("m1",), {"errors": 0, "error_rate": 0.0}),
    ]
    assert result.totals.figures == {"errors": 3, "error_rate": 0.25}


def test_percentiles_of_the_total_are_its_own(database_url: str) -> None:
    """Durations 100 to 1,200: the median is 650; of the even ones 700, of the odd ones 600."""
    result = measured(database_url, "latency", "model")
    medians = {row.labels[0]: row.figures["p50_ms"] for row in result.rows}
    assert medians == {"m0": 700, "m1": 600}
    assert (result.totals.figures["p50_ms"], result.totals.calls) == (650, 12)
    # 100 + 0.99 x 1,100.
    assert result.totals.figures["p99_ms"] == pytest.approx(1_189)


def test_a_stream_that_was_not_measured_is_not_counted(database_url: str) -> None:
    result = measured(database_url, "first_token")
    assert result.rows == ()
    assert (result.totals.calls, result.totals.figures["measured"]) == (12, 10)


def test_a_limit_cuts_groups_and_not_the_total(database_url: str) -> None:
    """Tokens grow with the number of the call; hour by hour would be 12 groups."""
    result = measured(database_url, "tokens", "feature", "model", limit=2)
    assert len(result.rows) == 2
    assert result.totals.figures["output_tokens"] == 780  # 10 x (1 + ... + 12).
    assert result.totals.figures["reasoning_tokens"] == 78


def test_the_cache_by_metadata(database_url: str) -> None:
    """7,800 of 12,000 tokens; their sheet is unknown, so nothing is said to be saved."""
    result = measured(database_url, "cache", "metadata.tier")
    [row] = result.rows
    assert row.labels == ("gold",)
    assert row.figures == result.totals.figures
    assert row.figures == {
        "input_tokens": 12_000,
        "cached_tokens": 7_800,
        "hit_rate": 0.65,
        "savings_usd": 0,
        "tokens_without_price": 7_800,
    }


def test_hours_are_in_order(database_url: str) -> None:
    result = measured(database_url, "errors", "hour")
    hours = [row.labels[0] for row in result.rows]
    assert hours == sorted(hours)
    assert len(hours) == 12


@pytest.mark.parametrize("measure", MEASURES)
def test_a_period_without_calls_has_no_figures(database_url: str, measure: str) -> None:
    with session(database_url) as connection:
        result = run_steps(connection, measure_steps(last_days(1, "model"), measure))
    assert result.rows == ()
    assert result.totals.calls == 0


def test_an_unknown_measure_is_an_error_with_the_known_ones(database_url: str) -> None:
    with pytest.raises(InvalidRequestError, match="unknown measure 'mood'; use one of tokens"):
        measured(database_url, "mood")
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(12,)]
