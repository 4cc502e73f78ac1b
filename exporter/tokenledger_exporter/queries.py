"""Cost questions from Python, with the names users of the older TokenLedger know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.database import session
from tokenledger_exporter.errors import UsageError
from tokenledger_exporter.ledger import installed_ledger
from tokenledger_exporter.report import build_report
from tokenledger_exporter.timespan import days_before
from tokenledger_semconv.settings import read_settings

if TYPE_CHECKING:
    from decimal import Decimal

    from tokenledger_exporter.report import Coverage, Report, ReportRow


@dataclass(frozen=True, slots=True)
class CostSummary:
    """Money and counts of a stretch of days; `coverage` says what `total_cost` leaves out."""

    total_cost: Decimal
    total_requests: int
    total_input_tokens: int
    total_output_tokens: int
    coverage: Coverage

    @property
    def total_tokens(self) -> int:
        """Input plus output."""
        return self.total_input_tokens + self.total_output_tokens


@dataclass(frozen=True, slots=True)
class ModelCost(CostSummary):
    """A model's share."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class UserCost(CostSummary):
    """A user's share; `user_id` is "" for calls that name nobody."""

    user_id: str


@dataclass(frozen=True, slots=True)
class DailyCost(CostSummary):
    """A UTC day's share."""

    date: date


class TokenLedgerQueries:
    """Answers from one ledger. Every cost is a Decimal in US dollars, 0 on an empty ledger.

    Every question takes `days`, 1 or more; `UsageError` says when no calendar reaches so far.

    Args:
        database_url: connection string; else that of `configure()`, else of the environment.

    Raises:
        UsageError: no database URL is known.
    """

    def __init__(self, database_url: str | None = None) -> None:
        ledger = installed_ledger()
        configured = ledger.settings.database_url if ledger is not None else None
        given = database_url or configured or read_settings().database_url
        if not given:
            raise UsageError(
                "no database URL: call tokenledger.configure(database_url=...) first, or set "
                "TOKENLEDGER_DATABASE_URL"
            )
        self._database_url: Final = given

    def get_cost_summary(self, days: int = 30) -> CostSummary:
        """Everything in the last `days` days, up to now."""
        return CostSummary(*_figures(self._report(days).totals))

    def get_costs_by_model(self, days: int = 30, limit: int = 1_000) -> list[ModelCost]:
        """One entry a provider and model, dearest first."""
        rows = self._report(days, "provider", "model", limit=limit).rows
        return [ModelCost(*_figures(row), *row.labels) for row in rows]

    def get_costs_by_user(self, days: int = 30, limit: int = 1_000) -> list[UserCost]:
        """One entry a user, dearest first."""
        rows = self._report(days, "user", limit=limit).rows
        return [UserCost(*_figures(row), *row.labels) for row in rows]

    def get_daily_costs(self, days: int = 30) -> list[DailyCost]:
        """One entry a UTC day that has calls, newest first."""
        entries = (
            DailyCost(*_figures(row), date=date.fromisoformat(row.labels[0]))
            for row in self._report(days, "day").rows
        )
        return sorted(entries, key=lambda entry: entry.date, reverse=True)

    def _report(self, days: int, *by: str, limit: int = 1_000_000) -> Report:
        # A call may start a moment before the clock is read here.
        until = datetime.now(timezone.utc) + timedelta(minutes=1)
        since = days_before(until, days)
        with session(self._database_url) as connection:
            return build_report(connection, by, since, until, limit=limit)


def _figures(row: ReportRow) -> tuple[Decimal, int, int, int, Coverage]:
    return (row.cost_usd, row.calls, row.input_tokens, row.output_tokens, row.coverage)
