"""`as_records`: any result as flat dicts, an unknown cost as `None`."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tokenledger.queries import TokenLedgerQueries, as_records
from tokenledger_exporter.errors import InvalidRequestError

ROWS = b"""
INSERT INTO token_ledger_events
    (provider, model, team, cost_status, cost_usd, input_tokens, output_tokens, status, error_type)
VALUES
    ('openai', 'gpt-4o', 'ml', 'priced', 0.1, 10, 1, 'success', ''),
    ('openai', 'acme-7b', 'web', 'unpriced', NULL, 40, 4, 'error', 'timeout')
"""


@pytest.fixture
def queries(database_url: str) -> TokenLedgerQueries:
    with psycopg.connect(database_url) as connection:
        connection.execute(ROWS)
    return TokenLedgerQueries(database_url)


def test_an_unknown_cost_is_none_and_the_coverage_follows(queries: TokenLedgerQueries) -> None:
    teams = as_records(queries.get_costs_by("team"))
    assert [(row["team"], row["cost_usd"], row["calls"]) for row in teams] == [
        ("ml", Decimal("0.1"), 1),
        ("web", None, 1),
    ]
    assert [(row["priced"], row["unpriced"]) for row in teams] == [(1, 0), (0, 1)]
    models = as_records(queries.get_costs_by_model())
    assert [(row["model"], row["total_cost"], row["total_tokens"]) for row in models] == [
        ("gpt-4o", Decimal("0.1"), 11),
        ("acme-7b", None, 44),
    ]


def test_a_result_prints_what_is_known_of_its_cost(queries: TokenLedgerQueries) -> None:
    known, unknown = queries.get_costs_by_model()
    assert (known.known_cost, known.cost_text) == (Decimal("0.1"), "$0.1")
    assert unknown.known_cost is None
    assert (unknown.total_cost, unknown.cost_text) == (Decimal(0), "unknown")
    assert queries.get_cost_summary().cost_text == "$0.1+"
    assert queries.get_costs_by("team").totals.cost_text == "$0.1+"
    # 0.1 / 7 x 30 = 0.428571...
    assert queries.get_projected_monthly_cost().cost_text == "$0.428571+"


def test_a_comparison_has_the_cost_before_and_the_change(queries: TokenLedgerQueries) -> None:
    (ml, _web) = as_records(queries.compare_costs("team"))
    assert (ml["previous_cost_usd"], ml["change_usd"]) == (Decimal(0), Decimal("0.1"))


def test_a_page_unpacks_into_calls_and_a_cursor(queries: TokenLedgerQueries) -> None:
    events, cursor = queries.fetch_raw(limit=1)
    assert (len(events), isinstance(cursor, str)) == (1, True)
    (record,) = as_records(queries.fetch_raw(limit=1))
    assert record == as_records(events)[0]
    assert record["model"] == events[0].model


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_cost_summary", ()),
        ("get_costs_by_user", ()),
        ("get_daily_costs", ()),
        ("get_daily_trend", (7,)),
        ("get_hourly_costs", (3,)),
        ("get_error_rate", ()),
        ("get_top_errors", ()),
        ("get_projected_monthly_cost", ()),
        ("get_costs_by", ()),
        ("aggregate", (["team"], ["sum_cost"])),
    ],
)
def test_every_result_is_flat_and_a_csv_file(
    queries: TokenLedgerQueries, method: str, arguments: tuple[Any, ...]
) -> None:
    records = as_records(getattr(queries, method)(*arguments))
    assert records
    text = io.StringIO()
    writer = csv.DictWriter(text, records[0].keys())
    writer.writerows(records)
    flat = (str, int, float, Decimal, type(None))
    assert all(
        isinstance(value, flat) or hasattr(value, "isoformat")
        for record in records
        for value in record.values()
    )
    assert all(record.keys() >= {"priced", "reported", "unpriced"} for record in records)


@pytest.mark.parametrize("value", [3, "rows", [3], None])
def test_another_value_is_refused(value: Any) -> None:  # noqa: ANN401 - of any type
    with pytest.raises(InvalidRequestError, match="as_records takes the result of a query"):
        as_records(value)
