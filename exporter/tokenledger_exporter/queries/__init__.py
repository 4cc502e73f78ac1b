"""The Python query API, with the method names of earlier trackers."""

from tokenledger_exporter.queries.async_client import AsyncTokenLedgerQueries
from tokenledger_exporter.queries.forecast import Backtest, MonthForecast, PastForecast
from tokenledger_exporter.queries.lists.runs import RunFigures, RunPage
from tokenledger_exporter.queries.paging import RawPage, UsageEvent
from tokenledger_exporter.queries.records import as_records
from tokenledger_exporter.queries.results import (
    Aggregate,
    CacheSavings,
    CostSummary,
    DailyCost,
    ErrorRate,
    HourlyCost,
    Latency,
    ModelCost,
    Percentiles,
    ProjectedMonth,
    TopError,
    Trend,
    UserCost,
)
from tokenledger_exporter.queries.sync_client import TokenLedgerQueries
from tokenledger_exporter.queries.why import Cause, Driver, WhyReport

__all__ = [
    "Aggregate",
    "AsyncTokenLedgerQueries",
    "Backtest",
    "CacheSavings",
    "Cause",
    "CostSummary",
    "DailyCost",
    "Driver",
    "ErrorRate",
    "HourlyCost",
    "Latency",
    "ModelCost",
    "MonthForecast",
    "PastForecast",
    "Percentiles",
    "ProjectedMonth",
    "RawPage",
    "RunFigures",
    "RunPage",
    "TokenLedgerQueries",
    "TopError",
    "Trend",
    "UsageEvent",
    "UserCost",
    "WhyReport",
    "as_records",
]
