"""Writes the dashboards beside this file: `make grafana`. The JSON is committed; edit this instead.

Panels ask the ledger's views, so that what they show is exact and says what it leaves out.
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
"""Where the JSON goes."""

_SOURCE: Final = DataSourceRef(type_val="grafana-postgresql-datasource", uid="tokenledger")
_DAYS: Final = "day BETWEEN $__timeFrom()::date AND $__timeTo()::date"
_USD, _COUNT, _SHARE, _MILLISECONDS = "currencyUSD", "short", "percentunit", "ms"
_TOP: Final = 10

# View, column and title of what a bill is split by.
_SPLITS: Final = (
    ("feature", "feature", "Feature"),
    ("user", "user_id", "User"),
    ("team", "team", "Team"),
    ("project", "project", "Project"),
    ("organization", "organization_id", "Organization"),
    ("endpoint", "endpoint", "Endpoint"),
    ("agent", "agent_id", "Agent"),
    ("cost_center", "cost_center", "Cost centre"),
)


class _Query(builder.Builder[variants.Dataquery]):
    """SQL for Grafana's Postgres data source, which the SDK has no builder for."""

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
        .title(f"{title}: the {_TOP} dearest")
        .description(f"US dollars known, by {title.lower()}")
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
    """The stretch in four numbers."""
    return [
        _number(
            "Cost",
            f"SELECT coalesce(sum(cost_usd), 0)::float8 AS cost_usd {_KNOWN}",
            _USD,
            "US dollars known; calls without a price are counted beside it, never as zero",
        ),
        _number(
            "Calls", f"SELECT coalesce(sum(calls), 0) AS calls {_KNOWN}", _COUNT, "Model calls"
        ),
        _number(
            "Calls without a cost",
            f"SELECT coalesce(sum(unpriced + unmeasured), 0) AS calls {_COVERAGE}",
            _COUNT,
            "No price is known, or the call was sent and never measured",
        ),
        _number(
            "Calls lost",
            f"SELECT coalesce(sum(lost), 0) AS calls {_COVERAGE}",
            _COUNT,
            "Counted drops: the spool was full, or a record could not be read",
        ),
    ]


def _by_day() -> list[timeseries.Panel]:
    """How money and cache go day by day."""
    return [
        _bars(
            "Cost by model and day",
            "SELECT day::timestamptz AS time, model AS metric, sum(cost_usd)::float8 AS cost_usd"
            f" {_KNOWN} GROUP BY 1, 2 ORDER BY 1, 2",
            _USD,
            "US dollars known",
        ),
        _lines(
            "Input read from a cache",
            "SELECT day::timestamptz AS time, provider AS metric,"
            " (sum(cached_tokens) / nullif(sum(input_tokens), 0))::float8 AS share"
            f" {_KNOWN} GROUP BY 1, 2 ORDER BY 1, 2",
            _SHARE,
            "Share of the input tokens that a cache served",
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
        "From request to the end of the answer",
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
        .description("Failed calls by class of error")
        .datasource(_SOURCE)
        .height(9)
        .span(12)
        .with_target(_Query(sql, "table"))
    )


def costs() -> dashboard.Dashboard:
    """What it cost, by everything a call is attributed to, and how whole that number is."""
    made = (
        dashboard.Dashboard("TokenLedger: what it cost")
        .uid("tokenledger-costs")
        .description("What calls of language models cost, from the ledger on your own Postgres.")
        .tags(["tokenledger", "llm", "cost"])
        .timezone("utc")
        .time("now-30d", "now")
        .refresh("1m")
    )
    splits = [_split(view, column, title) for view, column, title in _SPLITS]
    for panel in (*_totals(), *_by_day(), *splits, _durations(), _errors()):
        made = made.with_panel(panel)
    return made


def as_json(made: dashboard.Dashboard) -> str:
    """A dashboard as Grafana reads it from a file."""
    return json.dumps(made.build(), cls=encoder.JSONEncoder, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write them all."""
    (DASHBOARDS / "costs.json").write_text(as_json(costs()), encoding="utf-8")


if __name__ == "__main__":
    main()
