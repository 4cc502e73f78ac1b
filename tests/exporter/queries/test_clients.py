"""`TokenLedgerQueries`, used the way TokenLedger 0.1 was used."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal

import psycopg
import pytest

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries import TokenLedgerQueries

ROWS = """
INSERT INTO token_ledger_events
    (timestamp, provider, model, user_id, cost_status, cost_usd, input_tokens, output_tokens)
VALUES
    (now(), 'openai', 'gpt-4o', 'u1', 'priced', 0.1, 10, 1),
    (now(), 'anthropic', 'claude-opus-5', 'u2', 'priced', 0.2, 20, 2),
    (now() - interval '40 days', 'openai', 'gpt-4o', 'u1', 'priced', 5, 30, 3),
    (now(), 'openai', 'acme-7b', '', 'unpriced', NULL, 40, 4)
"""


@pytest.fixture
def queries(database_url: str, monkeypatch: pytest.MonkeyPatch) -> TokenLedgerQueries:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "SELECT token_ledger_add_partitions((now() - interval '2 months')::date, now()::date)"
        )
        connection.execute(ROWS)
    return TokenLedgerQueries()


def test_a_summary_is_exact_and_has_coverage(queries: TokenLedgerQueries) -> None:
    summary = queries.get_cost_summary(days=7)
    assert summary.total_cost == Decimal("0.3")
    assert f"${summary.total_cost:.2f}" == "$0.30"
    assert (summary.total_requests, summary.total_input_tokens) == (3, 70)
    assert summary.coverage.unpriced == 1
    assert queries.get_cost_summary(days=60).total_cost == Decimal("5.3")


def test_an_average_is_over_the_calls_whose_cost_is_known(queries: TokenLedgerQueries) -> None:
    summary = queries.get_cost_summary(days=7)
    # (0.1 + 0.2) / 2 = 0.15; a third call has no price.
    assert summary.avg_cost_per_request == Decimal("0.15")
    assert summary.avg_tokens_per_request == Decimal(77) / 3
    unknown = queries.get_cost_summary(days=7, model="acme-7b")
    assert (unknown.avg_cost_per_request, unknown.known_cost) == (Decimal(0), None)
    since = datetime.now(timezone.utc) - timedelta(days=7)
    metrics = ("avg_cost_per_request", "avg_total_per_request", "count_requests")
    [total] = queries.aggregate("none", metrics, time_from=since)
    assert total.metrics["avg_cost_per_request"] == Decimal("0.15")
    assert total.metrics["count_requests"] == 3


def test_models_and_users_are_sorted_by_cost(queries: TokenLedgerQueries) -> None:
    models = [(m.provider, m.model, m.total_cost) for m in queries.get_costs_by_model(days=30)]
    assert models == [
        ("anthropic", "claude-opus-5", Decimal("0.2")),
        ("openai", "gpt-4o", Decimal("0.1")),
        ("openai", "acme-7b", Decimal(0)),
    ]
    users = [(user.user_id, user.total_cost) for user in queries.get_costs_by_user(days=30)[:2]]
    assert users == [("u2", Decimal("0.2")), ("u1", Decimal("0.1"))]


def test_days_are_sorted_newest_first(queries: TokenLedgerQueries) -> None:
    days = queries.get_daily_costs(days=60)
    assert days[0].date == datetime.now(timezone.utc).date()
    assert [day.total_cost for day in days] == [Decimal("0.3"), Decimal(5)]


def test_an_empty_ledger_costs_zero_dollars(database_url: str) -> None:
    queries = TokenLedgerQueries(database_url)
    summary = queries.get_cost_summary()
    assert isinstance(summary.total_cost, Decimal)
    assert f"${summary.total_cost:.2f}" == "$0.00"
    assert queries.get_costs_by_model() == []
    assert queries.get_daily_costs() == []


def test_without_a_database_url_the_error_names_the_remedy() -> None:
    with pytest.raises(InvalidRequestError, match=r"tokenledger\.configure\(database_url=\.\.\.\)"):
        TokenLedgerQueries()


@pytest.mark.parametrize("days", [0, -1, 10**7, 10**12])
def test_an_impossible_number_of_days_is_refused(database_url: str, days: int) -> None:
    with pytest.raises(InvalidRequestError, match=str(days)):
        TokenLedgerQueries(database_url).get_cost_summary(days=days)
