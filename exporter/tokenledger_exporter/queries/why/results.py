"""The result of the question why a cost changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.queries.notebook import NotebookResult
from tokenledger_exporter.queries.why.cells import EXACT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from tokenledger_exporter.domain.coverage import Coverage
    from tokenledger_exporter.queries.notebook import Record

LABELS: Final[Mapping[str, str]] = {
    "new": "new in this period",
    "lost": "no calls in this period",
    "calls": "number of calls",
    "coverage": "calls with a known cost",
    "model_mix": "model mix",
    "tokens": "tokens per call",
    "rate": "cost per token, not split",
    "output_share": "share of output tokens",
    "cache_share": "cache share",
    "service_tier": "service tier",
    "price": "price per token",
    "other": "tools, fees and other costs",
    "removed": "calls known only as sums",
}
"""Every kind of cause, and its name in tables."""

UNITS: Final[Mapping[str, str]] = {
    "calls": "calls",
    "coverage": "share of calls with a known cost",
    "model_mix": "share of calls",
    "tokens": "tokens per call",
    "rate": "US dollars per million tokens",
    "output_share": "share of tokens",
    "cache_share": "share of input tokens",
    "service_tier": "share of tokens",
    "price": "US dollars per million tokens",
}
"""Unit of a driver's `before` and `after`, for the causes that have them."""


@dataclass(frozen=True, slots=True)
class Driver:
    """The part of a cause that one value of the dimension has, or one model or tier of it.

    Args:
        value: value of the dimension.
        provider: who bills; "" if the cause is not about a model.
        model: the model that answered; "" if the cause is not about a model.
        service_tier: the service tier; "" if the cause is not about one, or the standard tier.
        change_usd: its part of the difference, US dollars.
        before: the figure that changed, in the preceding period; its unit is in `UNITS`.
        after: the same in the period.
    """

    value: str
    provider: str
    model: str
    service_tier: str
    change_usd: Decimal
    before: Decimal | None = None
    after: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of a change.

    Args:
        kind: a key of `LABELS`.
        change_usd: the sum of its drivers.
        drivers: where it comes from, largest first.
    """

    kind: str
    change_usd: Decimal
    drivers: tuple[Driver, ...]

    @property
    def label(self) -> str:
        """Its name for people."""
        return LABELS[self.kind]


@dataclass(frozen=True, slots=True)
class WhyReport(NotebookResult):
    """The difference of two periods, and causes that add up to it exactly.

    Args:
        by: the dimension whose values are compared.
        since: start of the period, included.
        until: its end, excluded.
        compared_since: start of the preceding period.
        compared_until: its end.
        cost_usd: the known costs of the period; see `known_cost_usd`.
        previous_cost_usd: the known costs of the preceding period.
        calls: calls of the period, with and without a known cost.
        previous_calls: calls of the preceding period.
        coverage: which calls have a known cost.
        previous_coverage: the same of the preceding period.
        causes: largest first, by size without sign; empty if one of the costs is not known.
        is_detailed: whether single calls were read, which splits the cost per token further.
        notes: what a reader must know, a sentence each.
        where: the filters.
    """

    by: str
    since: datetime
    until: datetime
    compared_since: datetime
    compared_until: datetime
    cost_usd: Decimal
    previous_cost_usd: Decimal
    calls: int
    previous_calls: int
    coverage: Coverage
    previous_coverage: Coverage
    causes: tuple[Cause, ...]
    is_detailed: bool
    notes: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def known_cost_usd(self) -> Decimal | None:
        """The cost; `None` if there are calls and the cost of none is known."""
        return None if self.coverage.knows_no_cost else self.cost_usd

    @property
    def known_previous_cost_usd(self) -> Decimal | None:
        """The same of the preceding period."""
        return None if self.previous_coverage.knows_no_cost else self.previous_cost_usd

    @property
    def change_usd(self) -> Decimal | None:
        """The difference of the known costs; `None` if one of the periods has none."""
        now, before = self.known_cost_usd, self.known_previous_cost_usd
        return None if now is None or before is None else EXACT.subtract(now, before)

    def to_records(self) -> list[Record]:
        """One flat dict for each driver of each cause, largest cause first."""
        return [
            {"cause": cause.label, self.by: driver.value} | _record(driver)
            for cause in self.causes
            for driver in cause.drivers
        ]

    def _shown_records(self) -> list[Record]:
        """One row for each cause, with its largest driver."""
        return [
            {
                "cause": cause.label,
                "mostly": ", ".join(filter(None, (cause.drivers[0].value, cause.drivers[0].model))),
                "change_usd": cause.change_usd,
            }
            for cause in self.causes
        ]

    def _sentences(self) -> list[str]:
        before = self.previous_coverage.sentence.removeprefix("coverage: ")
        return [self.coverage.sentence, f"preceding period: {before}", *self.notes]


def _record(driver: Driver) -> Record:
    """The columns of a driver that its value does not say."""
    names = ("provider", "model", "service_tier", "change_usd", "before", "after")
    return {name: getattr(driver, name) for name in names}
