"""The endpoints that forecast a month, and test the forecasts of past months."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import zone_of
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.queries.forecast import (
    METHODS,
    SEASONAL,
    ForecastRequest,
    backtest_steps,
    forecast_steps,
)
from tokenledger_exporter.render.forecast import backtest_document, forecast_document
from tokenledger_exporter.web.api import schemas
from tokenledger_exporter.web.api.endpoint import Endpoint
from tokenledger_exporter.web.ledger_parameters import period_parameters
from tokenledger_exporter.web.parameters import Parameter
from tokenledger_exporter.web.request_values import checked, conditions

if TYPE_CHECKING:
    from tokenledger_exporter.queries.forecast import MonthForecast
    from tokenledger_exporter.render.documents import Document
    from tokenledger_exporter.web.api.endpoint import Connection

# The last two of a period: its time zone and its filters.
_SCOPE: Final = period_parameters("")[-2:]


def _forecast(connection: Connection, values: dict[str, Any]) -> Document:
    checked("timezone", zone_of, values["timezone"])
    request = ForecastRequest(
        values["month"], values["method"], conditions(values["where"]), values["timezone"]
    )
    forecast: MonthForecast = checked(
        "month", lambda each: run_steps(connection, forecast_steps(each)), request
    )
    return forecast_document(forecast)


def _backtest(connection: Connection, values: dict[str, Any]) -> Document:
    checked("timezone", zone_of, values["timezone"])
    steps = backtest_steps(conditions(values["where"]), values["timezone"])
    return backtest_document(run_steps(connection, steps))


FORECAST_ENDPOINTS: Final = (
    Endpoint(
        "/forecast",
        "forecast",
        "What a month will have cost at its end, with an 80 % interval",
        (
            Parameter("month", "Month: this, last or 2026-10.", default="this"),
            Parameter("method", "How to forecast.", default=SEASONAL, choices=tuple(METHODS)),
            *_SCOPE,
        ),
        _forecast,
        schemas.FORECAST,
    ),
    Endpoint(
        "/forecast/backtest",
        "forecast_backtest",
        "Forecasts of past months from what was known then, and how far they were off",
        _SCOPE,
        _backtest,
        schemas.BACKTEST,
    ),
)
"""`/forecast` and `/forecast/backtest`."""
