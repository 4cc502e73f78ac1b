"""Generates the dashboards of this folder: `make grafana`. Edit this file, not the committed JSON.

`costs` queries the ledger's views, which answer from sums and stay fast in a large ledger.
`filters` reads the calls themselves, because a view is split by one dimension at a time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

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
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import VariableModel

DASHBOARDS: Final = Path(__file__).parent / "dashboards"
"""The folder of the JSON files."""

_SOURCE_TYPE: Final = "grafana-postgresql-datasource"
_SOURCE: Final = DataSourceRef(type_val=_SOURCE_TYPE, uid="${datasource}")
_DAYS: Final = "day BETWEEN $__timeFrom()::date AND $__timeTo()::date"
# Days are those of UTC, whatever the time zone of the database.
_MIDNIGHT: Final = "day::timestamp AT TIME ZONE 'UTC'"
_USD, _COUNT, _SHARE, _MILLISECONDS = "currencyUSD", "short", "percentunit", "ms"
_TOP: Final = 10
_UNKNOWN: Final = "unknown"

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
        .no_value(_UNKNOWN)
        .reduce_options(ReduceDataOptions().calcs(["last"]).values(False))
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
        f" sum(cost_usd)::float8 AS cost_usd FROM token_ledger_{view}_costs"
        f" WHERE {_DAYS} GROUP BY 1 ORDER BY 2 DESC NULLS LAST, 1 LIMIT {_TOP}"
    )
    return (
        bargauge.Panel()
        .title(f"{title}: the {_TOP} most expensive")
        .description(f"Known cost in US dollars by {title.lower()}")
        .no_value(_UNKNOWN)
        .datasource(_SOURCE)
        .unit(_USD)
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .reduce_options(ReduceDataOptions().values(True).calcs([]))
        .height(9)
        .span(6)
        .with_target(_Query(sql, "table"))
    )


# No calls cost nothing; calls of which none has a known cost do not cost 0.
_KNOWN_COST: Final = "CASE WHEN count(*) = 0 THEN 0 ELSE sum(cost_usd)::float8 END"
_KNOWN: Final = f"FROM token_ledger_daily_costs WHERE {_DAYS}"
_COVERAGE: Final = f"FROM token_ledger_coverage WHERE {_DAYS}"


def _totals() -> list[stat.Panel]:
    """Four totals of the period."""
    return [
        _number(
            "Cost",
            f"SELECT {_KNOWN_COST} AS cost_usd {_KNOWN}",
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
            f"SELECT {_MIDNIGHT} AS time, model AS metric, sum(cost_usd)::float8 AS cost_usd"
            f" {_KNOWN} GROUP BY 1, 2 ORDER BY 1, 2",
            _USD,
            "Known cost in US dollars",
        ),
        _lines(
            "Input read from a cache",
            f"SELECT {_MIDNIGHT} AS time, provider AS metric,"
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


def _table(title: str, sql: str, note: str, span: int = 12) -> table.Panel:
    return (
        table.Panel()
        .title(title)
        .description(note)
        .datasource(_SOURCE)
        .no_value(_UNKNOWN)
        .height(9)
        .span(span)
        .with_target(_Query(sql, "table"))
    )


def _errors() -> table.Panel:
    sql = (
        "SELECT error_type, provider, model, count(*) AS calls FROM token_ledger_events"
        " WHERE $__timeFilter(timestamp) AND status = 'error'"
        " GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1 LIMIT 50"
    )
    return _table("Errors", sql, "Failed calls by error class")


def _board(name: str, title: str, note: str) -> dashboard.Dashboard:
    """An empty dashboard; its data source is a variable, so that any Grafana can import it."""
    return (
        dashboard.Dashboard(f"TokenLedger: {title}")
        .uid(f"tokenledger-{name}")
        .description(note)
        .tags(["tokenledger", "llm", "cost"])
        .timezone("utc")
        .time("now-30d", "now")
        .refresh("1m")
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type(_SOURCE_TYPE)
        )
    )


def costs() -> dashboard.Dashboard:
    """The cost by each dimension, and how complete it is."""
    note = "The cost of language model calls, from the ledger in your own Postgres."
    board = _board("costs", "costs", note)
    splits = [_split(view, column, title) for view, column, title in _SPLITS]
    for panel in (*_totals(), *_by_day(), *splits, _durations(), _errors()):
        board = board.with_panel(panel)
    return board


# A value that stands for all: Grafana inserts it as it is, and lists chosen values with quotes.
_ALL: Final = "'__all__'"
_RANGE: Final = "time range"
_NONE: Final = "(none)"


def _named(column: str) -> str:
    """A column with a name for calls without a value."""
    return f"coalesce(nullif({column}, ''), '{_NONE}')"


# Variable, label, column, and the view that lists its values, the most expensive first.
_FILTERS: Final = (
    ("team", "Team", "team", "token_ledger_team_costs"),
    ("model", "Model", "model", "token_ledger_model_costs"),
    ("user", "User", "user_id", "token_ledger_user_costs"),
)
_MAX_VALUES: Final = 1_000
_MONTH, _ZONE = "${month:sqlstring}", "${timezone:sqlstring}"
_FIRST: Final = f"({_MONTH} || '-01')::timestamp"
_PERIOD: Final = (
    f"timestamp >= CASE WHEN {_MONTH} = '{_RANGE}' THEN $__timeFrom()::timestamptz"
    f" ELSE {_FIRST} AT TIME ZONE {_ZONE} END"
    f" AND timestamp < CASE WHEN {_MONTH} = '{_RANGE}' THEN $__timeTo()::timestamptz"
    f" ELSE ({_FIRST} + interval '1 month') AT TIME ZONE {_ZONE} END"
)
_CALLS: Final = f"FROM token_ledger_events WHERE {_PERIOD}" + "".join(
    f" AND ({_ALL} IN (${{{name}:sqlstring}}) OR {_named(column)} IN (${{{name}:sqlstring}}))"
    for name, _, column, _ in _FILTERS
)


def _filter_variables() -> list[builder.Builder[VariableModel]]:
    """Month, time zone, and one variable for each filter."""
    months = (
        f"SELECT '{_RANGE}' UNION ALL (SELECT DISTINCT to_char(day, 'YYYY-MM')"
        " FROM token_ledger_daily_costs ORDER BY 1 DESC)"
    )
    filters = [
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query(
            f"SELECT {_named(column)} FROM {view} GROUP BY 1"
            f" ORDER BY sum(cost_usd) DESC NULLS LAST, 1 LIMIT {_MAX_VALUES}"
        )
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(VariableSort.DISABLED)
        .multi(True)
        .include_all(True)
        .all_value(_ALL)
        .current(VariableOption(text="All", value="$__all"))
        for name, label, column, view in _FILTERS
    ]
    return [
        dashboard.QueryVariable("month")
        .label("Month")
        .datasource(_SOURCE)
        .query(months)
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(VariableSort.DISABLED)
        .current(VariableOption(text=_RANGE, value=_RANGE)),
        dashboard.TextBoxVariable("timezone")
        .label("Time zone of days")
        .default_value("UTC")
        .current(VariableOption(text="UTC", value="UTC")),
        *filters,
    ]


def _filtered_totals() -> list[stat.Panel]:
    return [
        _number(
            "Cost",
            f"SELECT {_KNOWN_COST} AS cost_usd {_CALLS}",
            _USD,
            "Known cost in US dollars of the calls that all filters match",
        ),
        _number("Calls", f"SELECT count(*) AS calls {_CALLS}", _COUNT, "Model calls"),
        _number(
            "Calls without a cost",
            f"SELECT count(*) FILTER (WHERE cost_usd IS NULL) AS calls {_CALLS}",
            _COUNT,
            "The price is unknown, or the usage was not reported",
        ),
        _number(
            "Tokens",
            f"SELECT coalesce(sum(total_tokens), 0) AS tokens {_CALLS}",
            _COUNT,
            "Input and output tokens",
        ),
    ]


def _filtered_times(unit: str) -> timeseries.Panel:
    start = f"date_trunc('{unit}', timestamp, {_ZONE})"
    return _bars(
        f"Cost by model and {unit}",
        f"SELECT {start} AS time, model AS metric, sum(cost_usd)::float8 AS cost_usd {_CALLS}"
        " GROUP BY 1, 2 ORDER BY 1, 2",
        _USD,
        f"Known cost in US dollars by {unit} of the time zone above",
    )


def _filtered_split(title: str, column: str) -> table.Panel:
    sql = (
        f"SELECT {_named(column)} AS {column}, sum(cost_usd)::float8 AS cost_usd,"
        " count(*) AS calls, count(*) FILTER (WHERE cost_usd IS NULL) AS without_cost,"
        f" sum(total_tokens) AS tokens {_CALLS}"
        " GROUP BY 1 ORDER BY 2 DESC NULLS LAST, 1 LIMIT 50"
    )
    return _table(f"By {title}", sql, f"The 50 {title}s with the highest known cost")


def _newest_calls() -> table.Panel:
    sql = (
        "SELECT timestamp, provider, model, user_id, team, feature, input_tokens, output_tokens,"
        f" cost_usd::float8 AS cost_usd, cost_status, event_id {_CALLS}"
        " ORDER BY timestamp DESC LIMIT 100"
    )
    return _table("Newest calls", sql, "'tokenledger explain ID' shows the cost of one", 24)


def filters() -> dashboard.Dashboard:
    """Cost and calls, filtered by team, model and user at once, by month and time zone."""
    note = "The cost of the calls that filters match; reads single calls, so keep the period short."
    board = _board("filters", "filters", note)
    for variable in _filter_variables():
        board = board.with_variable(variable)
    splits = [
        _filtered_split(title, column)
        for title, column in (
            ("model", "model"),
            ("user", "user_id"),
            ("team", "team"),
            ("feature", "feature"),
        )
    ]
    times = [_filtered_times("day"), _filtered_times("month")]
    for panel in (*_filtered_totals(), *times, *splits, _newest_calls()):
        board = board.with_panel(panel)
    return board


def as_json(board: dashboard.Dashboard) -> str:
    """The JSON of a dashboard as Grafana reads it from a file."""
    return json.dumps(board.build(), cls=encoder.JSONEncoder, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write all dashboards."""
    for name, board in (("costs", costs()), ("filters", filters())):
        (DASHBOARDS / f"{name}.json").write_text(as_json(board), encoding="utf-8")


if __name__ == "__main__":
    main()
