"""What the provider's cache saved, computed from the price sheets that the rows name."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from psycopg import sql

from tokenledger_exporter.db.dimensions import group, label_columns
from tokenledger_exporter.db.steps import Statement
from tokenledger_exporter.domain.coverage import coverage_of
from tokenledger_exporter.pricing.book import PriceBook
from tokenledger_exporter.pricing.price_row import MONEY, PriceRow
from tokenledger_exporter.queries.report import losses_steps
from tokenledger_exporter.queries.results import CacheSavings
from tokenledger_exporter.queries.summaries import period_statement
from tokenledger_exporter.sql import statements
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.db.steps import Steps
    from tokenledger_exporter.queries.report import ReportRequest

_SQL: Final = statements("queries")

# One token of each kind of input, added to the tokens that select the price band.
_KINDS: Final = {"text": "input", "audio": "input_audio", "image": "input_image"}


class Saving(NamedTuple):
    """What the cache saved for one group.

    Args:
        cached_cost_usd: cost of its cached tokens.
        uncached_cost_usd: their cost as uncached input, by the same price sheets.
        tokens_without_price: its cached tokens of calls without a price; in neither cost.
    """

    cached_cost_usd: Decimal
    uncached_cost_usd: Decimal
    tokens_without_price: int

    @property
    def savings_usd(self) -> Decimal:
        """The difference of both costs."""
        return MONEY.subtract(self.uncached_cost_usd, self.cached_cost_usd)

    def plus(self, other: Saving) -> Saving:
        """Both groups together."""
        return Saving(
            MONEY.add(self.cached_cost_usd, other.cached_cost_usd),
            MONEY.add(self.uncached_cost_usd, other.uncached_cost_usd),
            self.tokens_without_price + other.tokens_without_price,
        )


NO_SAVING: Final = Saving(Decimal(0), Decimal(0), 0)
"""Of a group without cached tokens."""


def savings_steps(request: ReportRequest) -> Steps[CacheSavings]:
    """The cost of cached tokens, and their cost as uncached input."""
    [totals] = yield period_statement("cache_totals", request)
    by_labels = yield from savings_by_labels_steps(request)
    lost = yield from losses_steps(request.since, request.until)
    saving = by_labels.get((), NO_SAVING)
    return CacheSavings(
        input_tokens=totals["input_tokens"],
        cached_tokens=totals["cached_tokens"],
        cached_cost_usd=saving.cached_cost_usd,
        uncached_cost_usd=saving.uncached_cost_usd,
        tokens_without_price=saving.tokens_without_price,
        coverage=coverage_of(totals, lost=lost),
    )


def savings_by_labels_steps(request: ReportRequest) -> Steps[dict[tuple[str, ...], Saving]]:
    """What the cache saved, by the values of the request's dimensions."""
    columns = [group(name, request.zone) for name in request.by]
    braces = {
        "labels": label_columns(columns),
        "groups": sql.SQL("").join(sql.SQL("{}, ").format(column) for column in columns),
    }
    groups = yield period_statement("cached_by_sheet", request, braces)
    ids = sorted({each["price_id"] for each in groups})
    rows = yield Statement(sql.SQL(_SQL["sheets"]), {"price_ids": ids})
    book = PriceBook(PriceRow(**row) for row in rows)
    savings: dict[tuple[str, ...], Saving] = {}
    for each in groups:
        labels = tuple(str(each[f"label_{number}"]) for number in range(len(columns)))
        savings[labels] = savings.get(labels, NO_SAVING).plus(_saving(book, each))
    return savings


def _saving(book: PriceBook, cached: Mapping[str, Any]) -> Saving:
    cost = _as_plain_input(book, cached)
    if cost is None:
        return Saving(Decimal(0), Decimal(0), sum(cached[f"{kind}_tokens"] for kind in _KINDS))
    return Saving(cached["cached_cost_usd"], cost, 0)


def _as_plain_input(book: PriceBook, cached: Mapping[str, Any]) -> Decimal | None:
    """The cost of a group's cached tokens as uncached input; `None` if its sheet has no price."""
    whole = cached["above_input_tokens"] + len(_KINDS)
    one_each = TokenVector(input_tokens=whole, audio_input_tokens=1, image_input_tokens=1)
    bill = book.bill(cached["price_id"], one_each)
    if bill is None:
        return None
    prices = {line.kind: line for line in bill[1]}
    total = Decimal(0)
    for kind, name in _KINDS.items():
        tokens = cached[f"{kind}_tokens"]
        if not tokens:
            continue
        if name not in prices:
            return None
        line = prices[name]
        cost = MONEY.divide(MONEY.multiply(line.price_usd, Decimal(tokens)), Decimal(line.per))
        total = MONEY.add(total, cost)
    return total
