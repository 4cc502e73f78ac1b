"""Renders forecasts and back-tests as a table, CSV, JSON or Markdown; money is text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tokenledger_exporter.plain_text import counted, markdown_cell, visible
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.queries.report import SCHEMA_VERSION
from tokenledger_exporter.render.columns import Column, draw_table
from tokenledger_exporter.render.documents import coverage_document, plain, record
from tokenledger_exporter.render.table import write_csv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from tokenledger_exporter.queries.forecast import Backtest, MonthForecast, PastForecast


def render_forecast(forecast: MonthForecast, shape: str) -> str:
    """The forecast as text, ending with a line break.

    Args:
        forecast: what to print.
        shape: table, csv, json or md.
    """
    if shape == "json":
        return json.dumps(forecast_document(forecast), indent=2) + "\n"
    if shape == "csv":
        [row] = forecast.to_records()
        return write_csv(list(row), [list(map(_cell, row.values()))])
    lines = _lines(forecast)
    heading = _heading(forecast)
    if shape == "md":
        cells = [f"| {name} | {markdown_cell(text)} |" for name, text in lines]
        text = ["", f"| {markdown_cell(heading)} | |", "| --- | --- |", *cells, ""][1:]
        return "\n".join([*text, forecast.coverage.sentence, ""])
    width = max(len(name) for name, _ in lines)
    text = [f"  {name:<{width}}  {visible(text)}" for name, text in lines]
    return "\n".join([heading, *text, forecast.coverage.sentence, ""])


def forecast_document(forecast: MonthForecast) -> dict[str, Any]:
    """The JSON document; money as strings, null if it is not known."""
    return {
        "schema_version": SCHEMA_VERSION,
        "month": f"{forecast.month:%Y-%m}",
        "timezone": forecast.zone,
        "since": forecast.since.isoformat(),
        "until": forecast.until.isoformat(),
        "as_of": forecast.as_of.isoformat(),
        **({"where": {k: list(v) for k, v in forecast.where.items()}} if forecast.where else {}),
        "spent_usd": plain(forecast.spent_usd),
        "expected_usd": plain(forecast.expected_usd),
        "low_usd": plain(forecast.low_usd),
        "high_usd": plain(forecast.high_usd),
        "method": forecast.method,
        "days_learned": forecast.days_learned,
        "coverage": coverage_document(forecast.coverage),
        "learned_coverage": coverage_document(forecast.learned_coverage),
        "notes": list(forecast.notes),
    }


def render_backtest(backtest: Backtest, shape: str) -> str:
    """The back-test as text, ending with a line break.

    Args:
        backtest: what to print.
        shape: table, csv, json or md.
    """
    if shape == "json":
        return json.dumps(backtest_document(backtest), indent=2) + "\n"
    rows = backtest.to_records()
    if shape == "csv":
        titles = list(rows[0]) if rows else []
        return write_csv(titles, [list(map(_cell, row.values())) for row in rows])
    columns = _columns(backtest)
    summary = [*backtest_summary(backtest), backtest.coverage.sentence, ""]
    if shape == "md":
        return "\n".join([*_markdown(columns), "", *summary])
    table = draw_table(columns) if rows else ""
    return "\n".join([*([table] if table else []), *summary])


def backtest_document(backtest: Backtest) -> dict[str, Any]:
    """The JSON document; money and shares as strings, null if they are not known."""
    rows = [{**record(row), "month": f"{row['month']:%Y-%m}"} for row in backtest.to_records()]
    return {
        "schema_version": SCHEMA_VERSION,
        "timezone": backtest.zone,
        **({"where": {k: list(v) for k, v in backtest.where.items()}} if backtest.where else {}),
        "error": plain(backtest.error),
        "mean30_error": plain(backtest.mean30_error),
        "inside": plain(backtest.inside),
        "forecasts": rows,
        "coverage": coverage_document(backtest.coverage),
        "notes": list(backtest.notes),
    }


def backtest_summary(backtest: Backtest) -> list[str]:
    """The averages as sentences; none without forecasts."""
    if not backtest.forecasts:
        return []
    forecasts = counted(len(backtest.forecasts), "forecast")
    return [
        f"average error: seasonal {_share(backtest.error)}, mean30 {_share(backtest.mean30_error)}",
        f"inside the 80 % interval: {_share(backtest.inside)} of {forecasts}",
    ]


def _heading(forecast: MonthForecast) -> str:
    as_of = f"{forecast.as_of.astimezone(forecast.since.tzinfo):%Y-%m-%d %H:%M %Z}"
    if forecast.is_over:
        return f"{forecast.month:%Y-%m}, which ended {as_of}"
    return f"forecast of {forecast.month:%Y-%m}, as of {as_of}"


def _lines(forecast: MonthForecast) -> list[tuple[str, str]]:
    spent = forecast.spent_usd
    interval = "none"
    if forecast.low_usd is not None and forecast.high_usd is not None:
        interval = f"${forecast.low_usd:,.2f} to ${forecast.high_usd:,.2f}"
    plus = "+" if forecast.coverage.without_cost else ""
    return [
        ("spent so far", "unknown" if spent is None else f"${plain_usd(spent)}{plus}"),
        ("expected at month end", forecast.cost_text),
        ("80 % interval", interval),
        ("method", f"{forecast.method}: {forecast.method_text}"),
        ("learned from", counted(forecast.days_learned, "complete day")),
    ]


def _columns(backtest: Backtest) -> list[Column]:
    past = backtest.forecasts
    return [
        Column("month", [f"{each.month:%Y-%m}" for each in past], is_whole=True),
        Column("known until", [f"{each.as_of:%m-%d}" for each in past], is_whole=True),
        Column("cost $", [f"{each.actual_usd:,.2f}" for each in past], is_number=True),
        Column("seasonal $", [f"{each.expected_usd:,.2f}" for each in past], is_number=True),
        Column("error", _errors(past), is_number=True),
        Column("80 % interval", [_interval(each) for each in past], is_number=True),
        Column("inside", ["yes" if each.is_inside else "no" for each in past], is_whole=True),
        Column("mean30 $", [f"{each.mean30_usd:,.2f}" for each in past], is_number=True),
        Column("mean30 error", [_signed(each.mean30_error) for each in past], is_number=True),
    ]


def _errors(past: Sequence[PastForecast]) -> list[str]:
    return [_signed(each.error) for each in past]


def _interval(forecast: PastForecast) -> str:
    return f"{forecast.low_usd:,.2f}-{forecast.high_usd:,.2f}"


def _markdown(columns: Sequence[Column]) -> list[str]:
    rows = zip(*(column.cells for column in columns), strict=True)
    return [
        f"| {' | '.join(column.title for column in columns)} |",
        f"|{'|'.join(' ---: ' if column.is_number else ' --- ' for column in columns)}|",
        *(f"| {' | '.join(map(markdown_cell, row))} |" for row in rows),
    ]


def _share(share: Decimal | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


def _signed(share: Decimal | None) -> str:
    return "-" if share is None else f"{share:+.1%}"


def _cell(value: object) -> str:
    return "" if value is None else str(plain(value))
