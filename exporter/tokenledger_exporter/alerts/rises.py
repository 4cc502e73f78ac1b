"""Hours that cost more than they usually do, and which value of a dimension explains it."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.alerts.alert import Finding
from tokenledger_exporter.alerts.unusual import MAX_WEEKS, usual_hours
from tokenledger_exporter.db.dimensions import zone_of
from tokenledger_exporter.queries.report import ReportRequest, build_report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

    from tokenledger_exporter.alerts.alert import Alert
    from tokenledger_exporter.alerts.unusual import Usual

EXPLAINING: Final = ("feature", "agent", "team", "user", "app", "model")
"""Dimensions whose values may explain a rise; of equal ones the first is named."""

_MAX_VALUES: Final = 50
_HOUR: Final = timedelta(hours=1)
_WEEK: Final = timedelta(weeks=1)
_SETTLING: Final = timedelta(minutes=2)
_COMPARED_WEEKS: Final = 3
_CENT: Final = Decimal("0.01")
_HALF: Final = Decimal(50)
_LEAST_SURPRISE: Final = Decimal(10)


def unusual_hours(
    connection: psycopg.Connection[Any], alert: Alert, now: datetime
) -> Iterator[Finding]:
    """The slices whose last complete hour, or the hour so far, costs more than is usual."""
    zone = zone_of(alert.timezone)
    # Local hours: the shape of a day follows the clock on the wall.
    this_hour = now.astimezone(zone).replace(minute=0, second=0, microsecond=0, tzinfo=None)
    last_hour = this_hour - _HOUR
    if now - this_hour.replace(tzinfo=zone) < _SETTLING:
        # Its last calls may not be here yet.
        this_hour, last_hour = last_hour, last_hour - _HOUR
    smallest = alert.threshold or _CENT
    for value, hours in _costs(connection, alert, last_hour, this_hour).items():
        for hour in (this_hour, last_hour):
            cost_usd = hours.get(hour, Decimal(0))
            if cost_usd < smallest:
                continue
            usual = _usual(hours, hour)
            if usual is not None and cost_usd > Decimal(usual.limit):
                yield _finding(connection, alert, value, hour, cost_usd, usual)
                break


def _costs(
    connection: psycopg.Connection[Any], alert: Alert, last_hour: datetime, this_hour: datetime
) -> dict[str, dict[datetime, Decimal]]:
    """Value -> local hour -> cost of the past weeks, for the values that cost most now."""
    zone = zone_of(alert.timezone)
    start = last_hour.replace(tzinfo=zone)
    until = this_hour.replace(tzinfo=zone) + _HOUR
    where: Mapping[str, Any] = alert.filters
    by = (alert.by,) if alert.by else ()
    if by:
        request = ReportRequest(by, start, until, limit=_MAX_VALUES, where=alert.filters)
        values = [row.labels[0] for row in build_report(connection, request).rows]
        if not values:
            return {}
        where = {**alert.filters, alert.by: values}
    since = (_midnight(last_hour) - MAX_WEEKS * _WEEK).replace(tzinfo=zone)
    request = ReportRequest((*by, "hour"), since, until, where=where, zone=alert.timezone)
    costs: dict[str, dict[datetime, Decimal]] = {}
    for row in build_report(connection, request).rows:
        hour = datetime.strptime(row.labels[-1], "%Y-%m-%d %H:%M")  # noqa: DTZ007 - a local hour
        costs.setdefault(row.labels[0] if by else "", {})[hour] = row.cost_usd
    return costs


def _usual(hours: Mapping[datetime, Decimal], hour: datetime) -> Usual | None:
    """What an hour usually costs; `None` without enough weeks before it."""
    start = _midnight(hour) - MAX_WEEKS * _WEEK
    past = [
        float(hours.get(start + number * _HOUR, 0)) for number in range(MAX_WEEKS * _WEEK // _HOUR)
    ]
    usual = usual_hours(past)
    return usual[hour.hour] if usual else None


def _finding(  # noqa: PLR0913, PLR0917 - what a finding is made of
    connection: psycopg.Connection[Any],
    alert: Alert,
    value: str,
    hour: datetime,
    cost_usd: Decimal,
    usual: Usual,
) -> Finding:
    start = hour.replace(tzinfo=zone_of(alert.timezone))
    where = {**alert.filters, **({alert.by: (value,)} if alert.by else {})}
    return Finding(
        value=value,
        period_starts_at=_midnight(hour).replace(tzinfo=start.tzinfo),
        threshold=alert.threshold or _CENT,
        observed=cost_usd,
        goes_on=True,
        facts={
            "by": alert.by,
            "where": {name: list(values) for name, values in alert.filters.items()},
            "unit": "usd",
            "period": "hour",
            "timezone": alert.timezone,
            "hour_starts_at": start.isoformat(),
            "usual_usd": str(Decimal(usual.expected).quantize(_CENT)),
            "explained_by": explain_rise(connection, where, start),
        },
    )


def explain_rise(
    connection: psycopg.Connection[Any], where: Mapping[str, tuple[str, ...]], start: datetime
) -> dict[str, str] | None:
    """The value that rose most, against the mean of the same hour in the weeks before.

    A value that always has most of the cost explains nothing: the one is named whose share of the
    rise is larger than its usual share by the most.

    Returns:
        Its dimension, value, rise in US dollars and share of the whole rise in percent; `None` if
        no value has half of it.
    """
    best: dict[str, str] | None = None
    most = _LEAST_SURPRISE
    for dimension in EXPLAINING:
        if dimension in where:
            continue
        before = _mean_by_value(connection, dimension, where, start)
        rises = {
            value: cost_usd - before.get(value, Decimal(0))
            for value, cost_usd in _by_value(connection, dimension, where, start).items()
        }
        usual, now = sum(before.values()), sum(rises.values())
        whole = now - sum(usd for value, usd in before.items() if value not in rises)
        value = max(rises, key=lambda name: rises[name], default="")
        if not value or whole <= 0:
            continue
        share = min(rises[value] * 100 / whole, Decimal(100))
        surprise = share - (before.get(value, Decimal(0)) * 100 / usual if usual else 0)
        if share > _HALF and surprise > most:
            most = surprise
            best = {
                "dimension": dimension,
                "value": value,
                "rise_usd": str(rises[value].quantize(_CENT)),
                "share_percent": str(round(share)),
            }
    return best


def _mean_by_value(
    connection: psycopg.Connection[Any],
    dimension: str,
    where: Mapping[str, tuple[str, ...]],
    start: datetime,
) -> dict[str, Decimal]:
    """What each value cost in the same hour of the weeks before, on average."""
    means: dict[str, Decimal] = {}
    for week in range(1, _COMPARED_WEEKS + 1):
        before = _by_value(connection, dimension, where, start - week * _WEEK)
        for value, cost_usd in before.items():
            means[value] = means.get(value, Decimal(0)) + cost_usd / _COMPARED_WEEKS
    return means


def _by_value(
    connection: psycopg.Connection[Any],
    dimension: str,
    where: Mapping[str, tuple[str, ...]],
    start: datetime,
) -> dict[str, Decimal]:
    request = ReportRequest((dimension,), start, start + _HOUR, where=where)
    return {row.labels[0]: row.cost_usd for row in build_report(connection, request).rows}


def _midnight(hour: datetime) -> datetime:
    return hour.replace(hour=0)
