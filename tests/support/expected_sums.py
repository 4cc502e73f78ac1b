"""Compares the views over the roll-ups with sums computed from the calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

if TYPE_CHECKING:
    import psycopg

# View -> the columns it groups by, in addition to the day.
VIEWS: Final = {
    "token_ledger_daily_costs": ("provider", "model"),
    "token_ledger_model_costs": ("provider", "model"),
    "token_ledger_user_costs": ("user_id",),
    "token_ledger_feature_costs": ("feature",),
    "token_ledger_team_costs": ("team",),
    "token_ledger_project_costs": ("project",),
    "token_ledger_cost_center_costs": ("cost_center",),
    "token_ledger_agent_costs": ("agent_id",),
    "token_ledger_endpoint_costs": ("endpoint",),
    "token_ledger_organization_costs": ("organization_id",),
}
_STATES: Final = """
    count(*) FILTER (WHERE cost_status = 'priced') AS priced,
    count(*) FILTER (WHERE cost_status = 'partial') AS partial,
    count(*) FILTER (WHERE cost_status = 'estimated') AS estimated,
    count(*) FILTER (WHERE cost_status = 'unpriced') AS unpriced,
    count(*) FILTER (WHERE cost_status = 'unmeasured') AS unmeasured,
    count(*) FILTER (WHERE NOT settled) AS not_settled
"""
_REPORTED: Final = """
    count(*) FILTER (WHERE cost_status = 'reported') AS reported,
    count(*) FILTER (WHERE token_ledger_cost_differs(reported_cost_usd, cost_usd)) AS cost_differs
"""
_OF_CALLS: Final = f"""
SELECT
    (timestamp AT TIME ZONE 'UTC')::date AS day, {{columns}} count(*) AS calls,
    COALESCE(sum(input_tokens), 0) AS input_tokens,
    COALESCE(sum(output_tokens), 0) AS output_tokens,
    COALESCE(sum(cached_tokens), 0) AS cached_tokens,
    sum(cost_usd) AS cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost, {_STATES}, {_REPORTED}
FROM token_ledger_events GROUP BY {{columns}} day
"""
_COVERAGE: Final = f"""
SELECT
    (timestamp AT TIME ZONE 'UTC')::date AS day, count(*) AS calls, {_STATES}, 0::bigint AS lost,
    {_REPORTED}
FROM token_ledger_events GROUP BY day
"""


def differences(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    """Rows that differ between a view and the calls, for every view; an empty list is correct."""
    rows: list[tuple[Any, ...]] = []
    for view, names in VIEWS.items():
        columns = sql.SQL(" ").join(sql.SQL("{},").format(sql.Identifier(name)) for name in names)
        rows += _differ(connection, view, sql.SQL(_OF_CALLS).format(columns=columns))
    return rows + _differ(connection, "token_ledger_coverage", sql.SQL(_COVERAGE))


def _differ(
    connection: psycopg.Connection[Any], view: str, calls: sql.Composable
) -> list[tuple[Any, ...]]:
    query = sql.SQL(
        "WITH calls AS ({calls}), seen AS (TABLE {view})"
        " (SELECT {name} AS of, 'only in the view' AS how, seen::text AS row FROM"
        " (TABLE seen EXCEPT ALL TABLE calls) AS seen)"
        " UNION ALL"
        " (SELECT {name}, 'only in the calls', seen::text FROM"
        " (TABLE calls EXCEPT ALL TABLE seen) AS seen)"
    ).format(calls=calls, view=sql.Identifier(view), name=sql.Literal(view))
    return connection.execute(query).fetchall()
