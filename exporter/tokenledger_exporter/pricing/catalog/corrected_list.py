"""Applies the corrections to the price list.

A correction adds rows in front of the list's, or replaces those it corrects; `prices diff` shows
both.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.pricing.catalog.peak_hours import with_peak_hours
from tokenledger_exporter.pricing.list_corrections import corrections
from tokenledger_exporter.pricing.price_row import MONEY, PriceRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from tokenledger_exporter.pricing.list_corrections import (
        CacheReads,
        CorrectedNames,
        CorrectedPrices,
        OtherKinds,
    )

# Before every pattern of the list.
_FIRST: Final = -1
_MILLION: Final = 1_000_000
_ROUTED: Final = "huggingface_"
_ROUTER: Final = "huggingface"


def corrected(listed: Iterable[PriceRow], list_source: str) -> Iterator[PriceRow]:
    """The rows of a list with every correction.

    Args:
        listed: the rows of the list, those of one price sheet one after another.
        list_source: the source of rows that only a correction has.
    """
    rows = [row for sheet in _sheets(listed) for row in _completed(sheet)]
    rows = list(with_peak_hours(rows))
    yield from rows
    for row in rows:
        yield from _renamed(row)
        yield from _routed(row)
    for prices in corrections().prices:
        yield from _added(prices, list_source)


def _sheets(rows: Iterable[PriceRow]) -> Iterator[list[PriceRow]]:
    # A list may repeat a sheet's id only if its content is the same.
    for _, group in groupby(rows, lambda row: (row.price_id, row.match_order)):
        yield list(group)


def _completed(sheet: list[PriceRow]) -> list[PriceRow]:
    """The sheet with the prices that the list leaves out."""
    first, kinds = sheet[0], {row.kind: row for row in sheet if not row.above_input_tokens}
    for reads in corrections().cache_reads:
        if _applies(reads, first) and "input" in kinds and "cache_read" not in kinds:
            added = [
                replace(row, kind="cache_read", usd=MONEY.multiply(row.usd, reads.factor))
                for row in sheet
                if row.kind == "input"
            ]
            return _with_rows(sheet, added, f"{reads.factor}", f"cached input {reads.citation}")
    for others in corrections().other_kinds:
        if _applies(others, first) and kinds.keys().isdisjoint(others.kinds):
            added = [
                replace(first, kind=kind, above_input_tokens=0, usd=usd, per=_MILLION)
                for kind, usd in others.kinds.items()
            ]
            names = ", ".join(others.kinds)
            return _with_rows(sheet, added, f"{others.kinds}", f"{names} {others.citation}")
    return sheet


def _with_rows(
    sheet: list[PriceRow], added: list[PriceRow], content: str, source: str
) -> list[PriceRow]:
    """The sheet with more rows, under an id of its own: a stored one must not change its meaning.

    Args:
        sheet: the rows of the list.
        added: the rows that the list leaves out.
        content: what distinguishes this correction from another of the sheet.
        source: where the added prices are written.
    """
    first = sheet[0]
    digest = hashlib.sha256(f"{first.price_id} {content}".encode()).hexdigest()[:8]
    price_id = f"{first.price_id.rpartition('/')[0]}/{digest}"
    source = f"{first.source}; {source}"
    return [replace(row, price_id=price_id, source=source) for row in (*sheet, *added)]


def _applies(correction: CacheReads | OtherKinds, row: PriceRow) -> bool:
    if row.provider != correction.provider:
        return False
    return re.search(correction.models, row.model) is not None


def _renamed(row: PriceRow) -> Iterator[PriceRow]:
    for correction in corrections().names:
        if (row.provider, row.model) == (correction.provider, correction.priced_as):
            yield from _copied(row, correction)


def _copied(row: PriceRow, correction: CorrectedNames) -> Iterator[PriceRow]:
    since = correction.since
    if row.valid_to is not None and since is not None and row.valid_to <= since:
        return
    for name in correction.names:
        yield replace(
            row,
            price_id=f"{row.provider}/{name}/{row.tier}/{row.price_id.rpartition('/')[2]}",
            model=name,
            model_pattern=f"^{re.escape(name)}$",
            match_order=_FIRST,
            valid_from=_later(since, row.valid_from),
            source=f"{row.source}; {name} is {row.model}, {correction.citation}",
        )


def _later(one: date | None, other: date | None) -> date | None:
    return max((day for day in (one, other) if day is not None), default=None)


def _routed(row: PriceRow) -> Iterator[PriceRow]:
    """The row for Hugging Face's router, where a suffix of the name is the provider that answers.

    Source: huggingface.co/docs/inference-providers, "Selecting a provider", read 2026-11-28.
    """
    if row.provider.startswith(_ROUTED) and "$" in row.model_pattern:
        suffix = row.provider.removeprefix(_ROUTED)
        price_id = row.price_id.replace(_ROUTED, f"{_ROUTER}/", 1)
        pattern = row.model_pattern.replace("$", f":{re.escape(suffix)}$")
        model = f"{row.model}:{suffix}"
        yield replace(row, price_id=price_id, provider=_ROUTER, model=model, model_pattern=pattern)


def _added(prices: CorrectedPrices, list_source: str) -> Iterator[PriceRow]:
    for tier, rates in prices.tiers.items():
        identity = repr((prices.pattern, str(prices.since), sorted(rates.items())))
        digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
        for kind, usd in rates.items():
            yield PriceRow(
                price_id=f"{prices.provider}/{prices.model}/{tier}/{digest}",
                kind=kind,
                above_input_tokens=0,
                provider=prices.provider,
                model=prices.model,
                model_pattern=prices.pattern,
                match_order=_FIRST,
                tier=tier,
                usd=usd,
                per=_MILLION,
                valid_from=prices.since,
                valid_to=None,
                daily_from=None,
                daily_to=None,
                source=f"{list_source}; not on the list, {prices.citation}",
            )
