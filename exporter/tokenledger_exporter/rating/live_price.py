"""The price of a call while the app runs: the same arithmetic as for its row, without storing it.

`tokenledger.meter` uses it. It stores nothing and needs no database.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, cast

from tokenledger_exporter.domain.span_record import SpanRecord
from tokenledger_exporter.pricing.price_row import MONEY
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_semconv.attributes import SCOPE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenledger_exporter.domain.span_record import AttributeValue, SpoolHeader
    from tokenledger_exporter.pricing.book import PriceBook


def price_of(
    attributes: Mapping[str, object],
    start_ns: int,
    *,
    failed: bool,
    header: SpoolHeader,
    prices_of: Callable[[str], PriceBook],
) -> Decimal | None:
    """The cost in US dollars of a call by our own emitters; `None` if its row would have no cost.

    Args:
        attributes: the attributes of its span.
        start_ns: when it began, in nanoseconds since 1970.
        failed: whether it failed.
        header: the header of its ledger.
        prices_of: returns a provider's price book.
    """
    record = SpanRecord(
        trace_id=bytes(16),
        span_id=0,
        parent_span_id=0,
        start_ns=start_ns,
        end_ns=start_ns,
        scope=SCOPE_PREFIX + "live_price",
        failed=failed,
        attributes=cast("dict[str, AttributeValue]", dict(attributes)),
        resource={},
    )
    costs = [row.cost_usd for row in build_rows(record, header, prices_of)]
    known = [cost for cost in costs if cost is not None]
    if not costs or len(known) < len(costs):
        return None
    with localcontext(MONEY):
        return sum(known, start=Decimal(0))
