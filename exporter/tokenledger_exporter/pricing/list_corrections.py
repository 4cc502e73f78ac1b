"""Corrections of the price list, as they are written in `catalog/list_corrections.json`.

Each has its source and the day it was checked. `catalog.corrected_list` and `catalog.peak_hours`
apply those that change prices: the price book holds the corrected prices, and `prices diff` shows
them until `prices update` has added them. A doubt changes no price: it makes a row `partial`, and
its note gives the reason.
"""

from __future__ import annotations

import re
from datetime import date, time  # noqa: TC003 - msgspec reads the annotations
from decimal import Decimal  # noqa: TC003 - msgspec reads the annotations
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

_FILE: Final = Path(__file__).parent / "catalog" / "list_corrections.json"


class _Correction(msgspec.Struct, frozen=True, kw_only=True):
    """What every correction has.

    Args:
        provider: price-book name of the provider.
        source: where it is written.
        checked: the day the source was read.
    """

    provider: str
    source: str
    checked: date

    @property
    def citation(self) -> str:
        """The source and its day, for the source of a price."""
        return f"{self.source} {self.checked}"


class CorrectedNames(_Correction, frozen=True, kw_only=True, rename={"since": "from"}):
    """Names that mean a model of the list.

    Args:
        names: the names as calls have them, in lower case.
        priced_as: the list's id of the model they mean.
        since: first day they mean that model; `None` means always.
    """

    names: tuple[str, ...]
    priced_as: str
    since: date | None = None


class CorrectedPrices(_Correction, frozen=True, kw_only=True, rename={"since": "from"}):
    """Prices of a model that the list does not have.

    Args:
        model: the model's id.
        pattern: regular expression for its names.
        tiers: by tier and kind, US dollars per million tokens.
        since: first day of the prices; `None` means always.
    """

    model: str
    pattern: str
    tiers: dict[str, dict[str, Decimal]]
    since: date | None = None


class CacheReads(_Correction, frozen=True, kw_only=True):
    """What cached input costs at models for which the list has no price of it.

    Args:
        models: regular expression for the list's model ids.
        factor: price of cached input, as a part of the price of input.
    """

    models: str
    factor: Decimal


class OtherKinds(_Correction, frozen=True, kw_only=True):
    """Prices of kinds of tokens that the list leaves out of a model that it has.

    Args:
        models: regular expression for the list's model ids.
        kinds: by kind, US dollars per million tokens.
    """

    models: str
    kinds: dict[str, Decimal]


class PeakHours(_Correction, frozen=True, kw_only=True, rename={"since": "from"}):
    """Hours of the day at which models cost more, on some days only.

    Args:
        models: the list's model ids.
        hours: starts and ends, UTC.
        factor: price at these hours, as a multiple of the price at other hours.
        weekdays: days of the week that have these hours, as in `PriceRow.weekdays`.
        since: first day with such hours, on all days of the week.
        weekdays_from: first day since which only `weekdays` have them.
        holidays: periods without them, each with its first day and the day after its last.
    """

    models: tuple[str, ...]
    hours: tuple[tuple[time, time], ...]
    factor: Decimal
    weekdays: str
    since: date
    weekdays_from: date
    holidays: tuple[tuple[date, date], ...]


class Doubt(_Correction, frozen=True, kw_only=True):
    """Names for which the list's price may not be the right one.

    Args:
        names: regular expression, searched in the lower-case name.
        reason: why, for `cost_note`.
    """

    names: str
    reason: str


class Corrections(msgspec.Struct, frozen=True):
    """The content of the file."""

    names: tuple[CorrectedNames, ...]
    prices: tuple[CorrectedPrices, ...]
    cache_reads: tuple[CacheReads, ...]
    other_kinds: tuple[OtherKinds, ...]
    peak_hours: tuple[PeakHours, ...]
    doubts: tuple[Doubt, ...]


@cache
def corrections() -> Corrections:
    """Every correction."""
    return msgspec.json.decode(_FILE.read_bytes(), type=Corrections)


def doubt_about(provider: str, name: str) -> str:
    """Why a list price may not be the price of a name; "" if nothing says so.

    Args:
        provider: price-book name of the provider.
        name: the name as the call has it.
    """
    reasons = (
        doubt.reason
        for doubt in corrections().doubts
        if doubt.provider == provider and re.search(doubt.names, name.lower())
    )
    return next(reasons, "")
