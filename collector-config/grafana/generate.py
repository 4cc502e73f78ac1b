"""Generates the dashboards of this folder: `make grafana`. Edit this file, not the committed JSON.

Panels query the ledger's views, so that their numbers are exact and omissions are counted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import bargauge, dashboard, stat, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig
from grafana_foundation_sdk.cog import builder, encoder, variants
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    GraphDrawStyle,
    StackingMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef

DASHBOARDS: Final = Path(__file__).parent / "dashboards"
"""The folder of the JSON files."""

_SOURCE: Final = DataSourceRef(type_val="grafana-postgresql-datasource", uid="tokenledger")
_DAYS: Final = "day BETWEEN $__timeFrom()::date AND $__timeTo()::date"
_USD, _COUNT, _SHARE, _MILLISECONDS = "currencyUSD", "short", "percentunit", "ms"
_TOP: Final = 10

# View, column and title of each dimension by which costs are split.
_SPLITS: Final = (
    ("feature", "feature", "Feature"),
    ("user", "user_id", "User"),
    ("team", "team", "Team"),
    ("project", "project", "Project"),
    ("organization", "organization_id", "Organization"),
    ("endpoint", "endpoint", "Endpoint"),
    ("agent", "agent_id", "Agent"),
    ("cost_center", "cost_center", "Cost center"),
)


class _Query(builder.Builder[variants.Dataquery]):
    """SQL for Grafana's Postgres data source, for which the SDK has no builder."""

    def __init__(self, sql: str, shape: str) -> None:
        self._sql: Final = sql
        self._shape: Final = shape

    def build(self) -> variants.Dataquery:
        return UnknownDataquery(
            {
                "refId": "A",
                "datasource": {"type": _SOURCE.type_val, "uid": _SOURCE.uid},
                "editorMode": "code",
                "format": self._shape,
                "rawQuery": True,
                "rawSql": self._sql,
            }
        )


def _number(title: str, sql: str, unit: str, note: str) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .description(note)
        .datasource(_SOURCE)
        .unit(unit)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .height(4)
        .span(6)
        .with_target(_Query(sql, "table"))
    )


def _lines(title: str, sql: str, unit: str, note: str) -> timeseries.Panel:
    return (
        timeseries.Panel()
        .title(title)
        .description(note)
        .datasource(_SOURCE)
        .unit(unit)
        .height(9)
        .span(12)
        .with_target(_Query(sql, "time_series"))
    )


def _bars(title: str, sql: str, unit: str, note: str) -> timeseries.Panel:
    return (
        _lines(title, sql, unit, note)
        .draw_style(GraphDrawStyle.BARS)
        .fill_opacity(80)
        .stacking(StackingConfig().mode(StackingMode.NORMAL))
    )


def _split(view: str, column: str, title: str) -> bargauge.Panel:
    sql = (
        f"SELECT coalesce(nullif({column}, ''), '(none)') AS {column},"
        f" coalesce(sum(cost_usd), 0)::float8 AS cost_usd FROM token_ledger_{view}_costs"
        f" WHERE {_DAYS} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_TOP}"
    )
    return (
        bargauge.Panel()
        .title(f"{title}: the {_TOP} most expensive")
        .description(f"Known cost in US dollars by {title.lower()}")
        .datasource(_SOURCE)
        .unit(_USD)
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .reduce_options(ReduceDataOptions().values(True).calcs([]))
        .height(9)
        .span(6)
        .with_target(_Query(sql, "table"))
    )


_KNOWN: Final = f"FROM token_ledger_daily_costs WHERE {_DAYS}"
_COVERAGE: Final = f"FROM token_ledger_coverage WHERE {_DAYS}"


def _totals() -> list[stat.Panel]:
    """Four totals of the period."""
    return [
        _number(
            "Cost",
            f"SELECT coalesce(sum(cost_usd), 0)::float8 AS cost_usd {_KNOWN}",
            _USD,
            "Known cost in US dollars; calls without a price are counted separately, not as zero",
        ),
        _number(
            "Calls", f"SELECT coalesce(sum(calls), 0) AS calls {_KNOWN}", _COUNT, "Model calls"
        ),
        _number(
            "Calls without a cost",
            f"SELECT coalesce(sum(unpriced + unmeasured), 0) AS calls {_COVERAGE}",
            _COUNT,
            "The price is unknown, or the usage was not reported",
        ),
        _number(
            "Calls lost",
            f"SELECT coalesce(sum(lost), 0) AS calls {_COVERAGE}",
            _COUNT,
            "Calls that were dropped: the spool was full, or a record could not be read",
        ),
    ]


def _by_day() -> list[timeseries.Panel]:
    """Cost and cache use by day."""
    return [
        _bars(
            "Cost by model and day",
            "SELECT day::timestamptz AS time, model AS metric, sum(cost_usd)::float8 AS cost_usd"
            f" {_KNOWN} GROUP BY 1, 2 ORDER BY 1, 2",
            _USD,
            "Known cost in US dollars",
        ),
        _lines(
            "Input read from a cache",
            "SELECT day::timestamptz AS time, provider AS metric,"
            " (sum(cached_tokens) / nullif(sum(input_tokens), 0))::float8 AS share"
            f" {_KNOWN} GROUP BY 1, 2 ORDER BY 1, 2",
            _SHARE,
            "Share of the input tokens that were read from a cache",
        ),
    ]


def _durations() -> timeseries.Panel:
    return _lines(
        "Duration, median and 95th percentile",
        "SELECT $__timeGroup(timestamp, $__interval) AS time,"
        " percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p50,"
        " percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95"
        " FROM token_ledger_events WHERE $__timeFilter(timestamp) AND duration_ms IS NOT NULL"
        " GROUP BY 1 ORDER BY 1",
        _MILLISECONDS,
        "From the request to the end of the answer",
    )


def _errors() -> table.Panel:
    sql = (
        "SELECT error_type, provider, model, count(*) AS calls FROM token_ledger_events"
        " WHERE $__timeFilter(timestamp) AND status = 'error'"
        " GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1 LIMIT 50"
    )
    return (
        table.Panel()
        .title("Errors")
        .description("Failed calls by error class")
        .datasource(_SOURCE)
        .height(9)
        .span(12)
        .with_target(_Query(sql, "table"))
    )


def costs() -> dashboard.Dashboard:
    """The cost by each dimension, and how complete it is."""
    board = (
        dashboard.Dashboard("TokenLedger: costs")
        .uid("tokenledger-costs")
        .description("The cost of language model calls, from the ledger in your own Postgres.")
        .tags(["tokenledger", "llm", "cost"])
        .timezone("utc")
        .time("now-30d", "now")
        .refresh("1m")
    )
    splits = [_split(view, column, title) for view, column, title in _SPLITS]
    for panel in (*_totals(), *_by_day(), *splits, _durations(), _errors()):
        board = board.with_panel(panel)
    return board


def as_json(board: dashboard.Dashboard) -> str:
    """The JSON of a dashboard as Grafana reads it from a file."""
    return json.dumps(board.build(), cls=encoder.JSONEncoder, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write all dashboards."""
    (DASHBOARDS / "costs.json").write_text(as_json(costs()), encoding="utf-8")


if __name__ == "__main__":
    main()
