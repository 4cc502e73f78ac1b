"""Results of queries. Money is Decimal in US dollars; every result has its coverage."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Generic, TypeVar

from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.queries.notebook import NotebookResult, flat_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, datetime

    from tokenledger_exporter.domain.coverage import Coverage
    from tokenledger_exporter.queries.notebook import Record


def cost_text(cost_usd: Decimal, coverage: Coverage) -> str:
    """A sum of costs to print: a `+` if calls have no known cost, `unknown` if none has one."""
    if coverage.knows_no_cost:
        return "unknown"
    return f"${plain_usd(cost_usd)}{'+' * (coverage.without_cost > 0)}"


@dataclass(frozen=True, slots=True)
class CostSummary(NotebookResult):
    """Cost and counts of a period; `coverage` says what `total_cost` leaves out.

    `total_cost` is 0 if no call has a known cost; `known_cost` is `None` then, and `cost_text` says
    `unknown`.
    """

    total_cost: Decimal
    total_requests: int
    total_input_tokens: int
    total_output_tokens: int
    coverage: Coverage

    @property
    def known_cost(self) -> Decimal | None:
        """The cost; `None` if there are calls and the cost of none is known."""
        return None if self.coverage.knows_no_cost else self.total_cost

    @property
    def cost_text(self) -> str:
        """The cost to print: `$0.0016`, `$0.0016+` if calls are missing from it, or `unknown`."""
        return cost_text(self.total_cost, self.coverage)

    @property
    def total_tokens(self) -> int:
        """Input plus output."""
        return self.total_input_tokens + self.total_output_tokens

    @property
    def avg_cost_per_request(self) -> Decimal:
        """Known cost divided by the calls whose cost is known; 0 if there is none."""
        known = self.coverage.with_cost
        return self.total_cost / known if known else Decimal(0)

    @property
    def avg_tokens_per_request(self) -> Decimal:
        """Tokens divided by all calls; 0 without calls."""
        requests = self.total_requests
        return Decimal(self.total_tokens) / requests if requests else Decimal(0)


@dataclass(frozen=True, slots=True)
class ModelCost(CostSummary):
    """The cost of one model."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class UserCost(CostSummary):
    """The cost of one user; `user_id` is "" for calls without a user."""

    user_id: str


@dataclass(frozen=True, slots=True)
class DailyCost(CostSummary):
    """The cost of one day, in UTC unless another time zone was requested."""

    date: date


@dataclass(frozen=True, slots=True)
class HourlyCost(CostSummary):
    """The cost of one hour; `hour` is its start, in the requested time zone."""

    hour: datetime


Bucket = TypeVar("Bucket", DailyCost, HourlyCost)


@dataclass(frozen=True, slots=True)
class Trend(NotebookResult, Generic[Bucket]):
    """Days or hours without gaps, oldest first.

    Args:
        buckets: every day or hour of the period, also without calls.
        coverage: coverage of the whole period; only this one counts lost records.
    """

    buckets: tuple[Bucket, ...]
    coverage: Coverage

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self.buckets)

    def __len__(self) -> int:
        return len(self.buckets)

    def to_records(self) -> list[Record]:
        """One flat dict for each day or hour, oldest first."""
        return [flat_record(bucket) for bucket in self.buckets]


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """How many calls failed.

    Args:
        error_rate: errors divided by all calls, 0 to 1; 0 without calls.
    """

    total_requests: int
    errors: int
    error_rate: float
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class TopError:
    """One kind of failure of one model; the ledger stores no error texts."""

    error_type: str
    provider: str
    model: str
    count: int
    total_cost: Decimal
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles in milliseconds; `None` if no call was measured.

    Args:
        requests: number of measured calls.
    """

    requests: int
    avg: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Latency:
    """How long calls took until their end, and until the first token of a stream."""

    duration: Percentiles
    time_to_first_token: Percentiles
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class CacheSavings(NotebookResult):
    """What the provider's cache saved, by the price sheets the calls were priced from.

    Args:
        input_tokens: all input.
        cached_tokens: input that was read from a cache.
        cached_cost_usd: cost of the cached tokens.
        uncached_cost_usd: their cost as uncached input, by the same price sheets.
        tokens_without_price: cached tokens of calls without a price; in neither cost.
    """

    input_tokens: int
    cached_tokens: int
    cached_cost_usd: Decimal
    uncached_cost_usd: Decimal
    tokens_without_price: int
    coverage: Coverage

    @property
    def savings_usd(self) -> Decimal:
        """The difference of both costs; the cost of cache writes is not part of it."""
        return self.uncached_cost_usd - self.cached_cost_usd

    @property
    def hit_rate(self) -> float:
        """Cached input divided by all input, 0 to 1; 0 without input."""
        return self.cached_tokens / self.input_tokens if self.input_tokens else 0.0


@dataclass(frozen=True, slots=True)
class ProjectedMonth(NotebookResult):
    """The projected cost of a month of 30 days.

    Args:
        method: how it is projected.
        based_on: the days it is computed from.
    """

    cost_usd: Decimal
    method: str
    based_on: CostSummary

    @property
    def cost_text(self) -> str:
        """The cost to print, to a millionth of a dollar; see `CostSummary.cost_text`."""
        return cost_text(round(self.cost_usd, 6), self.coverage)

    @property
    def coverage(self) -> Coverage:
        """Coverage of the days it is computed from."""
        return self.based_on.coverage


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One group of an aggregate.

    Args:
        groups: dimension -> its value here.
        metrics: metric -> its value.
    """

    groups: Mapping[str, str]
    metrics: Mapping[str, Decimal | int]
    coverage: Coverage
