"""Results of forecasts. Money is Decimal in US dollars; every result has its coverage."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.queries.forecast.estimate import METHODS
from tokenledger_exporter.queries.notebook import NotebookResult
from tokenledger_exporter.queries.results import cost_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from tokenledger_exporter.domain.coverage import Coverage
    from tokenledger_exporter.queries.notebook import Record

_SHARE_DIGITS: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class MonthForecast(NotebookResult):
    """What a month has cost so far, and what it is expected to cost at its end.

    Args:
        month: its first day.
        since: its start, included.
        until: its end, excluded.
        as_of: the end of what is known.
        spent_usd: the exact cost so far; `None` if it has calls and the cost of none is known.
        expected_usd: the forecast, to a cent; `None` if there is nothing to forecast from. A month
            that is over has its exact cost here, and in both ends of the interval.
        low_usd: the lower end of the interval that contains the cost in 80 of 100 months; `None`
            if the method has no interval.
        high_usd: its upper end.
        method: the method that was used: `seasonal` or `mean30`.
        days_learned: number of complete days that it learned from.
        coverage: coverage of the month so far.
        learned_coverage: coverage of all calls that it read, the month included.
        notes: what a reader must know about the figures, a sentence each.
        zone: time zone of the month, its days and hours.
        where: its filters.
    """

    month: date
    since: datetime
    until: datetime
    as_of: datetime
    spent_usd: Decimal | None
    expected_usd: Decimal | None
    low_usd: Decimal | None
    high_usd: Decimal | None
    method: str
    days_learned: int
    coverage: Coverage
    learned_coverage: Coverage
    notes: tuple[str, ...]
    zone: str
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def method_text(self) -> str:
        """How the method works."""
        return METHODS[self.method]

    @property
    def is_over(self) -> bool:
        """Whether the month has ended, so that nothing is forecast."""
        return self.as_of >= self.until

    @property
    def cost_text(self) -> str:
        """The forecast to print; a `+` if it leaves out calls without a known cost."""
        if self.expected_usd is None:
            return "unknown"
        return cost_text(self.expected_usd, self.learned_coverage)

    def to_records(self) -> list[Record]:
        """One flat dict."""
        names = ("month", "spent_usd", "expected_usd", "low_usd", "high_usd", "method")
        return [{name: getattr(self, name) for name in (*names, "days_learned")}]

    def _sentences(self) -> list[str]:
        return [self.coverage.sentence, *self.notes]


@dataclass(frozen=True, slots=True)
class PastForecast:
    """A forecast as it would have been on a past day, and what the month really cost.

    Args:
        month: the first day of the month.
        as_of: the end of what was known.
        days_learned: number of complete days before it.
        actual_usd: the exact cost of the month, as the ledger knows it now.
        expected_usd: the forecast of `seasonal`.
        low_usd: the lower end of its 80 % interval.
        high_usd: the upper end.
        mean30_usd: the forecast of `mean30`.
    """

    month: date
    as_of: datetime
    days_learned: int
    actual_usd: Decimal
    expected_usd: Decimal
    low_usd: Decimal
    high_usd: Decimal
    mean30_usd: Decimal

    @property
    def error(self) -> Decimal | None:
        """How far `seasonal` was off: 0.05 is 5 % too high; `None` if the month cost nothing."""
        return _error(self.expected_usd, self.actual_usd)

    @property
    def mean30_error(self) -> Decimal | None:
        """The same for `mean30`."""
        return _error(self.mean30_usd, self.actual_usd)

    @property
    def is_inside(self) -> bool:
        """Whether the cost was inside the interval."""
        return self.low_usd <= self.actual_usd <= self.high_usd


@dataclass(frozen=True, slots=True)
class Backtest(NotebookResult):
    """How good the forecasts of past months would have been.

    Args:
        forecasts: one for each past month and day of it, oldest first.
        coverage: coverage of all calls that were read.
        notes: what a reader must know about the figures, a sentence each.
        zone: time zone of the months.
        where: its filters.
    """

    forecasts: tuple[PastForecast, ...]
    coverage: Coverage
    notes: tuple[str, ...]
    zone: str
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def error(self) -> Decimal | None:
        """Average distance of `seasonal` from the cost: 0.05 is 5 %; `None` without forecasts."""
        return _average([forecast.error for forecast in self.forecasts])

    @property
    def mean30_error(self) -> Decimal | None:
        """The same for `mean30`."""
        return _average([forecast.mean30_error for forecast in self.forecasts])

    @property
    def inside(self) -> Decimal | None:
        """The share of forecasts whose interval contained the cost; 0.8 is what it aims at."""
        return _average([Decimal(forecast.is_inside) for forecast in self.forecasts])

    def to_records(self) -> list[Record]:
        """One flat dict for each forecast, oldest first."""
        names = ("month", "as_of", "days_learned", "actual_usd", "expected_usd", "low_usd")
        more = ("high_usd", "error", "is_inside", "mean30_usd", "mean30_error")
        return [
            {name: getattr(forecast, name) for name in (*names, *more)}
            for forecast in self.forecasts
        ]

    def _sentences(self) -> list[str]:
        return [self.coverage.sentence, *self.notes]


def _error(expected: Decimal, actual: Decimal) -> Decimal | None:
    return ((expected - actual) / actual).quantize(_SHARE_DIGITS) if actual else None


def _average(values: Sequence[Decimal | None]) -> Decimal | None:
    """The average of the absolute values that are known."""
    known = [abs(value) for value in values if value is not None]
    return (sum(known, Decimal(0)) / len(known)).quantize(_SHARE_DIGITS) if known else None
