"""Sets, lists, tests, pauses and deletes alerts, and reads what fired.

The same from SQL: `token_ledger_alerts` is a table that may be written.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from tokenledger_exporter.alerts import channels, definition, targets
from tokenledger_exporter.alerts.alert import alert_of
from tokenledger_exporter.alerts.message import example_message
from tokenledger_exporter.alerts.targets import TargetError
from tokenledger_exporter.alerts.webhook import key_of
from tokenledger_exporter.db.connection import session
from tokenledger_exporter.domain.names import read_name
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    import psycopg

    from tokenledger_exporter.alerts.alert import Alert

_SQL: Final = statements("alerts")
MAX_ROWS: Final = 10_000
"""The most incidents of one answer."""


@dataclass(frozen=True, slots=True)
class AlertState:
    """An alert and how it is.

    Args:
        alert: the alert.
        open_incidents: incidents that are not over.
        waiting: messages that are still to be delivered.
        undeliverable: messages that were given up after a day.
        possible_repeats: messages that may have arrived twice.
        fired_at: when it last fired; `None` is never.
        checked_at: when it was last checked; `None` is never: does `tokenledger keep` run?
        last_error: why the last check failed; "" if it did not.
    """

    alert: Alert
    open_incidents: int
    waiting: int
    undeliverable: int
    possible_repeats: int
    fired_at: datetime | None
    checked_at: datetime | None
    last_error: str


@dataclass(frozen=True, slots=True)
class Incident:
    """One time that an alert fired.

    Args:
        value: value of the dimension that is watched; "" without one.
        threshold: what was reached, in US dollars or percent.
        observed: what was measured when it fired, in US dollars or percent.
        over_at: when it was over; `None` if it is not.
        over_reason: below, period, changed or deleted; "" if it is not over.
        delivered: messages that arrived; `waiting`, `undeliverable` and `possible_repeats` count
            the others, and those that may have arrived twice.
        last_error: why a message did not arrive.
    """

    incident_id: int
    alert: str
    kind: str
    value: str
    period_starts_at: datetime
    threshold: Decimal
    observed: Decimal
    facts: Mapping[str, Any]
    fired_at: datetime
    over_at: datetime | None
    over_reason: str
    delivered: int
    waiting: int
    undeliverable: int
    possible_repeats: int
    last_error: str


@dataclass(frozen=True, slots=True)
class TestResult:
    """Whether a test message reached a target; `error` is "" if it did."""

    __test__ = False

    target: str
    error: str


def set_alert(  # noqa: PLR0913 - one keyword per option
    database_url: str,
    name: str,
    *,
    on: str | None = None,
    to: Sequence[str] | None = None,
    budget: str | None = None,
    where: Mapping[str, str | Sequence[str]] | None = None,
    by: str | None = None,
    above: str | Decimal | int | None = None,
    per: str | None = None,
    timezone: str | None = None,
    secret: str | None = None,
) -> Alert:
    """Create an alert, or change what is given of an existing one.

    Args:
        database_url: the ledger, as its owner or keeper.
        name: its name.
        on: budget, spend, errors, unpriced or unusual. Another kind starts with its defaults.
        to: targets: `env:NAME` or `file:/path`, which refer to a URL of apprise or of a webhook, or
            `webhook+https://host/path`.
        budget: for budget, its name.
        where: dimension -> value or values; all dimensions must match. `{}` is every call.
        by: dimension whose values are watched one by one, such as `feature`; "" for none.
        above: US dollars for spend and unusual (default of unusual: 1), a percentage of the calls
            for errors and unpriced.
        per: hour, day, week or month. Default: day; for errors: hour.
        timezone: IANA name of the zone in which periods start. Default: UTC.
        secret: `env:NAME` or `file:/path` of the key that signs webhooks. Default:
            `env:TOKENLEDGER_WEBHOOK_SECRET`.

    Raises:
        InvalidRequestError: an argument is invalid, or a new alert has no kind or target.
        LedgerError: the database reported an error; nothing was changed.
    """
    read_name("alert", name)
    with session(database_url) as connection, connection.transaction():
        known = {state.alert.name: state.alert for state in _states(connection)}.get(name)
        after = definition.changed(
            known,
            name,
            on=on,
            to=to,
            budget=budget,
            where=where,
            by=by,
            above=above,
            per=per,
            timezone=timezone,
            secret=secret,
        )
        _check_budget(connection, after)
        _store(connection, known, after)
        return _find(connection, name).alert


def list_alerts(database_url: str) -> list[AlertState]:
    """Every alert and how it is, by name."""
    with session(database_url) as connection:
        return _states(connection)


def show_alert(database_url: str, name: str) -> AlertState:
    """One alert.

    Raises:
        InvalidRequestError: there is no such alert.
    """
    with session(database_url) as connection:
        return _find(connection, name)


def pause_alert(database_url: str, name: str, *, is_paused: bool = True) -> Alert:
    """Pause an alert, or resume it.

    Raises:
        InvalidRequestError: there is no such alert.
    """
    with session(database_url) as connection, connection.transaction():
        before = _find(connection, name).alert
        _store(connection, before, replace(before, is_paused=is_paused))
        return _find(connection, name).alert


def delete_alert(database_url: str, name: str) -> None:
    """Delete an alert and its messages that wait; its history stays.

    Raises:
        InvalidRequestError: there is no such alert.
    """
    with session(database_url) as connection, connection.transaction():
        _remove(connection, _find(connection, name).alert, "deleted")


def check_targets(alert: Alert) -> list[TestResult]:
    """What is wrong with the targets of an alert on this machine; sends nothing."""
    results: list[TestResult] = []
    for target in alert.targets:
        error = ""
        try:
            url = targets.resolve(target)
            if targets.is_webhook(url):
                targets.check_webhook(url)
                key_of(alert.secret or targets.DEFAULT_SECRET)
            else:
                channels.check_apprise(url)
        except TargetError as problem:
            error = str(problem)
        results.append(TestResult(target, error))
    return results


def send_test(database_url: str, name: str) -> list[TestResult]:
    """Send a message that says it is a test to each target of an alert, from this machine.

    Raises:
        InvalidRequestError: there is no such alert.
    """
    alert = show_alert(database_url, name).alert
    results: list[TestResult] = []
    for target in alert.targets:
        error = ""
        try:
            channels.send(target, alert.secret, example_message(name, str(uuid.uuid4())))
        except TargetError as problem:
            error = str(problem)
        results.append(TestResult(target, error))
    return results


def alert_history(
    database_url: str, name: str | None = None, *, limit: int = 100
) -> list[Incident]:
    """What fired, of one alert or of all, newest first; also of deleted alerts.

    Raises:
        InvalidRequestError: the limit is not 1 to 10,000.
    """
    if not 1 <= limit <= MAX_ROWS:
        raise InvalidRequestError(f"limit must be 1 to {MAX_ROWS:,}, not {limit}")
    with (
        session(database_url) as connection,
        connection.cursor(row_factory=class_row(Incident)) as cursor,
    ):
        return cursor.execute(_SQL["history"], {"name": name, "limit": limit}).fetchall()


def _check_budget(connection: psycopg.Connection[Any], alert: Alert) -> None:
    if not alert.budget:
        return
    if not connection.execute(_SQL["budget_thresholds"], {"budget": alert.budget}).fetchall():
        raise InvalidRequestError(
            f"unknown budget {alert.budget!r}; run 'tokenledger budget list', or set it first"
        )


def _store(connection: psycopg.Connection[Any], before: Alert | None, after: Alert) -> None:
    if before is not None and _watched(before) != _watched(after):
        # What fired for the old definition says nothing about the new one.
        _remove(connection, before, "changed")
    values = {
        "name": after.name,
        "kind": after.kind,
        "budget": after.budget,
        "filters": Jsonb({name: list(values) for name, values in after.filters.items()}),
        "by_dimension": after.by,
        "threshold": after.threshold,
        "period": after.period,
        "timezone": after.timezone,
        "targets": list(after.targets),
        "secret": after.secret,
        "is_paused": after.is_paused,
    }
    connection.execute(_SQL["set"], values)


def _watched(alert: Alert) -> Alert:
    """The alert without where its messages go."""
    return replace(alert, targets=(), secret="", is_paused=False)


def _remove(connection: psycopg.Connection[Any], alert: Alert, reason: str) -> None:
    values = {"alert_id": alert.alert_id, "name": alert.name, "reason": reason}
    for name in ("drop_waiting", "end_incidents", "delete"):
        connection.execute(_SQL[name], values)


def _states(connection: psycopg.Connection[Any]) -> list[AlertState]:
    with connection.cursor(row_factory=dict_row) as cursor:
        counts = {row["alert_id"]: row for row in cursor.execute(_SQL["counts"])}
        rows = cursor.execute(_SQL["alerts"]).fetchall()
    none: dict[str, Any] = {
        **dict.fromkeys(("open_incidents", "waiting", "undeliverable", "possible_repeats"), 0),
        "fired_at": None,
    }
    return [
        AlertState(
            alert=alert_of(row),
            checked_at=row["checked_at"],
            last_error=row["last_error"],
            **{name: counts.get(row["alert_id"], none)[name] for name in none},
        )
        for row in rows
    ]


def _find(connection: psycopg.Connection[Any], name: str) -> AlertState:
    states = _states(connection)
    for state in states:
        if state.alert.name == name:
            return state
    known = ", ".join(state.alert.name for state in states)
    raise InvalidRequestError(
        f"unknown alert {name!r}; "
        + (f"use one of {known}" if known else "no alert is set: run 'tokenledger alert set'")
    )
