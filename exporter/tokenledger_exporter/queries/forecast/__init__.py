"""The forecast of a month's cost: a seasonal model, its past errors, and an older method."""

from tokenledger_exporter.queries.forecast.estimate import METHODS, SEASONAL
from tokenledger_exporter.queries.forecast.results import Backtest, MonthForecast, PastForecast
from tokenledger_exporter.queries.forecast.steps import (
    ForecastRequest,
    backtest_steps,
    forecast_steps,
)

__all__ = [
    "METHODS",
    "SEASONAL",
    "Backtest",
    "ForecastRequest",
    "MonthForecast",
    "PastForecast",
    "backtest_steps",
    "forecast_steps",
]
