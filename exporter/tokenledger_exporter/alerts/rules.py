"""What is over the thresholds of an alert: budgets, spend, and shares of calls.

A period that has just ended is looked at for some minutes more: calls of its last seconds arrive
after its end.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import dict_row

from tokenledger_exporter.alerts.alert import SHARES, Finding
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.measures.measure import measure_steps
from tokenledger_exporter.queries.report import ReportRequest, build_report
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    import psycopg

    from tokenledger_exporter.alerts.alert import Alert

_SQL: Final = statements("alerts")
MAX_VALUES: Final = 1_000
"""The most values of a dimension, or accounts of a budget, that one alert fires for."""

MIN_CALLS: Final = 20
"""With fewer calls in the period, a share says nothing."""

_LATE: Final = timedelta(minutes=5)
_INSTANT: Final = timedelta(microseconds=1)
_NO_WARNINGS: Final = (100,)


def over_budget(
    connection: psycopg.Connection[Any], alert: Alert, now: datetime
) -> Iterator[Finding]:
    """The warnings of a budget that its accounts have reached; 100 percent if it has none.

    Raises:
        InvalidRequestError: there is no such budget.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        budget = cursor.execute(_SQL["budget_thresholds"], {"budget": alert.budget}).fetchone()
    if budget is None:
        raise InvalidRequestError(
            f"budget {alert.budget!r} does not exist: run 'tokenledger budget set', or "
            f"'tokenledger alert delete {alert.name}'"
        )
    if budget["is_paused"]:
        return
    percents = tuple(budget["warn_percents"]) or _NO_WARNINGS
    for at in _moments(connection, budget, now):
        values = {"budget": alert.budget, "at": at, "percent": min(percents), "limit": MAX_VALUES}
        with connection.cursor(row_factory=dict_row) as cursor:
            accounts = cursor.execute(_SQL["budget_accounts"], values).fetchall()
        for account in accounts:
            yield from _reached(budget, account, percents)


def over_spend(
    connection: psycopg.Connection[Any], alert: Alert, now: datetime
) -> Iterator[Finding]:
    """The slices that cost more than the threshold in the period."""
    threshold = alert.threshold or Decimal(0)
    for since, until in periods(connection, alert, now):
        report = build_report(connection, _request(alert, since, until))
        for row in report.rows if alert.by else (report.totals,):
            if row.cost_usd > threshold:
                facts = {**_facts(alert, until), "calls": row.calls}
                yield Finding(
                    value=row.labels[0] if alert.by else "",
                    period_starts_at=since,
                    threshold=threshold,
                    observed=row.cost_usd,
                    facts=facts,
                )


def over_share(
    connection: psycopg.Connection[Any], alert: Alert, now: datetime
) -> Iterator[Finding]:
    """The slices whose share of failed or unpriced calls is above the threshold."""
    threshold = alert.threshold or Decimal(0)
    for since, until in periods(connection, alert, now):
        request = _request(alert, since, until)
        measured = run_steps(connection, measure_steps(request, "errors"))
        for row in measured.rows[:MAX_VALUES] if alert.by else (measured.totals,):
            counted = row.figures["errors"] if alert.kind == "errors" else row.coverage.without_cost
            if row.calls < MIN_CALLS or counted is None:
                continue
            percent = Decimal(counted) * 100 / row.calls
            if percent > threshold:
                yield Finding(
                    value=row.labels[0] if alert.by else "",
                    period_starts_at=since,
                    threshold=threshold,
                    observed=round(percent, 2),
                    facts={**_facts(alert, until), "calls": row.calls, "counted": int(counted)},
                )


def periods(
    connection: psycopg.Connection[Any], alert: Alert, now: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Start and end of the current period, and of the one before if it has just ended."""
    values = {"period": alert.period, "timezone": alert.timezone}
    [(since, until)] = connection.execute(_SQL["period"], {**values, "at": now}).fetchall()
    if now - since < _LATE:
        before = {**values, "at": since - _INSTANT}
        yield from connection.execute(_SQL["period"], before).fetchall()
    yield since, until


def _moments(
    connection: psycopg.Connection[Any], budget: dict[str, Any], now: datetime
) -> Iterable[datetime]:
    """Now, and the end of a budget's period if it was minutes ago."""
    if budget["period"] in {"rolling", "total"}:
        return (now,)
    values = {"period": budget["period"], "timezone": budget["timezone"], "at": now}
    [(since, _)] = connection.execute(_SQL["period"], values).fetchall()
    return (since - _INSTANT, now) if now - since < _LATE else (now,)


def _reached(
    budget: dict[str, Any], account: dict[str, Any], percents: Iterable[int]
) -> Iterator[Finding]:
    limit_usd, used_usd, ends_at = account["limit_usd"], account["used_usd"], account["ends_at"]
    for percent in percents:
        if used_usd * 100 >= percent * limit_usd:
            yield Finding(
                value=account["value"],
                period_starts_at=account["starts_at"],
                threshold=Decimal(percent),
                observed=round(used_usd * 100 / limit_usd, 1),
                goes_on=budget["period"] == "rolling",
                facts={
                    "budget": budget["name"],
                    "by": budget["each"],
                    "limit_usd": str(limit_usd),
                    "used_usd": str(used_usd),
                    "period": budget["period"],
                    "days": budget["days"],
                    "timezone": budget["timezone"],
                    "period_ends_at": ends_at.isoformat() if ends_at else None,
                },
            )


def _request(alert: Alert, since: datetime, until: datetime) -> ReportRequest:
    return ReportRequest(
        (alert.by,) if alert.by else (),
        since,
        until,
        limit=MAX_VALUES,
        where=alert.filters,
        zone=alert.timezone,
    )


def _facts(alert: Alert, until: datetime) -> dict[str, Any]:
    return {
        "by": alert.by,
        "where": {name: list(values) for name, values in alert.filters.items()},
        "unit": "percent" if alert.kind in SHARES else "usd",
        "period": alert.period,
        "timezone": alert.timezone,
        "period_ends_at": until.isoformat(),
    }
