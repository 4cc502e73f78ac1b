"""One price sheet: its price bands by kind, and the cost of a call by them.

This is pure arithmetic over rows of `token_ledger_prices`; `book` chooses the sheet of a call.
Money is Decimal in our own decimal context, so an app that changes the global decimal context does
not change a cost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, getcontext, localcontext
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenledger_exporter.pricing.price_row import MONEY, Cost, CostLine, PriceRow
from tokenledger_semconv.tokens import TEXT_COUNTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from tokenledger_semconv.tokens import TokenVector

    _Price = Callable[[str, int], Decimal]

_ZERO: Final = Decimal(0)

# A kind without a price of its own is billed at the price of another kind: cache writes and image
# tokens without a price are plain input, as on the providers' own pages (OpenAI and Anthropic
# pricing, checked 2026-11-22). Audio has no fallback: it costs many times more than text.
_FALL_BACK: Final[Mapping[str, str]] = {
    "cache_read": "input",
    "cache_read_image": "cache_read",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "input_image": "input",
    "output_image": "output",
}

# Kind -> the count it prices, for calls that are billed by length and not by tokens.
_SECONDS: Final = "audio_second"
_LENGTHS: Final[Mapping[str, str]] = {
    _SECONDS: "audio_seconds",
    "input_character": "input_characters",
    "image": "images",
}
_TRANSCRIBES: Final = "transcribe"
_OUTPUT_MEDIA: Final = {
    "image": "images, which have",
    "audio": "audio, which has",
    "video": "video, which has",
}
_UNKNOWN_MEDIA: Final = "how much of the output is {media} another price, is not known"
_UNKNOWN_AUDIO: Final = "how much of the input is audio, which has another price, is not known"
_NO_CACHE_PRICE: Final = (
    "no price for cached input: the price of other input is too high if it is cheaper"
)
_LENGTH_KINDS: Final = frozenset(_LENGTHS)
_NON_TEXT_KINDS: Final = _LENGTH_KINDS | {"request"}

# A count of up to 10 digits times a rate below 1 with up to 15 decimal places.
_EXACT_TOKENS: Final = 10**9
_EXACT_RATE: Final = -15
_EXACT_DIGITS: Final = 28

_TEXT_KINDS: Final = ("input", "cache_read", "cache_write", "cache_write_1h", "output")


def _is_short(rate: Decimal) -> bool:
    """Whether a rate's product with a count is exact in 28 digits."""
    exponent = rate.as_tuple().exponent
    return rate < 1 and isinstance(exponent, int) and exponent >= _EXACT_RATE


class _TextRates(NamedTuple):
    """The rates of one sheet for calls with text only, in US dollars per token.

    Args:
        up_to_input_tokens: longest call these rates apply to.
        prices_cache_reads: whether `cache_read` is certain.
    """

    price_id: str
    input: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal
    output: Decimal
    up_to_input_tokens: int
    prices_cache_reads: bool

    def cost(self, tokens: TokenVector) -> Cost | None:
        """The cost of a consistent vector of text; `None` if these rates do not apply."""
        price_id, in_rate, read_rate, write_rate, hour_rate, out_rate, up_to, reads = self
        whole, written, cached, writes, hour, _ = tokens[:TEXT_COUNTS]
        uncached = whole = whole or 0
        written = written or 0
        # Within these bounds no digit is lost in any decimal context of at least Python's default
        # precision. Setting a context of our own would take as long as the arithmetic itself.
        if whole > up_to or written > _EXACT_TOKENS or getcontext().prec < _EXACT_DIGITS:
            return None
        total = output_usd = out_rate * written
        cached_usd = writes_usd = _ZERO
        if cached:
            if not reads:
                return None
            uncached -= cached
            cached_usd = read_rate * cached
            total += cached_usd
        if writes:
            uncached -= writes
            writes_usd = write_rate * (writes - (hour or 0))
            if hour:
                writes_usd += hour_rate * hour
            total += writes_usd
        input_usd = in_rate * uncached
        total += input_usd
        return Cost(price_id, input_usd, cached_usd, writes_usd, output_usd, _ZERO, total)


@dataclass(slots=True)
class Sheet:
    """All rows of one price_id, as bands of (dollars per unit, row), highest threshold first."""

    first: PriceRow
    bands: dict[str, list[tuple[Decimal, PriceRow]]] = field(
        default_factory=dict[str, list[tuple[Decimal, PriceRow]]]
    )
    rates: _TextRates | None = None
    doubt: str = ""

    def add(self, row: PriceRow) -> None:
        """Add a row of the sheet."""
        with localcontext(MONEY):
            band = (row.usd / row.per, row)
        self.bands.setdefault(row.kind, []).append(band)
        self.bands[row.kind].sort(key=lambda entry: -entry[1].above_input_tokens)

    def compute_text_rates(self) -> None:
        """Compute the rates of text-only calls, if the sheet has them, after the last row."""
        if self.bands.keys() & _NON_TEXT_KINDS or self.media_priced_apart:
            return
        rates = {kind: band[0] for kind in _TEXT_KINDS if (band := self.band(kind, 0))}
        if len(rates) < len(_TEXT_KINDS) or not all(map(_is_short, rates.values())):
            return
        bands = [band for kind in _TEXT_KINDS for band in self.bands.get(kind, ())]
        above = [row.above_input_tokens for _, row in bands if row.above_input_tokens]
        up_to = min(above, default=_EXACT_TOKENS)
        self.rates = _TextRates(
            self.first.price_id,
            up_to_input_tokens=up_to,
            prices_cache_reads=self.prices_cache_reads,
            **rates,
        )

    @property
    def prices_cache_reads(self) -> bool:
        """Whether the price of cached input is certain: a list may leave it out."""
        return "cache_read" in self.bands or not self.first.is_from_list

    @property
    def media_priced_apart(self) -> tuple[str, ...]:
        """What the output may be besides text at another price: images, audio or video."""
        text = self.bands.get("output")
        if text is None:
            return ()
        prices = [band[0] for band in text]
        apart = ((name, self.bands.get(f"output_{name}")) for name in _OUTPUT_MEDIA)
        return tuple(
            name for name, bands in apart if bands and [band[0] for band in bands] != prices
        )

    @property
    def is_for_audio(self) -> bool:
        """Whether calls of the model are mostly audio, at another price than text."""
        if "input_audio" not in self.bands:
            return False
        return "output_audio" in self.bands or _TRANSCRIBES in self.first.model

    @property
    def rows(self) -> tuple[PriceRow, ...]:
        """Its rows by kind, the lowest threshold first."""
        return tuple(row for bands in self.bands.values() for _, row in reversed(bands))

    def is_valid_at(self, moment: datetime) -> bool:
        """Whether the sheet applies at a UTC timestamp."""
        day, clock, row = moment.date(), moment.time(), self.first
        if (row.valid_from and day < row.valid_from) or (row.valid_to and day >= row.valid_to):
            return False
        if row.weekdays and str(day.isoweekday()) not in row.weekdays:
            return False
        if row.daily_from is None or row.daily_to is None:
            return True
        if row.daily_to < row.daily_from:
            return clock >= row.daily_from or clock < row.daily_to
        return row.daily_from <= clock < row.daily_to

    def band(self, kind: str, input_tokens: int) -> tuple[Decimal, PriceRow] | None:
        """Dollars per unit for a call with these input tokens; `None` if the kind has no price."""
        bands = self.bands.get(kind)
        if bands is None:
            next_kind = _FALL_BACK.get(kind)
            return None if next_kind is None else self.band(next_kind, input_tokens)
        # A threshold changes the price of the whole call, and applies above it: exactly 200,000
        # tokens still have the base price.
        return next(
            (
                band
                for band in bands
                if input_tokens > (above := band[1].above_input_tokens) or not above
            ),
            None,
        )


def compute(sheet: Sheet, tokens: TokenVector, lines: list[CostLine] | None = None) -> Cost:
    """The cost of the tokens by a sheet; the lines of the bill are appended to `lines`."""
    whole = tokens.input_tokens or 0
    missing: list[str] = []
    # A model that is billed only by seconds or characters does not bill the tokens it also reports.
    by_length = tokens.has_length and sheet.bands.keys() <= _LENGTH_KINDS

    def price(kind: str, count: int) -> Decimal:
        if count <= 0:
            return _ZERO
        band = sheet.band(kind, whole)
        if band is None:
            if not by_length or kind in _LENGTH_KINDS:
                missing.append(kind)
            return _ZERO
        cost, row = band[0] * count, band[1]
        if lines is not None:
            lines.append(CostLine(kind, row.kind, count, row.usd, row.per, cost))
        return cost

    with localcontext(MONEY):
        input_usd = _input(price, tokens) + _lengths(sheet, price, tokens)
        cached_usd = _cached(price, tokens)
        cache_write_usd = price("cache_write", tokens.cache_write_5m_tokens) + price(
            "cache_write_1h", tokens.cache_write_1h_tokens or 0
        )
        output_usd = _output(price, tokens)
        tool_usd = _tools(sheet, price, tokens)
        return Cost(
            price_id=sheet.first.price_id,
            input_usd=input_usd,
            cached_usd=cached_usd,
            cache_write_usd=cache_write_usd,
            output_usd=output_usd,
            tool_usd=tool_usd,
            total_usd=input_usd + cached_usd + cache_write_usd + output_usd + tool_usd,
            unpriced_kinds=tuple(missing),
            unknown_usage=_unknown_usage(sheet, tokens),
        )


def _unknown_usage(sheet: Sheet, tokens: TokenVector) -> str:
    """What decides the price and is not known: of the list, or of the usage."""
    unknown = [sheet.doubt]
    if tokens.cached_tokens and "input" in sheet.bands and not sheet.prices_cache_reads:
        unknown.append(_NO_CACHE_PRICE)
    if tokens.output_tokens:
        unknown += [
            _UNKNOWN_MEDIA.format(media=_OUTPUT_MEDIA[name])
            for name in sheet.media_priced_apart
            if getattr(tokens, f"{name}_output_tokens", None) is None
        ]
    if tokens.audio_input_tokens is None and tokens.input_tokens and sheet.is_for_audio:
        unknown.append(_UNKNOWN_AUDIO)
    return "; ".join(filter(None, unknown))


def _input(price: _Price, tokens: TokenVector) -> Decimal:
    uncached = tokens.uncached_input_tokens
    # A modality without a reported cached part counts as uncached, up to the uncached tokens.
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


def _lengths(sheet: Sheet, price: _Price, tokens: TokenVector) -> Decimal:
    """The cost of seconds, characters and images, if the sheet prices them or no tokens exist."""
    without_tokens = tokens.total_tokens is None
    billed = (
        price(kind, getattr(tokens, count) or 0)
        for kind, count in _LENGTHS.items()
        if without_tokens or kind in sheet.bands or _is_extra(kind, sheet)
    )
    return sum(billed, _ZERO)


def _is_extra(kind: str, sheet: Sheet) -> bool:
    """Whether a length is billed in addition to tokens, so that its missing price matters."""
    return kind == _SECONDS and "input_audio" not in sheet.bands


def _tools(sheet: Sheet, price: _Price, tokens: TokenVector) -> Decimal:
    # A fee per request applies only if the sheet has one.
    fee = price("request", 1) if "request" in sheet.bands else _ZERO
    return (
        fee
        + price("web_search", tokens.web_search_requests or 0)
        + price("file_search", tokens.file_search_requests or 0)
        + price("code_execution", tokens.code_execution_requests or 0)
    )
