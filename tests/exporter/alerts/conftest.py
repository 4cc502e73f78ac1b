"""A ledger with an alert's target, and calls that cost a given amount."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from support.loopback import Loopback, said
from tokenledger_exporter.alerts.check import check_alerts
from tokenledger_exporter.alerts.sender import send_waiting

if TYPE_CHECKING:
    from collections.abc import Generator

    from tokenledger_exporter.alerts.check import Checked
    from tokenledger_exporter.alerts.sender import Sent

SECRET: Final = "a-secret-of-32-characters-for-us"
_NEXT_MONTH: Final = (
    datetime.now(timezone.utc).replace(day=1, hour=12, minute=30, second=0, microsecond=0)
    + timedelta(days=32)
).replace(day=1)
# A Wednesday in the months that have partitions: no week or month starts close by.
NOON: Final = _NEXT_MONTH + timedelta(days=44 + (2 - _NEXT_MONTH.weekday() - 44) % 7)


@dataclass
class Watched:
    """A ledger whose alerts go to a server on loopback."""

    url: str
    target: Loopback

    @property
    def webhook(self) -> str:
        return self.target.url.replace("http://", "webhook+http://") + "/hook"

    def spend(
        self, usd: str, at: datetime = NOON, calls: int = 1, *, failed: int = 0, **dimensions: str
    ) -> None:
        """Store calls that cost an amount each."""
        columns = ["provider", "model", "cost_status", "cost_usd", "timestamp", *dimensions]
        values = ["openai", "gpt-4o", "priced", usd, at, *dimensions.values()]
        places = ", ".join(["%s"] * len(columns))
        statement = (
            f"INSERT INTO token_ledger_events ({', '.join(columns)}, status) "
            f"SELECT {places}, CASE WHEN number <= %s THEN 'error' ELSE 'success' END "
            "FROM generate_series(1, %s) AS numbers (number)"
        )
        with psycopg.connect(self.url) as connection:
            connection.execute(statement.encode(), [*values, failed, calls])

    def check(self, now: datetime = NOON) -> Checked:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("UPDATE token_ledger_alerts SET checked_at = NULL")
            return check_alerts(connection, now)

    def send(self, seconds: float = 5.0) -> Sent:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("UPDATE token_ledger_alert_deliveries SET next_at = now()")
            return send_waiting(connection, seconds)

    def titles(self) -> list[str]:
        """Titles of what the webhook received."""
        return [request.json()["title"] for request in self.target.requests]


@pytest.fixture
def watched(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Generator[Watched]:
    monkeypatch.setenv("TOKENLEDGER_WEBHOOK_SECRET", SECRET)
    with Loopback() as target:
        target.on("/hook", said({}))
        yield Watched(database_url, target)


def later(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)
