"""Prices the user says: contracts, models of their own, discounts on the list.

Every price is dated. What was said before is never changed: a new sheet holds from its first day
on, and of two that hold on one day the last said does.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.pricing.patterns import search
from tokenledger_exporter.pricing.price_row import DISCOUNT, LISTED, MONEY, PriceRow
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import time
    from decimal import Decimal

    import psycopg

_SQL: Final = statements("prices")

# What a provider makes of a model's name when it answers: `-2024-08-06`, `-latest`, `@20250929`.
_DATED: Final = r"(?:[-:]latest|[-@]20\d{2}-?\d{2}-?\d{2})?(?:-v\d+(?::\d+)?)?"
_PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Rate:
    """One kind's price: `usd` for `per` units, in calls of more than so many input tokens."""

    kind: str
    usd: Decimal
    per: int
    above_input_tokens: int = 0


@dataclass(frozen=True, slots=True)
class OwnSheet:
    """What one model costs from a day on, as the user says it; fields as in `PriceRow`."""

    provider: str
    model: str
    pattern: str
    tier: str
    rates: tuple[Rate, ...]
    valid_from: date | None
    source: str
    valid_to: date | None = None
    match_order: int = 0
    daily_from: time | None = None
    daily_to: time | None = None

    @property
    def _place(self) -> tuple[object, ...]:
        return (self.pattern, self.tier, self.daily_from, self.daily_to, self.is_discount)

    @property
    def is_discount(self) -> bool:
        """Whether it is the list's price, lowered."""
        return self.source.startswith(DISCOUNT)

    def is_beside(self, other: OwnSheet) -> bool:
        """Whether both say what the same model costs, on whatever days."""
        return self._place == other._place

    def overlaps(self, other: OwnSheet) -> bool:
        """Whether both hold on some day."""
        return _before(self.valid_from, other.valid_to) and _before(other.valid_from, self.valid_to)


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one sheet; `is_new` is False where the book said so already."""

    price_id: str
    is_new: bool


def model_pattern(model: str) -> str:
    """The pattern of a model's name, its dated and `-latest` spellings included."""
    return f"^{re.escape(model.lower())}{_DATED}$"


def check_source(source: str) -> None:
    """Refuse a source that reads like the list's.

    Raises:
        UsageError: it does.
    """
    if source.startswith((LISTED, DISCOUNT)):
        raise InvalidRequestError(
            f"a source may not begin with {LISTED.strip()!r} or {DISCOUNT.strip()!r}: those are "
            "prices of the list; name the contract instead"
        )


def add_sheets(connection: psycopg.Connection[Any], sheets: Sequence[OwnSheet]) -> list[Added]:
    """Add sheets to the connected ledger, all of them or none."""
    with connection.transaction():
        connection.execute(_SQL["book_lock"])
        known = {
            provider: _known(connection, provider)
            for provider in sorted({sheet.provider for sheet in sheets})
        }
        # The latest first, so that each ends where the next of its model begins.
        latest_first = sorted(sheets, key=lambda s: str(s.valid_from or ""), reverse=True)
        done = [_add(connection, known[sheet.provider], sheet) for sheet in latest_first]
    return done[::-1]


def discounted(
    connection: psycopg.Connection[Any], provider: str, percent: Decimal, start: date
) -> list[OwnSheet]:
    """What the list asks at a provider from a day on, lowered; each sheet names the listed one.

    Args:
        connection: the ledger.
        provider: who gives the discount.
        percent: how much of the price is taken off, 0 to 100.
        start: first UTC day.

    Raises:
        UsageError: the list has no prices of that provider.
    """
    factor = MONEY.divide(_PERCENT - percent, _PERCENT)
    cursor = connection.cursor(row_factory=class_row(PriceRow))
    listed = _sheets(cursor.execute(_SQL["listed_rows"], {"provider": provider}))
    if not listed:
        raise InvalidRequestError(
            f"the list has no price of {provider!r} to take a discount off: "
            "'tokenledger prices list' names the providers it has"
        )
    return [
        replace(
            sheet,
            rates=tuple(
                replace(rate, usd=MONEY.multiply(rate.usd, factor)) for rate in sheet.rates
            ),
            valid_from=max(start, sheet.valid_from or start),
            source=f"{DISCOUNT}{plain_usd(percent)} % off {price_id} ({sheet.source})",
        )
        for price_id, sheet in listed.items()
        if _before(start, sheet.valid_to)
    ]


def _known(connection: psycopg.Connection[Any], provider: str) -> list[tuple[str, OwnSheet]]:
    """The user's own sheets at a provider, the last said first."""
    cursor = connection.cursor(row_factory=class_row(PriceRow))
    return list(_sheets(cursor.execute(_SQL["own_rows"], {"provider": provider})).items())


def _sheets(rows: Iterable[PriceRow]) -> dict[str, OwnSheet]:
    grouped: dict[str, list[PriceRow]] = {}
    for row in rows:
        grouped.setdefault(row.price_id, []).append(row)
    return {
        price_id: OwnSheet(
            provider=first.provider,
            model=first.model,
            pattern=first.model_pattern,
            tier=first.tier,
            rates=tuple(Rate(r.kind, r.usd, r.per, r.above_input_tokens) for r in group),
            valid_from=first.valid_from,
            valid_to=first.valid_to,
            source=first.source,
            match_order=first.match_order,
            daily_from=first.daily_from,
            daily_to=first.daily_to,
        )
        for price_id, group in grouped.items()
        for first in group[:1]
    }


def _add(
    connection: psycopg.Connection[Any], known: list[tuple[str, OwnSheet]], given: OwnSheet
) -> Added:
    rates = sorted(given.rates, key=lambda rate: (rate.kind, rate.above_input_tokens))
    beside = [other for _, other in known if other.is_beside(given)]
    later = [
        other.valid_from
        for other in beside
        if other.valid_from is not None and other.valid_from > (given.valid_from or date.min)
    ]
    ends = [day for day in (given.valid_to, *later) if day is not None]
    sheet = replace(given, rates=tuple(rates), valid_to=min(ends, default=None))
    holding_id, holding = next((k for k in known if _covers(k[1], sheet)), ("", None))
    if holding == sheet:
        return Added(holding_id, is_new=False)
    # The same words said again after others must hold again, so what they follow is in the id.
    digest = hashlib.sha256(repr((sheet, len(beside))).encode()).hexdigest()[:8]
    price_id = f"{sheet.provider}/{sheet.model}/{sheet.tier}/own-{digest}"
    with connection.cursor() as cursor:
        cursor.executemany(_SQL["add_own"], [_values(price_id, sheet, rate) for rate in rates])
    known.insert(0, (price_id, sheet))
    return Added(price_id, is_new=True)


def _covers(other: OwnSheet, sheet: OwnSheet) -> bool:
    """Whether another sheet prices the same model and tier on a day of this one."""
    same = (other.tier, other.is_discount) == (sheet.tier, sheet.is_discount)
    named = other.pattern == sheet.pattern or (
        not sheet.is_discount and search(other.pattern, sheet.model.lower())
    )
    hours = (other.daily_from, other.daily_to) == (sheet.daily_from, sheet.daily_to)
    return same and named and hours and other.overlaps(sheet)


def _values(price_id: str, sheet: OwnSheet, rate: Rate) -> dict[str, object]:
    return {
        "price_id": price_id,
        "kind": rate.kind,
        "above_input_tokens": rate.above_input_tokens,
        "provider": sheet.provider,
        "model": sheet.model,
        "model_pattern": sheet.pattern,
        "match_order": sheet.match_order,
        "tier": sheet.tier,
        "usd": rate.usd,
        "per": rate.per,
        "valid_from": sheet.valid_from,
        "valid_to": sheet.valid_to,
        "daily_from": sheet.daily_from,
        "daily_to": sheet.daily_to,
        "source": sheet.source,
    }


def _before(start: date | None, end: date | None) -> bool:
    return start is None or end is None or start < end
