"""Fills the price book from the installed `genai-prices` package; needs no network.

genai-prices resolves what holds on a day and a tier; here each resolved answer becomes a dated
sheet. A day's sheet is never changed by a later import: another content is another `price_id`.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date, datetime, time, timezone
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, cast

from genai_prices.data import providers as package_providers
from genai_prices.types import (
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from psycopg.sql import Literal

from tokenledger_exporter.prices import STANDARD_TIER, PriceRow
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

    import psycopg
    from genai_prices.types import (
        ClauseAnd,
        MatchLogic,
        ModelInfo,
        ModelPrice,
    )

_SQL: Final = statements("prices")

SCRIPT_PROVIDERS: Final = ("openai", "anthropic")
"""Providers whose prices `db sql` prints; the whole book is too long for a SQL editor."""

# genai-prices' unit -> (our kind, units it is for). Units that no span counts (hours, pages,
# characters) are left out: a call priced only by them is unpriced, not free.
_KINDS: Final[Mapping[str, tuple[str, int]]] = {
    "input_mtok": ("input", 1_000_000),
    "cache_read_mtok": ("cache_read", 1_000_000),
    "cache_write_mtok": ("cache_write", 1_000_000),
    "cache_write_1h_mtok": ("cache_write_1h", 1_000_000),
    "input_audio_mtok": ("input_audio", 1_000_000),
    "input_image_mtok": ("input_image", 1_000_000),
    "output_mtok": ("output", 1_000_000),
    "output_audio_mtok": ("output_audio", 1_000_000),
    "output_image_mtok": ("output_image", 1_000_000),
    "web_searches_kcount": ("web_search", 1_000),
    "storage_searches_kcount": ("file_search", 1_000),
    "code_executions_kcount": ("code_execution", 1_000),
    "requests_kcount": ("request", 1_000),
}

# What a request says of itself -> our tier name.
_TIERS: Final[Mapping[str, Mapping[str, str]]] = {
    STANDARD_TIER: {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}

# Models a provider resells are tried after its own.
_RESOLD_ORDER: Final = 100_000
_BEGINNING: Final = date(2020, 1, 1)


def package_rows() -> Iterator[PriceRow]:
    """Every price of the installed package, as rows of the price book."""
    by_id = {provider.id: provider for provider in package_providers}
    for provider in package_providers:
        for order, model in enumerate(provider.models):
            yield from _model_rows(provider.id, model, order)
        for position, resold in enumerate(provider.fallback_model_providers or (), start=1):
            for order, model in enumerate(by_id[resold].models if resold in by_id else ()):
                yield from _model_rows(provider.id, model, position * _RESOLD_ORDER + order)


def import_package_prices(connection: psycopg.Connection[Any]) -> int:
    """Add the package's prices to the connected ledger; returns the rows that were new."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(_SQL["stage"])
        with cursor.copy(_SQL["copy_staged"]) as copy:
            for row in package_rows():
                copy.write_row(_values(row))
        cursor.execute(_SQL["refresh_known"])
        cursor.execute(_SQL["outdate_unlisted"], {})
        return cursor.execute(_SQL["add_staged"]).rowcount


def script() -> str:
    """INSERT statements for the prices of `SCRIPT_PROVIDERS`."""
    rows = [row for row in package_rows() if row.provider in SCRIPT_PROVIDERS]
    values = (
        "(" + ", ".join(Literal(value).as_string() for value in _values(row)) + ")" for row in rows
    )
    head = _SQL["insert_rows"].split("\n", 1)[1].strip()
    return head + "\n" + ",\n".join(values) + "\nON CONFLICT DO NOTHING;"


def _values(row: PriceRow) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in PriceRow.__slots__)


def _model_rows(provider: str, model: ModelInfo, order: int) -> Iterator[PriceRow]:
    pattern = _pattern(model.match)
    standard: dict[tuple[date | None, time | None], object] = {}
    for tier, context in _TIERS.items():
        for start, end, opens, closes in _periods(model):
            prices = _resolve(model, start or _BEGINNING, opens or time(), context)
            rates = list(_rates(prices))
            # A tier priced like standard needs no sheet of its own.
            if tier == STANDARD_TIER:
                standard[start, opens] = rates
            elif standard[start, opens] == rates:
                continue
            identity = repr((pattern, str(start), str(end), str(opens), str(closes), rates))
            digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
            for kind, above, usd, per in rates:
                yield PriceRow(
                    price_id=f"{provider}/{model.id}/{tier}/{digest}",
                    kind=kind,
                    above_input_tokens=above,
                    provider=provider,
                    model=model.id,
                    model_pattern=pattern,
                    match_order=order,
                    tier=tier,
                    usd=usd,
                    per=per,
                    valid_from=start,
                    valid_to=end,
                    daily_from=opens,
                    daily_to=closes,
                    source=_source(),
                )


@cache
def _source() -> str:
    return f"genai-prices {version('genai-prices')}"


def _periods(
    model: ModelInfo,
) -> Iterator[tuple[date | None, date | None, time | None, time | None]]:
    """Stretches in which a model's prices do not change: days, and hours of the day."""
    constraints = [constraint for _, constraint in _constraints(model)]
    starts = sorted({c.start_date for c in constraints if isinstance(c, StartDateConstraint)})
    clocks = sorted(
        {
            clock.replace(tzinfo=None)
            for c in constraints
            if isinstance(c, TimeOfDateConstraint)
            for clock in (c.start_time, c.end_time)
        }
    )
    hours: list[tuple[time | None, time | None]] = (
        list(zip(clocks, clocks[1:] + clocks[:1], strict=True)) if clocks else [(None, None)]
    )
    for start, end in zip([None, *starts], [*starts, None], strict=True):
        for opens, closes in hours:
            yield start, end, opens, closes


def _constraints(model: ModelInfo) -> Iterator[tuple[ModelPrice, object]]:
    if isinstance(model.prices, list):
        for conditional in model.prices:
            yield conditional.prices, conditional.constraint
    for variant in model.price_variants or ():
        yield variant.prices, variant.constraint


def _resolve(model: ModelInfo, day: date, clock: time, context: Mapping[str, str]) -> ModelPrice:
    moment = datetime.combine(day, clock, timezone.utc)
    return model.get_prices(moment, context)


def _rates(prices: ModelPrice) -> Iterator[tuple[str, int, Decimal, int]]:
    for unit, price in sorted(cast("dict[str, object]", prices.__dict__).items()):
        if price is None or unit not in _KINDS:
            continue
        kind, per = _KINDS[unit]
        if isinstance(price, TieredPrices):
            yield kind, 0, price.base, per
            for band in price.tiers:
                yield kind, band.start, band.price, per
        else:
            yield kind, 0, cast("Decimal", price), per


def _pattern(match: MatchLogic) -> str:
    """One regular expression for genai-prices' match clauses, over the lower-case name."""
    if isinstance(match, ClauseEquals):
        return f"^{re.escape(match.equals.lower())}$"
    if isinstance(match, ClauseStartsWith):
        return f"^{re.escape(match.starts_with.lower())}"
    if isinstance(match, ClauseEndsWith):
        return f"{re.escape(match.ends_with.lower())}$"
    if isinstance(match, ClauseContains):
        return re.escape(match.contains.lower())
    if isinstance(match, ClauseRegex):
        return match.regex
    return _combined(match)


def _combined(match: ClauseOr | ClauseAnd) -> str:
    if isinstance(match, ClauseOr):
        return "(?:" + "|".join(_pattern(clause) for clause in match.or_) + ")"
    return "^" + "".join(f"(?=.*(?:{_pattern(clause)}))" for clause in match.and_)
