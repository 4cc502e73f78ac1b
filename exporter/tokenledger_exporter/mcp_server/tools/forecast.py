"""The tool that forecasts a month's cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.mcp_server.answer import Answer
from tokenledger_exporter.mcp_server.arguments import WHERE, Argument, ArgumentError, where_of
from tokenledger_exporter.mcp_server.tools.tool import LedgerTool
from tokenledger_exporter.queries.forecast import (
    METHODS,
    SEASONAL,
    ForecastRequest,
    forecast_steps,
)
from tokenledger_exporter.render.forecast import forecast_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.mcp_server.tools.tool import Connection

_FIGURES: Final = (
    *("month", "as_of", "spent_usd", "expected_usd", "low_usd", "high_usd"),
    *("method", "days_learned"),
)


def _forecast(connection: Connection, values: Mapping[str, Any]) -> Answer:
    if values["method"] not in METHODS:
        names = ", ".join(METHODS)
        raise ArgumentError("method", f"unknown method {values['method']!r}; use one of {names}")
    request = ForecastRequest(values["month"], values["method"], where_of(values))
    try:
        forecast = run_steps(connection, forecast_steps(request))
    except InvalidRequestError as error:
        raise ArgumentError("month", str(error)) from None
    document = forecast_document(forecast)
    return Answer(
        data={
            **{name: document[name] for name in _FIGURES},
            "learned_coverage": forecast.learned_coverage.sentence,
        },
        coverage=forecast.coverage.sentence,
        since=forecast.since,
        until=forecast.until,
        where=forecast.where,
        notes=forecast.notes,
    )


FORECAST_TOOL: Final = LedgerTool(
    "forecast",
    "Forecast of a month",
    "What a month has cost so far and will have cost at its end, with an interval that contains "
    "the cost in 80 of 100 months. Use it for 'what will this month cost' and 'will it stay under "
    "X'; say the interval with the forecast.",
    (
        Argument("month", "Month in UTC: this, last or 2026-10.", default="this"),
        Argument("method", f"How to forecast, one of: {', '.join(METHODS)}", default=SEASONAL),
        WHERE,
    ),
    _forecast,
)
"""`forecast`."""
