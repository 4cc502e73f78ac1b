"""An argument of a query with a value of another type is named, with the remedy."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import pytest

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries import AsyncTokenLedgerQueries, TokenLedgerQueries

CASES: dict[str, list[tuple[tuple[Any, ...], dict[str, Any], str]]] = {
    "get_costs_by": [
        ((["feature"],), {}, "not ['feature']; write each as an argument of its own: \"feature\""),
        (((("team", "day")),), {}, 'write each as an argument of its own: "team", "day"'),
        ((None,), {}, "a dimension must be text, not None"),
        ((3,), {}, "a dimension must be text, not 3"),
        (("team",), {"days": "7"}, "days must be a whole number, not '7'"),
        (("team",), {"days": True}, "days must be a whole number, not True"),
        (("team",), {"limit": "5"}, "limit must be a whole number, not '5'"),
        (("team",), {"limit": 2.5}, "limit must be a whole number, not 2.5"),
        (("team",), {"limit": -1}, "limit must be 0 or more, not -1"),
        (("team",), {"where": "team=ml"}, "where must map dimensions to values, such as {'team'"),
        (("team",), {"where": {"team": 5}}, "the value of 'team' in where must be text or a list"),
        (
            ("team",),
            {"where": {"team": [5]}},
            "the value of 'team' in where must be text or a list",
        ),
        (("team",), {"where": {5: "x"}}, "a dimension of where must be text, not 5"),
        (("team",), {"timezone": None}, "timezone must be text, not None"),
        (("team",), {"order_by": ["calls"]}, "order_by must be text, not ['calls']"),
    ],
    "compare_costs": [((["team"],), {}, 'write each as an argument of its own: "team"')],
    "why": [
        ((["team"],), {}, "by must be text, not ['team']"),
        (("team",), {"detail": "yes"}, "detail must be True, False or None, not 'yes'"),
    ],
    "get_cost_summary": [
        ((), {"user_id": 5}, "the filter by user must be text, not 5"),
        ((), {"model": ["gpt-4o"]}, "the filter by model must be text, not ['gpt-4o']"),
    ],
    "get_top_errors": [((), {"limit": "x"}, "limit must be a whole number, not 'x'")],
    "get_runs": [
        ((["trace"],), {}, "kind must be text, not ['trace']"),
        ((), {"order_by": None}, "order must be text, not None"),
        ((), {"limit": "3"}, "limit must be a whole number, not '3'"),
        ((), {"where": ["team"]}, "where must map dimensions to values"),
    ],
    "get_hourly_costs": [(("24",), {}, "hours must be a whole number, not '24'")],
    "get_daily_trend": [
        (("7",), {}, "days must be a whole number, not '7'"),
        ((7,), {"timezone": 3}, "timezone must be text, not 3"),
    ],
    "get_projected_monthly_cost": [((), {"where": 3}, "where must map dimensions to values")],
    "fetch_raw": [
        ((), {"limit": "5"}, "limit must be a whole number, not '5'"),
        ((), {"cursor": 5}, "cursor must be text, not 5"),
        ((), {"project": 5}, "the filter by project must be text, not 5"),
        (
            (),
            {"time_from": "2026-11-01"},
            "time_from must be a datetime.datetime, not '2026-11-01'",
        ),
        ((), {"time_to": date(2026, 11, 1)}, "time_to must be a datetime.datetime"),
    ],
    "aggregate": [
        ((5,), {}, "group_by must be text or a list of texts, not 5"),
        (([5],), {}, "group_by must be text or a list of texts, not [5]"),
        (("day", 5), {}, "metrics must be text or a list of texts, not 5"),
        (("day",), {"time_from": 5}, "time_from must be a datetime.datetime, not 5"),
        (("day",), {"timezone": 5}, "timezone must be text, not 5"),
    ],
}


@pytest.mark.parametrize("method", CASES)
def test_a_value_of_another_type_is_named(database_url: str, method: str) -> None:
    with TokenLedgerQueries(database_url) as queries:
        for words, options, message in CASES[method]:
            with pytest.raises(InvalidRequestError) as caught:
                getattr(queries, method)(*words, **options)
            assert message in str(caught.value)


def test_the_async_client_names_it_too(database_url: str) -> None:
    words: Any = ["feature"]
    with pytest.raises(InvalidRequestError, match="a dimension must be text, not"):
        asyncio.run(AsyncTokenLedgerQueries(database_url).get_costs_by(words))


def test_a_long_value_is_not_repeated(database_url: str) -> None:
    words: Any = "x" * 1_000
    with pytest.raises(InvalidRequestError, match="days must be a whole number, not 'xxx"):
        TokenLedgerQueries(database_url).get_cost_summary(words)
    with pytest.raises(InvalidRequestError, match=r"where must map .*, not a value of type str"):
        TokenLedgerQueries(database_url).get_cost_summary(where=words)


def test_one_metric_may_be_a_text(database_url: str) -> None:
    metric: Any = "sum_cost"
    assert TokenLedgerQueries(database_url).aggregate("day", metric) == []


def test_a_database_url_must_be_text() -> None:
    url: Any = 5
    with pytest.raises(InvalidRequestError, match="database_url must be text, not 5"):
        TokenLedgerQueries(url)
