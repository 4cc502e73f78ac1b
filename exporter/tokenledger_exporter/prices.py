"""The price book: which sheet of list prices holds for a call, and what the call costs by it.

Pure arithmetic over rows of `token_ledger_prices`; where the rows come from is `price_import`'s
business. Money is Decimal under a context of our own, so an app that changes the global decimal
context changes no cost.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timezone
from decimal import Context, Decimal, localcontext
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date, datetime, time

    from tokenledger_semconv.tokens import TokenVector

    _Price = Callable[[str, int], Decimal]

_MONEY: Final = Context(prec=50)
_ZERO: Final = Decimal(0)

STANDARD_TIER: Final = "standard"
_AT: Final = "@"
_STANDARD_NAMES: Final = frozenset({"", "default", "auto", "standard", "standard_only", "scale"})
_COMPACT_DATE: Final = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")

# A kind without a price of its own is billed at the next one: a cache write nobody prices apart is
# plain input, and so are image tokens, as on the providers' own pages (OpenAI and Anthropic
# pricing, checked 2026-11-22). Audio is not, cached or not: it costs many times what text does.
_FALL_BACK: Final[Mapping[str, str]] = {
    "cache_read": "input",
    "cache_read_image": "cache_read",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "input_image": "input",
    "output_image": "output",
}

# Kind -> the count it prices, where a call is billed by length and not by tokens.
_LENGTHS: Final[Mapping[str, str]] = {
    "audio_second": "audio_seconds",
    "input_character": "input_characters",
    "image": "images",
}
_LENGTH_KINDS: Final = frozenset(_LENGTHS)

# What a provider runs for nothing, and the sheet a row of it names. OpenAI: moderation models are
# free (developers.openai.com/api/docs/models/omni-moderation-latest, checked 2026-11-22).
_FREE: Final[Mapping[tuple[str, str], str]] = {("openai", "moderation"): "free:moderation"}


def free_sheet(provider: str, operation: str) -> str:
    """The sheet of an operation that costs nothing; "" if the operation is billed."""
    return _FREE.get((provider, operation), "")


def tier_at(tier: str, geo: str) -> str:
    """The tier to look a price up by, where the place a call ran at may set a price of its own.

    Args:
        tier: service tier in the provider's words; "" is standard.
        geo: place in the provider's words; "" is anywhere.
    """
    return f"{tier}{_AT}{geo}" if geo else tier


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One row of `token_ledger_prices`: a kind's price on one sheet.

    Args:
        price_id: the sheet.
        kind: what is priced (`input`, `cache_write_1h`, `web_search` ...).
        above_input_tokens: the price holds for calls with more input tokens than this.
        provider: who bills.
        model: model family.
        model_pattern: regular expression searched in the lower-case model name.
        match_order: patterns of one provider are tried in this order.
        tier: service tier.
        usd: US dollars for `per` units.
        per: units the price is for.
        valid_from: first UTC day it holds; `None` is always.
        valid_to: first UTC day it no longer holds; `None` is until further notice.
        daily_from: start of its daily interval, UTC; `None` is all day.
        daily_to: end of its daily interval, UTC.
        source: where it comes from.
    """

    price_id: str
    kind: str
    above_input_tokens: int
    provider: str
    model: str
    model_pattern: str
    match_order: int
    tier: str
    usd: Decimal
    per: int
    valid_from: date | None
    valid_to: date | None
    daily_from: time | None
    daily_to: time | None
    source: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call costs by one sheet, in US dollars, part by part."""

    price_id: str = ""
    input_usd: Decimal = _ZERO
    cached_usd: Decimal = _ZERO
    cache_write_usd: Decimal = _ZERO
    output_usd: Decimal = _ZERO
    tool_usd: Decimal = _ZERO
    unpriced_kinds: tuple[str, ...] = ()

    @property
    def total_usd(self) -> Decimal:
        """The sum of the parts."""
        parts = (self.cached_usd, self.cache_write_usd, self.output_usd, self.tool_usd)
        with localcontext(_MONEY):
            return sum(parts, self.input_usd)


@dataclass(slots=True)
class _Sheet:
    """All rows of one price_id: bands of (above_input_tokens, dollars a unit), highest first."""

    first: PriceRow
    bands: dict[str, list[tuple[int, Decimal]]] = field(
        default_factory=dict[str, list[tuple[int, Decimal]]]
    )

    def add(self, row: PriceRow) -> None:
        with localcontext(_MONEY):
            band = (row.above_input_tokens, row.usd / row.per)
        self.bands.setdefault(row.kind, []).append(band)
        self.bands[row.kind].sort(reverse=True)

    def holds_at(self, moment: datetime) -> bool:
        day, clock, row = moment.date(), moment.time(), self.first
        if (row.valid_from and day < row.valid_from) or (row.valid_to and day >= row.valid_to):
            return False
        if row.daily_from is None or row.daily_to is None:
            return True
        if row.daily_to < row.daily_from:
            return clock >= row.daily_from or clock < row.daily_to
        return row.daily_from <= clock < row.daily_to

    def rate(self, kind: str, input_tokens: int) -> Decimal | None:
        """Dollars a unit for a call of this many input tokens; `None` if the kind has no price."""
        bands = self.bands.get(kind)
        if bands is None:
            next_kind = _FALL_BACK.get(kind)
            return None if next_kind is None else self.rate(next_kind, input_tokens)
        # The threshold reprices the whole call, and a band is open below: exactly 200,000 tokens
        # are still the base price.
        return next((rate for above, rate in bands if input_tokens > above or not above), None)


_NO_SHEETS: Final[list[_Sheet]] = []


class PriceBook:
    """Price sheets of some providers, found by model name, day and tier."""

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        sheets: dict[str, _Sheet] = {}
        for row in rows:
            sheets.setdefault(row.price_id, _Sheet(row)).add(row)
        self._models: dict[str, list[tuple[re.Pattern[str], list[_Sheet]]]] = {}
        self._found: dict[tuple[str, str], list[_Sheet]] = {}
        by_model: defaultdict[tuple[str, str], list[_Sheet]] = defaultdict(list)
        for sheet in sheets.values():
            by_model[sheet.first.provider, sheet.first.model_pattern].append(sheet)
        for (provider, pattern), group in sorted(
            by_model.items(), key=lambda item: min(s.first.match_order for s in item[1])
        ):
            self._models.setdefault(provider, []).append((re.compile(pattern), group))

    def cost(
        self, provider: str, model: str, moment: datetime, tier: str, tokens: TokenVector
    ) -> Cost | None:
        """What the tokens cost at that moment; `None` if nobody prices the model there.

        Args:
            provider: price-book name (`openai`, `azure`).
            model: name as the provider wrote it; dated names resolve, and fine-tuned
                ones where their base has a fine-tuned price.
            moment: start of the call, with a time zone.
            tier: service tier in the provider's words, "" is standard; with `tier_at`, where.
            tokens: what was used; counts the provider did not report cost nothing.
        """
        moment = moment.astimezone(timezone.utc)
        sheets = [s for s in self._sheets(provider, model) if s.holds_at(moment)]
        by_tier = {s.first.tier: s for s in reversed(sheets)}
        sheet = next((by_tier[name] for name in _tiers(tier) if name in by_tier), None)
        return None if sheet is None else _compute(sheet, tokens)

    def _sheets(self, provider: str, model: str) -> list[_Sheet]:
        key = (provider, model.lower())
        if key not in self._found:
            dashed = _COMPACT_DATE.sub(r"-\1-\2-\3", key[1])
            self._found[key] = self._match(provider, key[1]) or self._match(provider, dashed)
        return self._found[key]

    def _match(self, provider: str, name: str) -> list[_Sheet]:
        models = self._models.get(provider, ())
        return next((group for pattern, group in models if pattern.search(name)), _NO_SHEETS)


def plain_usd(amount: Decimal) -> str:
    """All digits of an amount, without an exponent or trailing zeros: `0.00275`."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tiers(told: str) -> tuple[str, ...]:
    """Names of the sheets that may hold, best first."""
    tier, at, geo = told.lower().partition(_AT)
    wanted = STANDARD_TIER if tier in _STANDARD_NAMES else tier
    # A tier or a place nobody prices apart is billed at the standard rate.
    return (f"{wanted}{at}{geo}", wanted, f"{STANDARD_TIER}{at}{geo}", STANDARD_TIER)


def _compute(sheet: _Sheet, tokens: TokenVector) -> Cost:
    whole = tokens.input_tokens or 0
    missing: list[str] = []
    # A model sold by the second or the character alone does not bill the tokens it counts as well.
    by_length = tokens.has_length and sheet.bands.keys() <= _LENGTH_KINDS

    def price(kind: str, count: int) -> Decimal:
        if count <= 0:
            return _ZERO
        rate = sheet.rate(kind, whole)
        if rate is None:
            if not by_length or kind in _LENGTH_KINDS:
                missing.append(kind)
            return _ZERO
        return rate * count

    with localcontext(_MONEY):
        return Cost(
            price_id=sheet.first.price_id,
            input_usd=_input(price, tokens) + _lengths(sheet, price, tokens),
            cached_usd=_cached(price, tokens),
            cache_write_usd=price("cache_write", tokens.cache_write_5m_tokens)
            + price("cache_write_1h", tokens.cache_write_1h_tokens or 0),
            output_usd=_output(price, tokens),
            tool_usd=_tools(sheet, price, tokens),
            unpriced_kinds=tuple(missing),
        )


def _input(price: _Price, tokens: TokenVector) -> Decimal:
    uncached = tokens.uncached_input_tokens
    # A modality whose cached part is not reported is taken as uncached, as far as it fits.
    audio = (tokens.audio_input_tokens or 0) - (tokens.cached_audio_tokens or 0)
    audio = max(0, min(audio, uncached))
    image = (tokens.image_input_tokens or 0) - (tokens.cached_image_tokens or 0)
    image = max(0, min(image, uncached - audio))
    return (
        price("input", uncached - audio - image)
        + price("input_audio", audio)
        + price("input_image", image)
    )


def _cached(price: _Price, tokens: TokenVector) -> Decimal:
    text = (tokens.cached_tokens or 0) - (tokens.cached_media_tokens or 0)
    return (
        price("cache_read", text)
        + price("cache_read_audio", tokens.cached_audio_tokens or 0)
        + price("cache_read_image", tokens.cached_image_tokens or 0)
    )


def _output(price: _Price, tokens: TokenVector) -> Decimal:
    whole = tokens.output_tokens or 0
    audio = min(tokens.audio_output_tokens or 0, whole)
    image = min(tokens.image_output_tokens or 0, whole - audio)
    return (
        price("output", whole - audio - image)
        + price("output_audio", audio)
        + price("output_image", image)
    )


def _lengths(sheet: _Sheet, price: _Price, tokens: TokenVector) -> Decimal:
    """What is billed by seconds, characters or images: where the sheet does, or nothing else is."""
    without_tokens = tokens.total_tokens is None
    billed = (
        price(kind, getattr(tokens, count) or 0)
        for kind, count in _LENGTHS.items()
        if without_tokens or kind in sheet.bands
    )
    return sum(billed, _ZERO)


def _tools(sheet: _Sheet, price: _Price, tokens: TokenVector) -> Decimal:
    # A fee a request is due only where the sheet names one.
    fee = price("request", 1) if "request" in sheet.bands else _ZERO
    return (
        fee
        + price("web_search", tokens.web_search_requests or 0)
        + price("file_search", tokens.file_search_requests or 0)
        + price("code_execution", tokens.code_execution_requests or 0)
    )
