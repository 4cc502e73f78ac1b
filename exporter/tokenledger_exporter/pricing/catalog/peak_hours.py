"""Peak hours that a price list cannot express: on some days of the week only, and not on holidays.

A list has prices by day and by hour. Here each of its periods is cut where the rule changes, and at
holidays, so that on every day and at every hour exactly one sheet applies. DeepSeek's peak hours
end before 16:00 UTC, so a day of the week in Beijing is the same day in UTC.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise, product
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.pricing.list_corrections import corrections
from tokenledger_exporter.pricing.price_row import MONEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tokenledger_exporter.pricing.list_corrections import PeakHours
    from tokenledger_exporter.pricing.price_row import PriceRow

_EVERY_DAY: Final = "1234567"


def with_peak_hours(rows: Iterable[PriceRow]) -> Iterator[PriceRow]:
    """The rows, with those at peak hours replaced by what the corrections say."""
    usual: defaultdict[tuple[str, str], list[PriceRow]] = defaultdict(list)
    for row in rows:
        peak = _rule(row)
        if peak is None:
            yield row
        elif (row.daily_from, row.daily_to) not in peak.hours:
            yield row
            usual[row.provider, row.model].append(row)
    for off_peak in usual.values():
        peak = _rule(off_peak[0])
        if peak is not None:
            yield from _peak_rows(off_peak, peak)


def _rule(row: PriceRow) -> PeakHours | None:
    return next(
        (
            peak
            for peak in corrections().peak_hours
            if row.provider == peak.provider and row.model in peak.models
        ),
        None,
    )


def _peak_rows(off_peak: list[PriceRow], peak: PeakHours) -> Iterator[PriceRow]:
    """The rows at peak hours, from the rows of the hours before and after."""
    # The list repeats its prices for each of the hours between; one of them is enough.
    first = off_peak[0]
    hours = (first.daily_from, first.daily_to)
    source = f"{first.source}; peak hours {peak.citation}"
    for row in off_peak:
        if (row.daily_from, row.daily_to) == hours:
            for (start, end), (opens, closes) in product(_pieces(row, peak), peak.hours):
                piece = replace(
                    row,
                    valid_from=start,
                    valid_to=end,
                    daily_from=opens,
                    daily_to=closes,
                    source=source,
                )
                yield from _priced(piece, peak)


def _priced(piece: PriceRow, peak: PeakHours) -> Iterator[PriceRow]:
    for weekdays, factor in _by_weekday(piece.valid_from, peak):
        usd = MONEY.multiply(piece.usd, factor)
        priced = replace(piece, usd=usd, weekdays=weekdays)
        yield replace(priced, price_id=_price_id(priced, factor))


def _pieces(row: PriceRow, peak: PeakHours) -> Iterator[tuple[date | None, date | None]]:
    """The row's days, cut where the rule changes."""
    cuts = {peak.since, peak.weekdays_from, *(day for period in peak.holidays for day in period)}
    start, end = row.valid_from or date.min, row.valid_to or date.max
    days = sorted({start, end, *(day for day in cuts if start < day < end)})
    for first, after in pairwise(days):
        yield (
            None if first == date.min else first,
            None if after == date.max else after,
        )


def _by_weekday(start: date | None, peak: PeakHours) -> Iterator[tuple[str | None, Decimal]]:
    """The days of the week and the factor of a piece that begins on a day."""
    usual, raised = Decimal(1), peak.factor
    if start is None or start < peak.since:
        yield None, usual
    elif start < peak.weekdays_from:
        yield None, raised
    elif any(first <= start < after for first, after in peak.holidays):
        yield None, usual
    else:
        yield peak.weekdays, raised
        yield "".join(day for day in _EVERY_DAY if day not in peak.weekdays), usual


def _price_id(row: PriceRow, factor: Decimal) -> str:
    facts = (row.price_id, row.valid_from, row.valid_to, row.daily_from, row.weekdays, factor)
    digest = hashlib.sha256(repr(tuple(map(str, facts))).encode()).hexdigest()[:8]
    return f"{row.price_id.rpartition('/')[0]}/{digest}"
