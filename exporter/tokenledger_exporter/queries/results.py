"""What questions are answered with. Money is Decimal, US dollars; every answer has its coverage."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, datetime

    from tokenledger_exporter.domain.coverage import Coverage


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

    @property
    def avg_cost_per_request(self) -> Decimal:
        """Known money by all calls; 0 without calls."""
        return self.total_cost / self.total_requests if self.total_requests else Decimal(0)

    @property
    def avg_tokens_per_request(self) -> Decimal:
        """Tokens by all calls; 0 without calls."""
        requests = self.total_requests
        return Decimal(self.total_tokens) / requests if requests else Decimal(0)


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
    """A day's share, UTC unless another time zone was asked for."""

    date: date


@dataclass(frozen=True, slots=True)
class HourlyCost(CostSummary):
    """An hour's share; `hour` is its start, in the time zone asked for."""

    hour: datetime


Bucket = TypeVar("Bucket", DailyCost, HourlyCost)


@dataclass(frozen=True, slots=True)
class Trend(Generic[Bucket]):
    """Days or hours without a gap, oldest first.

    Args:
        buckets: every one of the stretch, those without calls too.
        coverage: of the whole stretch; records known to be lost are in this alone.
    """

    buckets: tuple[Bucket, ...]
    coverage: Coverage

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self.buckets)

    def __len__(self) -> int:
        return len(self.buckets)


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """How many calls failed.

    Args:
        error_rate: errors by all calls, 0 to 1; 0 without calls.
    """

    total_requests: int
    errors: int
    error_rate: float
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class TopError:
    """One kind of failure of one model; the ledger keeps no error's text."""

    error_type: str
    provider: str
    model: str
    count: int
    total_cost: Decimal
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds; `None` where no call has them.

    Args:
        requests: calls that were measured.
    """

    requests: int
    avg: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Latency:
    """How long calls took from request to the end, and to the first token of a stream."""

    duration: Percentiles
    time_to_first_token: Percentiles
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class CacheSavings:
    """What the provider's cache saved, by the price sheets the calls were priced from.

    Args:
        input_tokens: all input.
        cached_tokens: of it, read from a cache.
        cached_cost_usd: what the cached tokens cost.
        uncached_cost_usd: what they would have cost as plain input on the same sheets.
        tokens_without_price: cached tokens of calls without a price, in neither sum.
    """

    input_tokens: int
    cached_tokens: int
    cached_cost_usd: Decimal
    uncached_cost_usd: Decimal
    tokens_without_price: int
    coverage: Coverage

    @property
    def savings_usd(self) -> Decimal:
        """The difference; what writing the cache cost is not in it."""
        return self.uncached_cost_usd - self.cached_cost_usd

    @property
    def hit_rate(self) -> float:
        """Cached input by all input, 0 to 1; 0 without input."""
        return self.cached_tokens / self.input_tokens if self.input_tokens else 0.0


@dataclass(frozen=True, slots=True)
class ProjectedMonth:
    """What a month of 30 days would cost.

    Args:
        method: how that is known.
        based_on: the days it is computed from.
    """

    cost_usd: Decimal
    method: str
    based_on: CostSummary

    @property
    def coverage(self) -> Coverage:
        """Of the days it is computed from."""
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
