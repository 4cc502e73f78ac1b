"""Fills the price book from the installed `genai-prices` package; needs no network.

genai-prices resolves the prices of a day and a tier; each result becomes a dated price sheet. A
later import never changes a sheet: other content gets another `price_id`.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date, datetime, time, timezone
from decimal import Decimal
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

from tokenledger_exporter.domain.progress import ignore_progress
from tokenledger_exporter.pricing.book import STANDARD_TIER, tier_at
from tokenledger_exporter.pricing.catalog.corrected_list import corrected
from tokenledger_exporter.pricing.price_row import LISTED, PriceRow
from tokenledger_exporter.sql import fragment, statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg
    from genai_prices.types import (
        ClauseAnd,
        MatchLogic,
        ModelInfo,
        ModelPrice,
    )

    from tokenledger_exporter.domain.progress import OnProgress

    _Rate = tuple[str, int, Decimal, int]
    _Period = tuple[date | None, date | None, time | None, time | None]

_SQL: Final = statements("prices")

SCRIPT_PROVIDERS: Final = ("openai", "anthropic")
"""Providers whose prices `db sql` prints; the whole price book is too long for a SQL editor."""

_RATE_COLUMNS: Final = ("kind", "above_input_tokens", "usd", "per")
_SHEET_COLUMNS: Final = tuple(
    column for column in PriceRow.__slots__ if column not in _RATE_COLUMNS
)
_MILLION: Final = 1_000_000

# genai-prices' unit -> (our kind, number of units). Units that no span counts (pages, messages) are
# left out: a call that only they price is unpriced, not free.
_KINDS: Final[Mapping[str, tuple[str, int]]] = {
    "input_mtok": ("input", _MILLION),
    "cache_read_mtok": ("cache_read", _MILLION),
    "cache_audio_read_mtok": ("cache_read_audio", _MILLION),
    "cache_image_read_mtok": ("cache_read_image", _MILLION),
    "cache_write_mtok": ("cache_write", _MILLION),
    "cache_write_1h_mtok": ("cache_write_1h", _MILLION),
    "input_audio_mtok": ("input_audio", _MILLION),
    "input_image_mtok": ("input_image", _MILLION),
    "input_video_mtok": ("input_video", _MILLION),
    "output_mtok": ("output", _MILLION),
    "output_audio_mtok": ("output_audio", _MILLION),
    "output_image_mtok": ("output_image", _MILLION),
    "output_video_mtok": ("output_video", _MILLION),
    "web_searches_kcount": ("web_search", 1_000),
    "storage_searches_kcount": ("file_search", 1_000),
    "code_executions_kcount": ("code_execution", 1_000),
    "requests_kcount": ("request", 1_000),
    "input_audio_hours": ("audio_second", 3_600),
    "audio_hours": ("audio_second", 3_600),
    "input_mchars": ("input_character", _MILLION),
}
# If both have a price, the price of an hour of input audio applies.
_ANY_HOUR, _INPUT_HOUR = "audio_hours", "input_audio_hours"

# Our tier name -> the request fields that select it.
_TIERS: Final[Mapping[str, Mapping[str, str]]] = {
    STANDARD_TIER: {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}

# Anthropic bills inference in the United States at 1.1 times its token prices, from Claude Opus 4.6
# and Sonnet 4.6 on; older models do not offer it. Sources, checked 2026-11-22: support.claude.com
# "Enable US-only inference for your organization", docs.aws.amazon.com "claude-platform" data
# residency.
_US: Final = "us"
_US_SOURCE: Final = "; US-only inference 1.1 times, support.claude.com 2026-11-22"
_REGIONAL_FACTOR: Final = Decimal("1.1")
_TOKEN_KINDS: Final = frozenset(
    kind for unit, (kind, _) in _KINDS.items() if unit.endswith("_mtok")
)
BEFORE_GEO: Final = re.compile(
    r"claude-(?:instant|v?[123]\b|(?:opus|sonnet|haiku)-4(?:-[0-5])?(?:$|-20\d{6}|-latest|@))"
)
"""Anthropic's models that are older than the choice of the place of inference."""

# OpenAI's endpoints that process in one region cost 10 % more for eligible models released on or
# after 2026-03-05: GPT-5.4 (that day), GPT Image 2 and Realtime 2 were the first of their kinds.
# Sources: OpenAI's "Pricing" and "Data controls" (data residency), read 2026-11-26 in copies of
# August and October. No page has a price for the other regions, which only store data.
_REGIONS: Final = ("us", "eu", "ae")
_REGION_SOURCE: Final = "; regional processing 1.1 times, developers.openai.com 2026-11-26"
_REGIONAL: Final = re.compile(
    r"gpt-(?:5\.[4-9]|[6-9](?:\.\d+)?)(?:-(?:mini|nano|pro|astra|sol|terra|luna))?"
    r"|gpt-image-2(?:\.\d-[a-z]+)?|gpt-realtime-2"
)

# Models that a provider resells are tried after its own. Azure sells Claude at Anthropic's prices
# (platform.claude.com "Claude in Microsoft Foundry": "Anthropic's standard API pricing", checked
# 2026-11-22). Claude on Google without a price of its own is priced the same way.
_RESOLD_ORDER: Final = 100_000
_BEGINNING: Final = date(2020, 1, 1)


def package_rows() -> Iterator[PriceRow]:
    """Every price of the installed package, and of our corrections, as rows of the price book."""
    yield from corrected(_listed_rows(), _source())


def _listed_rows() -> Iterator[PriceRow]:
    by_id = {provider.id: provider for provider in package_providers}
    for provider in package_providers:
        for order, model in enumerate(provider.models):
            yield from _model_rows(provider.id, model, order)
        for position, resold in enumerate(provider.fallback_model_providers or (), start=1):
            for order, model in enumerate(by_id[resold].models if resold in by_id else ()):
                yield from _model_rows(provider.id, model, position * _RESOLD_ORDER + order)


def import_package_prices(
    connection: psycopg.Connection[Any], on_progress: OnProgress = ignore_progress
) -> int:
    """Add the package's prices to the connected ledger; returns the number of new rows."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(_SQL["stage"])
        with cursor.copy(_SQL["copy_staged"]) as copy:
            for done, row in enumerate(package_rows(), start=1):
                copy.write_row(_values(row))
                on_progress(done, None)
        cursor.execute(_SQL["refresh_known"])
        cursor.execute(_SQL["outdate_unlisted"], {})
        return cursor.execute(_SQL["add_staged"]).rowcount


def script() -> str:
    """The INSERT for the prices of `SCRIPT_PROVIDERS`, with each price sheet once."""
    numbers: dict[tuple[object, ...], int] = {}
    rates: list[str] = []
    for row in package_rows():
        if row.provider in SCRIPT_PROVIDERS:
            sheet = tuple(getattr(row, name) for name in _SHEET_COLUMNS)
            number = numbers.setdefault(sheet, len(numbers))
            rates.append(_literals(number, *(getattr(row, name) for name in _RATE_COLUMNS)))
    sheets = [_literals(number, *sheet) for sheet, number in numbers.items()]
    return (
        fragment(_SQL["insert_rows"])
        .replace("{sheets}", ",\n".join(sheets))
        .replace("{rates}", ",\n".join(rates))
        + ";"
    )


def _literals(*values: object) -> str:
    return "(" + ", ".join(Literal(value).as_string() for value in values) + ")"


def _values(row: PriceRow) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in PriceRow.__slots__)


def _model_rows(provider: str, model: ModelInfo, order: int) -> Iterator[PriceRow]:
    standard: dict[tuple[date | None, time | None], list[_Rate]] = {}
    for tier, context in _TIERS.items():
        for period in _periods(model):
            start, _, opens, _ = period
            prices = _resolve(model, start or _BEGINNING, opens or time(), context)
            rates = list(_rates(prices))
            # A tier with the standard prices needs no sheet of its own.
            if tier == STANDARD_TIER:
                standard[start, opens] = rates
            elif standard[start, opens] == rates:
                continue
            yield from _sheet_rows(provider, model, order, tier, period, rates)
            places, source = _places(provider, model)
            raised = [_in_one_region(rate) for rate in rates]
            for place in places:
                yield from _sheet_rows(
                    provider, model, order, tier_at(tier, place), period, raised, source
                )


def _places(provider: str, model: ModelInfo) -> tuple[tuple[str, ...], str]:
    """Places where a model costs more, and the source of that price."""
    if provider == "anthropic" and not BEFORE_GEO.match(model.id):
        return (_US,), _US_SOURCE
    if provider == "openai" and _REGIONAL.fullmatch(model.id):
        return _REGIONS, _REGION_SOURCE
    return (), ""


def _in_one_region(rate: _Rate) -> _Rate:
    kind, above, usd, per = rate
    return (kind, above, usd * _REGIONAL_FACTOR, per) if kind in _TOKEN_KINDS else rate


def _sheet_rows(  # noqa: PLR0913, PLR0917 - one argument per fact of a sheet
    provider: str,
    model: ModelInfo,
    order: int,
    tier: str,
    period: _Period,
    rates: list[_Rate],
    more_source: str = "",
) -> Iterator[PriceRow]:
    pattern = _pattern(model.match)
    start, end, opens, closes = period
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
            source=_source() + more_source,
        )


@cache
def _source() -> str:
    return f"{LISTED}{version('genai-prices')}"


def _periods(model: ModelInfo) -> Iterator[_Period]:
    """Periods in which a model's prices do not change: days, and hours of the day."""
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


def _rates(prices: ModelPrice) -> Iterator[_Rate]:
    by_unit = {unit: price for unit, price in vars(prices).items() if price is not None}
    if _INPUT_HOUR in by_unit:
        by_unit.pop(_ANY_HOUR, None)
    for unit, price in sorted(by_unit.items()):
        if unit not in _KINDS:
            continue
        kind, per = _KINDS[unit]
        if isinstance(price, TieredPrices):
            yield kind, 0, price.base, per
            for band in price.tiers:
                yield kind, band.start, band.price, per
        else:
            yield kind, 0, cast("Decimal", price), per


def _pattern(match: MatchLogic) -> str:
    """One regular expression for genai-prices' match clauses, for lower-case names."""
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
