"""Custom prices: contracts, prices of private models, discounts on list prices.

Every price is dated. An earlier sheet is never changed: a new sheet applies from its first day on,
and if two sheets apply on one day, the one that was added last wins.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
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

# What providers append to a model name in responses: `-2024-08-06`, `-latest`, `@20250929`.
_DATED: Final = r"(?:[-:]latest|[-@]20\d{2}-?\d{2}-?\d{2})?(?:-v\d+(?::\d+)?)?"
_PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one kind: `usd` for `per` units, in calls above a number of input tokens."""

    kind: str
    usd: Decimal
    per: int
    above_input_tokens: int = 0


@dataclass(frozen=True, slots=True)
class CustomSheet:
    """A custom price sheet of one model from a day on; fields as in `PriceRow`."""

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
    weekdays: str | None = field(default=None, repr=False)

    @property
    def _hours(self) -> tuple[object, ...]:
        return (self.daily_from, self.daily_to, self.weekdays)

    @property
    def _slot(self) -> tuple[object, ...]:
        return (self.pattern, self.tier, self._hours, self.is_discount)

    @property
    def is_discount(self) -> bool:
        """Whether it is a list price with a discount."""
        return self.source.startswith(DISCOUNT)

    def has_same_slot(self, other: CustomSheet) -> bool:
        """Whether both price the same models, tier and hours, on any days."""
        return self._slot == other._slot

    def has_same_hours(self, other: CustomSheet) -> bool:
        """Whether both apply at the same hours of the same days of the week."""
        return self._hours == other._hours

    def overlaps(self, other: CustomSheet) -> bool:
        """Whether there is a day on which both apply."""
        return _before(self.valid_from, other.valid_to) and _before(other.valid_from, self.valid_to)


@dataclass(frozen=True, slots=True)
class Added:
    """The outcome for one sheet; `is_new` is False if the book already had these prices."""

    price_id: str
    is_new: bool


def model_pattern(model: str) -> str:
    """The pattern of a model name, including its dated and `-latest` spellings."""
    return f"^{re.escape(model.lower())}{_DATED}$"


def check_source(source: str) -> None:
    """Refuse a source that looks like that of a list price.

    Raises:
        InvalidRequestError: it begins with a reserved prefix.
    """
    if source.startswith((LISTED, DISCOUNT)):
        raise InvalidRequestError(
            f"a source must not begin with {LISTED.strip()!r} or {DISCOUNT.strip()!r}, which mark "
            "list prices; name the contract instead"
        )


def add_sheets(connection: psycopg.Connection[Any], sheets: Sequence[CustomSheet]) -> list[Added]:
    """Add sheets to the connected ledger, all or none."""
    with connection.transaction():
        connection.execute(_SQL["book_lock"])
        known = {
            provider: _known(connection, provider)
            for provider in sorted({sheet.provider for sheet in sheets})
        }
        # The latest first, so that each sheet ends when the next one of its model begins.
        latest_first = sorted(sheets, key=lambda s: str(s.valid_from or ""), reverse=True)
        done = [_add(connection, known[sheet.provider], sheet) for sheet in latest_first]
    return done[::-1]


def discounted(
    connection: psycopg.Connection[Any], provider: str, percent: Decimal, start: date
) -> list[CustomSheet]:
    """A provider's list prices with a discount, from a day on; each sheet names its list sheet.

    Args:
        connection: the ledger.
        provider: the provider that gives the discount.
        percent: discount in percent, 0 to 100.
        start: first UTC day.

    Raises:
        InvalidRequestError: there are no list prices of that provider.
    """
    factor = MONEY.divide(_PERCENT - percent, _PERCENT)
    cursor = connection.cursor(row_factory=class_row(PriceRow))
    listed = _sheets(cursor.execute(_SQL["listed_rows"], {"provider": provider}))
    if not listed:
        raise InvalidRequestError(
            f"provider {provider!r} has no list prices to discount; 'tokenledger prices list' "
            "shows the providers that have"
        )
    return [
        replace(
            sheet,
            rates=tuple(
                replace(rate, usd=MONEY.multiply(rate.usd, factor)) for rate in sheet.rates
            ),
            valid_from=max(start, sheet.valid_from or start),
            source=f"{DISCOUNT}{plain_usd(percent)}% off {price_id} ({sheet.source})",
        )
        for price_id, sheet in listed.items()
        if _before(start, sheet.valid_to)
    ]


def _known(connection: psycopg.Connection[Any], provider: str) -> list[tuple[str, CustomSheet]]:
    """The custom sheets of a provider, the last added first."""
    cursor = connection.cursor(row_factory=class_row(PriceRow))
    return list(_sheets(cursor.execute(_SQL["custom_rows"], {"provider": provider})).items())


def _sheets(rows: Iterable[PriceRow]) -> dict[str, CustomSheet]:
    grouped: dict[str, list[PriceRow]] = {}
    for row in rows:
        grouped.setdefault(row.price_id, []).append(row)
    return {
        price_id: CustomSheet(
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
            weekdays=first.weekdays,
        )
        for price_id, group in grouped.items()
        for first in group[:1]
    }


def _add(
    connection: psycopg.Connection[Any], known: list[tuple[str, CustomSheet]], added: CustomSheet
) -> Added:
    rates = sorted(added.rates, key=lambda rate: (rate.kind, rate.above_input_tokens))
    same_slot = [other for _, other in known if other.has_same_slot(added)]
    later = [
        other.valid_from
        for other in same_slot
        if other.valid_from is not None and other.valid_from > (added.valid_from or date.min)
    ]
    ends = [day for day in (added.valid_to, *later) if day is not None]
    sheet = replace(added, rates=tuple(rates), valid_to=min(ends, default=None))
    current_id, current = next((k for k in known if _covers(k[1], sheet)), ("", None))
    if current == sheet:
        return Added(current_id, is_new=False)
    # Prices that are set again after others must apply again, so the id includes their number.
    identity = (sheet, len(same_slot), *filter(None, (sheet.weekdays,)))
    digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:8]
    price_id = f"{sheet.provider}/{sheet.model}/{sheet.tier}/custom-{digest}"
    with connection.cursor() as cursor:
        cursor.executemany(_SQL["add_custom"], [_values(price_id, sheet, rate) for rate in rates])
    known.insert(0, (price_id, sheet))
    return Added(price_id, is_new=True)


def _covers(other: CustomSheet, sheet: CustomSheet) -> bool:
    """Whether another sheet prices the same model and tier on a day of this one."""
    same = (other.tier, other.is_discount) == (sheet.tier, sheet.is_discount)
    named = other.pattern == sheet.pattern or (
        not sheet.is_discount and search(other.pattern, sheet.model.lower())
    )
    return same and named and other.has_same_hours(sheet) and other.overlaps(sheet)


def _values(price_id: str, sheet: CustomSheet, rate: Rate) -> dict[str, object]:
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
        "weekdays": sheet.weekdays,
        "source": sheet.source,
    }


def _before(start: date | None, end: date | None) -> bool:
    return start is None or end is None or start < end
