"""Results of queries as JSON documents: money as strings, times in UTC."""

from __future__ import annotations

from datetime import date, datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from tokenledger_exporter.pricing.book import plain_usd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.domain.coverage import Coverage
    from tokenledger_exporter.queries.results import CostSummary

Document = dict[str, Any]


def plain(value: object) -> object:
    """A value of a row as JSON has it."""
    if isinstance(value, Decimal):
        return plain_usd(value)
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat()
    if isinstance(value, date | UUID):
        return str(value)
    if isinstance(value, dict):
        items = cast("dict[str, object]", value)
        return {key: plain(inner) for key, inner in items.items()}
    return value


def record(row: Mapping[str, Any]) -> Document:
    """A row of columns."""
    return {name: plain(value) for name, value in row.items()}


def coverage_document(coverage: Coverage) -> Document:
    """How many calls have which cost status, in numbers and as a sentence."""
    return {
        "calls": coverage.calls,
        "priced": coverage.priced,
        "reported": coverage.reported,
        "partial": coverage.partial,
        "estimated": coverage.estimated,
        "unpriced": coverage.unpriced,
        "unmeasured": coverage.unmeasured,
        "lost": coverage.lost,
        "not_settled": coverage.not_settled,
        "cost_differs": coverage.cost_differs,
        "sentence": coverage.sentence,
    }


def known_cost(summary: CostSummary) -> str | None:
    """The cost of a summary; `None` if it has calls and the cost of none is known."""
    return None if summary.coverage.knows_no_cost else plain_usd(summary.total_cost)


def known_average(summary: CostSummary) -> str | None:
    """The cost of an average call, to ten decimals; `None` if no cost is known."""
    if summary.coverage.knows_no_cost:
        return None
    return plain_usd(round(summary.avg_cost_per_request, 10))
