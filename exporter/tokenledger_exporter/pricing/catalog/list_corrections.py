"""Corrections of the price list: names that the list prices as another model, or not at all.

They are in `list_corrections.json`, each with its source and the day it was checked. A correction
copies the prices of the model that a name means, from the day it is known to mean it. `prices diff`
shows them until `prices update` has added them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date  # noqa: TC003 - msgspec reads the annotations
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenledger_exporter.pricing.price_row import PriceRow

_FILE: Final = Path(__file__).with_name("list_corrections.json")
# Before every pattern of the list.
_FIRST: Final = -1


class CorrectedName(msgspec.Struct, frozen=True, rename={"since": "from"}):
    """A model name, and the model of the list whose prices it has.

    Args:
        provider: price-book name of the provider.
        name: the name as calls have it, in lower case.
        priced_as: the list's id of the model it means.
        since: first day it means that model.
        source: where that is written.
        checked: the day the source was read.
    """

    provider: str
    name: str
    priced_as: str
    since: date
    source: str
    checked: date


class _Corrections(msgspec.Struct, frozen=True):
    names: tuple[CorrectedName, ...]


@cache
def corrected_names() -> tuple[CorrectedName, ...]:
    """Every correction of a name."""
    return msgspec.json.decode(_FILE.read_bytes(), type=_Corrections).names


def corrected_rows(listed: Sequence[PriceRow]) -> Iterator[PriceRow]:
    """The rows that the corrections add to a list."""
    for correction in corrected_names():
        for row in listed:
            if (row.provider, row.model) == (correction.provider, correction.priced_as):
                yield from _copied(row, correction)


def _copied(row: PriceRow, correction: CorrectedName) -> Iterator[PriceRow]:
    if row.valid_to is not None and row.valid_to <= correction.since:
        return
    name = correction.name
    yield replace(
        row,
        price_id=f"{row.provider}/{name}/{row.tier}/{row.price_id.rpartition('/')[2]}",
        model=name,
        model_pattern=f"^{re.escape(name)}$",
        match_order=_FIRST,
        valid_from=max(correction.since, row.valid_from or correction.since),
        source=f"{row.source}; {name} is {row.model}, {correction.source} {correction.checked}",
    )
