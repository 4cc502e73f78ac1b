"""Checks the alerts that are due: each fires once, and is over when nothing is found any more.

An alert is checked in one transaction, under the lock of its row: an incident and its messages are
stored together or not at all, and another process skips what this one checks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tokenledger_exporter.alerts import rises, rules
from tokenledger_exporter.alerts.alert import alert_of
from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import psycopg

    from tokenledger_exporter.alerts.alert import Alert, Finding

_SQL: Final = statements("alerts")
_RULES: Final[
    Mapping[str, Callable[[psycopg.Connection[Any], Alert, datetime], Iterable[Finding]]]
] = {
    "budget": rules.over_budget,
    "spend": rules.over_spend,
    "errors": rules.over_share,
    "unpriced": rules.over_share,
    "unusual": rises.unusual_hours,
}


@dataclass(slots=True)
class Checked:
    """What a check found.

    Args:
        alerts: alerts that were checked.
        fired: incidents that began.
        over: incidents that ended.
        troubles: alerts that could not be checked, a sentence each.
    """

    alerts: int = 0
    fired: int = 0
    over: int = 0
    troubles: list[str] = field(default_factory=list[str])


def may_check(connection: psycopg.Connection[Any]) -> bool:
    """Whether this user may check alerts and send their messages."""
    row = connection.execute(_SQL["may_check"]).fetchone()
    return bool(row and row[0])


def check_alerts(connection: psycopg.Connection[Any], now: datetime | None = None) -> Checked:
    """Check every alert that is due.

    Args:
        connection: the ledger, in autocommit mode.
        now: the time to check at; `None` is the database's.

    Raises:
        LedgerError: the database cannot be reached.
    """
    [(moment,)] = [(now,)] if now else connection.execute("SELECT now()").fetchall()
    checked = Checked()
    due = connection.execute(_SQL["due"], {"now": moment}).fetchall()
    for (alert_id,) in due:
        values = {"alert_id": alert_id, "now": moment}
        try:
            with connection.transaction():
                _check(connection, values, moment, checked)
        except LedgerError as error:
            # The others are checked all the same; a lost connection fails here again.
            connection.execute(_SQL["note_check"], {**values, "error": str(error)})
            checked.troubles.append(f"an alert could not be checked: {error}")
    if due:
        connection.execute(_SQL["drop_old"])
    return checked


def _check(
    connection: psycopg.Connection[Any],
    values: Mapping[str, object],
    now: datetime,
    checked: Checked,
) -> None:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_SQL["lock"], values).fetchone()
    if row is None:
        return
    alert = alert_of(row)
    findings = list(_RULES[alert.kind](connection, alert, now))
    with connection.cursor(row_factory=dict_row) as cursor:
        open_incidents = cursor.execute(_SQL["open_incidents"], values).fetchall()
    checked.over += _end(connection, alert, open_incidents, findings, now)
    checked.fired += _fire(connection, alert, open_incidents, findings)
    checked.alerts += 1
    connection.execute(_SQL["note_check"], {**values, "error": ""})


def _fire(
    connection: psycopg.Connection[Any],
    alert: Alert,
    open_incidents: Sequence[Mapping[str, Any]],
    findings: Iterable[Finding],
) -> int:
    fired = 0
    going_on = {(incident["value"], incident["threshold"]) for incident in open_incidents}
    for finding in findings:
        if finding.goes_on and (finding.value, finding.threshold) in going_on:
            continue
        values = {
            "alert_id": alert.alert_id,
            "alert": alert.name,
            "kind": alert.kind,
            "value": finding.value,
            "period_starts_at": finding.period_starts_at,
            "threshold": finding.threshold,
            "observed": finding.observed,
            "facts": Jsonb(finding.facts),
        }
        for (incident_id,) in connection.execute(_SQL["fire"], values).fetchall():
            _queue(connection, alert, incident_id, "fired")
            fired += 1
    return fired


def _end(
    connection: psycopg.Connection[Any],
    alert: Alert,
    open_incidents: Sequence[Mapping[str, Any]],
    findings: Iterable[Finding],
    now: datetime,
) -> int:
    reached = {(each.value, each.threshold, each.period_starts_at) for each in findings}
    going_on = {(each.value, each.threshold) for each in findings if each.goes_on}
    over = 0
    for incident in open_incidents:
        subject = (incident["value"], incident["threshold"])
        if (*subject, incident["period_starts_at"]) in reached or subject in going_on:
            continue
        ends_at = incident["facts"].get("period_ends_at")
        has_ended = ends_at is not None and datetime.fromisoformat(ends_at) <= now
        values = {
            "incident_id": incident["incident_id"],
            "reason": "period" if has_ended else "below",
        }
        connection.execute(_SQL["end_incident"], values)
        _queue(connection, alert, incident["incident_id"], "over")
        over += 1
    return over


def _queue(connection: psycopg.Connection[Any], alert: Alert, incident_id: int, event: str) -> None:
    values = {"incident_id": incident_id, "event": event, "targets": list(alert.targets)}
    connection.execute(_SQL["queue"], values)
