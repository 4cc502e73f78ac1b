"""Forecasts of a real ledger: from calls and from roll-ups, in Python and on the command line."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from support.command_line import run
from support.ledger_rows import ask
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries import AsyncTokenLedgerQueries, TokenLedgerQueries
from tokenledger_exporter.rollups import refresh

if TYPE_CHECKING:
    from tokenledger_exporter.queries import MonthForecast

DAYS: Final = 100

# A call of 0.25 dollars every hour of 100 days: half of them of the team ml, in turn.
CALLS: Final = f"""
INSERT INTO token_ledger_events (timestamp, provider, model, team, cost_status, cost_usd)
SELECT hour, 'openai', 'gpt-4o', CASE number % 2 WHEN 0 THEN 'ml' ELSE 'web' END, 'priced', 0.25
FROM generate_series(1, {DAYS} * 24) AS number,
LATERAL (SELECT date_trunc('hour', now()) - number * interval '1 hour') AS at (hour)
"""
UNKNOWN: Final = """
INSERT INTO token_ledger_events (timestamp, provider, model, team, cost_status)
SELECT now() - interval '1 minute', 'acme', 'acme-7b', 'new', 'unpriced'
FROM generate_series(1, 3)
"""


def partitions(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "SELECT token_ledger_add_partitions((now() - interval '5 months')::date, now()::date)"
        )


@pytest.fixture
def empty(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    partitions(database_url)
    return database_url


@pytest.fixture
def ledger(empty: str) -> str:
    with psycopg.connect(empty) as connection:
        connection.execute(CALLS.encode())
    return empty


def spent(ledger: str, condition: str = "true") -> Decimal:
    [(cost,)] = ask(
        ledger,
        "SELECT COALESCE(sum(cost_usd), 0) FROM token_ledger_events"
        f" WHERE timestamp >= date_trunc('month', now(), 'UTC') AND {condition}",
    )
    return Decimal(cost)


def hours_of(forecast: MonthForecast) -> Decimal:
    return Decimal((forecast.until - forecast.since) // timedelta(hours=1))


@pytest.mark.parametrize("source", ["calls", "roll-ups"])
def test_a_steady_ledger_is_forecast_to_its_hours(ledger: str, source: str) -> None:
    if source == "roll-ups":
        with psycopg.connect(ledger, autocommit=True) as connection:
            refresh.refresh(connection)
    forecast = TokenLedgerQueries(ledger).forecast()
    assert forecast.spent_usd == spent(ledger)
    # 0.25 an hour; the hour that runs has no call yet.
    assert forecast.expected_usd == pytest.approx(hours_of(forecast) / 4, abs=Decimal("0.5"))
    assert forecast.method == "seasonal"
    # The day of the first call is not complete.
    assert forecast.days_learned == DAYS - 1
    assert forecast.learned_coverage.priced == DAYS * 24
    assert forecast.notes == ()
    assert forecast.low_usd is not None
    assert forecast.high_usd is not None
    assert forecast.expected_usd is not None
    assert spent(ledger) <= forecast.low_usd <= forecast.expected_usd <= forecast.high_usd


def test_filters_zones_and_the_async_client_have_the_same_answer(ledger: str) -> None:
    forecast = TokenLedgerQueries(ledger).forecast(where={"team": "ml"}, timezone="Asia/Kolkata")
    assert forecast.expected_usd == pytest.approx(hours_of(forecast) / 8, abs=Decimal("0.5"))
    assert forecast.since.utcoffset() == timedelta(hours=5, minutes=30)
    other = asyncio.run(
        AsyncTokenLedgerQueries(ledger).forecast(where={"team": "ml"}, timezone="Asia/Kolkata")
    )
    assert other.spent_usd == forecast.spent_usd
    assert forecast.to_records()[0]["method"] == "seasonal"


def test_mean30_is_the_projection_of_older_trackers(ledger: str) -> None:
    queries = TokenLedgerQueries(ledger)
    forecast = queries.forecast(method="mean30")
    assert forecast.expected_usd == pytest.approx(
        max(queries.get_projected_monthly_cost().cost_usd, spent(ledger)), abs=Decimal(8)
    )
    assert (forecast.method, forecast.low_usd) == ("mean30", None)


def test_calls_without_a_known_cost_are_named(ledger: str) -> None:
    with psycopg.connect(ledger) as connection:
        connection.execute(UNKNOWN.encode())
    forecast = TokenLedgerQueries(ledger).forecast()
    assert forecast.coverage.unpriced == 3
    assert "3 of 2,403 calls have no known cost" in forecast.notes[0]
    assert forecast.cost_text.endswith("+")
    unknown = TokenLedgerQueries(ledger).forecast(where={"team": "new"})
    assert (unknown.spent_usd, unknown.expected_usd, unknown.cost_text) == (None, None, "unknown")


def test_a_short_past_says_so(empty: str) -> None:
    with psycopg.connect(empty) as connection:
        connection.execute(CALLS.replace(f"{DAYS} * 24", "5 * 24").encode())
    forecast = TokenLedgerQueries(empty).forecast()
    assert (forecast.method, forecast.days_learned) == ("mean30", 4)
    assert (
        "4 complete days of calls are too few for 'seasonal', which needs 14" in (forecast.notes[0])
    )


def test_an_empty_ledger_and_filters_without_calls_have_no_forecast(empty: str) -> None:
    queries = TokenLedgerQueries(empty)
    forecast = queries.forecast()
    assert (forecast.spent_usd, forecast.expected_usd) == (Decimal(0), None)
    assert forecast.notes == ("the ledger has no calls yet: there is nothing to forecast from",)
    assert queries.forecast(where={"team": "x"}).notes[0].startswith("no calls match the filters")
    assert queries.backtest_forecast().forecasts == ()
    assert "nothing can be tested yet" in queries.backtest_forecast().notes[0]


def test_the_last_month_has_its_exact_cost(ledger: str) -> None:
    forecast = TokenLedgerQueries(ledger).forecast("last")
    assert forecast.is_over
    assert forecast.expected_usd == forecast.spent_usd == hours_of(forecast) / 4
    assert forecast.notes == ("the month is over: this is its cost, not a forecast",)
    assert "which ended" in run("forecast", "--month", "last").output


def next_month() -> str:
    return f"{datetime.now(timezone.utc).replace(day=1) + timedelta(days=32):%Y-%m}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "magic"), "unknown method 'magic'; use one of seasonal, mean30"),
        (("--month", next_month()), "is in the future; use this, last or a month before"),
        (("--month", "2019-03"), "there are no calls in 2019-03 or before it: use a later month"),
        (("--month", "0001-01"), "too far in the past"),
        (("--month", "May"), "invalid month 'May'; use 2026-10, last or this"),
        (("--timezone", "Mars"), "unknown time zone 'Mars'"),
        (("--where", "x=1"), "unknown dimension 'x'; use one of"),
        (("--backtest", "--month", "last"), "--backtest and --month cannot be combined"),
        (("--backtest", "--method", "mean30"), "--backtest and --method cannot be combined"),
        (("--backtest", "--timezone", "Mars"), "unknown time zone 'Mars'"),
    ],
)
def test_bad_input_has_a_clear_error(ledger: str, words: tuple[str, ...], message: str) -> None:
    assert ledger
    result = run("forecast", *words)
    assert (result.exit_code, message in result.output) == (2, True), result.output


def test_bad_input_of_python_has_the_same_error(ledger: str) -> None:
    with pytest.raises(InvalidRequestError, match="unknown method 'magic'"):
        TokenLedgerQueries(ledger).forecast(method="magic")


def test_the_command_line_prints_each_format(ledger: str) -> None:
    text = run("forecast").stdout
    assert text.startswith("forecast of ")
    for line in ("spent so far", "expected at month end", "80 % interval", "learned from"):
        assert line in text
    assert "99 complete days" in text
    assert "coverage: " in text
    document = json.loads(run("forecast", "--format", "json", "--where", "team=ml").stdout)
    assert document["spent_usd"] == f"{spent(ledger, condition(team='ml')).normalize():f}"
    assert document["where"] == {"team": ["ml"]}
    [row] = csv.DictReader(io.StringIO(run("forecast", "--format", "csv").stdout))
    assert (row["method"], row["days_learned"]) == ("seasonal", "99")
    assert run("forecast", "--format", "md").stdout.count("| ---") == 2
    sql = run("forecast", "--show-sql").stdout
    assert len(ask(ledger, sql.split(";\n\n")[0])) == DAYS * 24


def condition(team: str) -> str:
    return f"team = '{team}'"


def test_a_back_test_prints_errors_and_how_many_months_were_inside(ledger: str) -> None:
    backtest = TokenLedgerQueries(ledger).backtest_forecast()
    assert len(backtest.forecasts) >= 4
    # A steady ledger: what seasonal expects is what was spent, to a cent.
    assert backtest.error == 0
    assert backtest.mean30_error is not None
    assert backtest.mean30_error > 0
    text = run("forecast", "--backtest").stdout
    assert "average error: seasonal 0.0%" in text
    assert "inside the 80 % interval: 100.0%" in text
    document = json.loads(run("forecast", "--backtest", "--format", "json").stdout)
    assert document["inside"] == "1"
    assert len(document["forecasts"]) == len(backtest.forecasts)
    assert run("forecast", "--backtest", "--format", "md").stdout.startswith("| month |")
    rows = list(
        csv.DictReader(io.StringIO(run("forecast", "--backtest", "--format", "csv").stdout))
    )
    assert rows[0]["is_inside"] == "True"
