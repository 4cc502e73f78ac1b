"""What the provider's cache saved, computed from the price sheets that the rows name."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

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


def savings_steps(request: ReportRequest) -> Steps[CacheSavings]:
    """The cost of cached tokens, and their cost as uncached input."""
    [totals] = yield period_statement("cache_totals", request)
    groups = yield period_statement("cached_by_sheet", request)
    ids = sorted({group["price_id"] for group in groups})
    rows = yield Statement(sql.SQL(_SQL["sheets"]), {"price_ids": ids})
    lost = yield from losses_steps(request.since, request.until)
    book = PriceBook(PriceRow(**row) for row in rows)
    cached = uncached = Decimal(0)
    without_price = 0
    for group in groups:
        cost = _as_plain_input(book, group)
        if cost is None:
            without_price += sum(group[f"{kind}_tokens"] for kind in _KINDS)
        else:
            uncached = MONEY.add(uncached, cost)
            cached = MONEY.add(cached, group["cached_cost_usd"])
    return CacheSavings(
        input_tokens=totals["input_tokens"],
        cached_tokens=totals["cached_tokens"],
        cached_cost_usd=cached,
        uncached_cost_usd=uncached,
        tokens_without_price=without_price,
        coverage=coverage_of(totals, lost=lost),
    )


def _as_plain_input(book: PriceBook, group: Mapping[str, Any]) -> Decimal | None:
    """The cost of a group's cached tokens as uncached input; `None` if its sheet has no price."""
    whole = group["above_input_tokens"] + len(_KINDS)
    one_each = TokenVector(input_tokens=whole, audio_input_tokens=1, image_input_tokens=1)
    bill = book.bill(group["price_id"], one_each)
    if bill is None:
        return None
    prices = {line.kind: line for line in bill[1]}
    total = Decimal(0)
    for kind, name in _KINDS.items():
        tokens = group[f"{kind}_tokens"]
        if not tokens:
            continue
        if name not in prices:
            return None
        line = prices[name]
        cost = MONEY.divide(MONEY.multiply(line.price_usd, Decimal(tokens)), Decimal(line.per))
        total = MONEY.add(total, cost)
    return total
