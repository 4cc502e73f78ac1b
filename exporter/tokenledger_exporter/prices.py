"""The price book: which sheet of list prices holds for a call, and what the call costs by it.

Pure arithmetic over rows of `token_ledger_prices`; where the rows come from is `price_import`'s
business. Money is Decimal under a context of our own, so an app that changes the global decimal
context changes no cost.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal, getcontext, localcontext
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenledger_exporter.price_rows import MONEY, Cost, CostLine, PriceRow
from tokenledger_semconv.tokens import TEXT_COUNTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tokenledger_semconv.tokens import TokenVector

    _Price = Callable[[str, int], Decimal]

_ZERO: Final = Decimal(0)
STANDARD_TIER: Final = "standard"
_AT: Final = "@"
_STANDARD_NAMES: Final = frozenset({"", "default", "auto", "standard", "standard_only", "scale"})
_LATEST: Final = "-latest"
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
_NOT_BY_TEXT_ALONE: Final = _LENGTH_KINDS | {"request"}

# A count of up to 10 digits, times a rate of up to 15 digits behind the point and none before it.
_EXACT_TOKENS: Final = 10**9
_EXACT_RATE: Final = -15
_EXACT_DIGITS: Final = 28

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


_TEXT_KINDS: Final = ("input", "cache_read", "cache_write", "cache_write_1h", "output")


def _is_short(rate: Decimal) -> bool:
    """Whether a rate's product with a count is exact in 28 digits."""
    exponent = rate.as_tuple().exponent
    return rate < 1 and isinstance(exponent, int) and exponent >= _EXACT_RATE


class _TextRates(NamedTuple):
    """What a call of nothing but text costs by one sheet, US dollars a token.

    Args:
        up_to_input_tokens: longer calls have other prices.
    """

    price_id: str
    input: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal
    output: Decimal
    up_to_input_tokens: int

    def cost(self, tokens: TokenVector) -> Cost | None:
        """The cost of a sound vector of text; `None` where these rates do not hold."""
        price_id, in_rate, read_rate, write_rate, hour_rate, out_rate, up_to = self
        whole, written, cached, writes, hour, _ = tokens[:TEXT_COUNTS]
        uncached = whole = whole or 0
        written = written or 0
        # Within these bounds no digit is lost in any context that keeps what Python's own does: an
        # app may have set another, and one of ours costs as much as the arithmetic.
        if whole > up_to or written > _EXACT_TOKENS or getcontext().prec < _EXACT_DIGITS:
            return None
        total = output_usd = out_rate * written
        cached_usd = writes_usd = _ZERO
        if cached:
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
class _Sheet:
    """All rows of one price_id: bands of (dollars a unit, row), of the longest calls first."""

    first: PriceRow
    bands: dict[str, list[tuple[Decimal, PriceRow]]] = field(
        default_factory=dict[str, list[tuple[Decimal, PriceRow]]]
    )
    rates: _TextRates | None = None

    def add(self, row: PriceRow) -> None:
        with localcontext(MONEY):
            band = (row.usd / row.per, row)
        self.bands.setdefault(row.kind, []).append(band)
        self.bands[row.kind].sort(key=lambda known: -known[1].above_input_tokens)

    def seal(self) -> None:
        """Note the rates of plain text, where the sheet has them; no row is added after this."""
        if self.bands.keys() & _NOT_BY_TEXT_ALONE:
            return
        rates = {kind: band[0] for kind in _TEXT_KINDS if (band := self.band(kind, 0))}
        if len(rates) < len(_TEXT_KINDS) or not all(map(_is_short, rates.values())):
            return
        bands = [band for kind in _TEXT_KINDS for band in self.bands.get(kind, ())]
        above = [row.above_input_tokens for _, row in bands if row.above_input_tokens]
        up_to = min(above, default=_EXACT_TOKENS)
        self.rates = _TextRates(self.first.price_id, up_to_input_tokens=up_to, **rates)

    @property
    def rows(self) -> tuple[PriceRow, ...]:
        return tuple(row for bands in self.bands.values() for _, row in reversed(bands))

    def holds_at(self, moment: datetime) -> bool:
        day, clock, row = moment.date(), moment.time(), self.first
        if (row.valid_from and day < row.valid_from) or (row.valid_to and day >= row.valid_to):
            return False
        if row.daily_from is None or row.daily_to is None:
            return True
        if row.daily_to < row.daily_from:
            return clock >= row.daily_from or clock < row.daily_to
        return row.daily_from <= clock < row.daily_to

    def band(self, kind: str, input_tokens: int) -> tuple[Decimal, PriceRow] | None:
        """Dollars a unit for a call of this many input tokens; `None` if the kind has no price."""
        bands = self.bands.get(kind)
        if bands is None:
            next_kind = _FALL_BACK.get(kind)
            return None if next_kind is None else self.band(next_kind, input_tokens)
        # The threshold reprices the whole call, and a band is open below: exactly 200,000 tokens
        # are still the base price.
        return next(
            (
                band
                for band in bands
                if input_tokens > (above := band[1].above_input_tokens) or not above
            ),
            None,
        )


_NO_SHEETS: Final[list[_Sheet]] = []

# Names and tiers come from outside: an app that makes them up must not fill memory.
_MOST_STEADY: Final = 4_096


@dataclass(slots=True)
class _Candidates:
    """Sheets that may price one model name: the user's own, and the list's by pattern."""

    own: list[_Sheet] = field(default_factory=list[_Sheet])
    listed: list[list[_Sheet]] = field(default_factory=list[list[_Sheet]])

    def holding(self, moment: datetime) -> tuple[dict[str, _Sheet], dict[str, _Sheet]]:
        """Own and listed sheets by tier; of the list, the first pattern that holds then."""
        listed = ([s for s in group if s.holds_at(moment)] for group in self.listed)
        first = next(filter(None, listed), _NO_SHEETS)
        own = [s for s in self.own if s.holds_at(moment)]
        return _by_tier(own), _by_tier(first)

    def steady_around(self, moment: datetime) -> tuple[datetime | None, datetime] | None:
        """From when (`None`: ever) to when the same sheets hold; `None` if hours matter."""
        sheets = [*self.own, *(sheet for group in self.listed for sheet in group)]
        if any(sheet.first.daily_from is not None for sheet in sheets):
            return None
        days = {day for s in sheets for day in (s.first.valid_from, s.first.valid_to) if day}
        changes = [datetime(day.year, day.month, day.day, tzinfo=timezone.utc) for day in days]
        if not changes:
            return None, _END
        since = max((change for change in changes if change <= moment), default=_BEGINNING)
        return since, min((change for change in changes if change > moment), default=_END)


_BEGINNING: Final = datetime.min.replace(tzinfo=timezone.utc)
_END: Final = datetime.max.replace(tzinfo=timezone.utc)


def _by_tier(sheets: list[_Sheet]) -> dict[str, _Sheet]:
    return {sheet.first.tier: sheet for sheet in reversed(sheets)}


class PriceBook:
    """Price sheets of some providers, found by model name, day and tier.

    The user's own sheets come first: among them the one with the lowest `match_order`. A tier the
    user named no price for keeps the list's, where the list has one.
    """

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        self._sheets: dict[str, _Sheet] = {}
        for row in rows:
            self._sheets.setdefault(row.price_id, _Sheet(row)).add(row)
        for sheet in self._sheets.values():
            sheet.seal()
        self._steady: dict[tuple[str, str, str], tuple[_Sheet, datetime | None, datetime]] = {}
        self._patterns: defaultdict[str, list[tuple[re.Pattern[str], list[_Sheet]]]]
        self._patterns = defaultdict(list)
        self._found: dict[tuple[str, str], _Candidates] = {}
        by_pattern: defaultdict[tuple[str, str, bool], list[_Sheet]] = defaultdict(list)
        for sheet in sorted(self._sheets.values(), key=_order):
            first = sheet.first
            by_pattern[first.provider, first.model_pattern, first.is_own].append(sheet)
        for (provider, pattern, _), group in by_pattern.items():
            self._patterns[provider].append((re.compile(pattern), group))

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
        known = self._steady.get((provider, model, tier))
        if known is not None and (known[1] is None or known[1] <= moment < known[2]):
            sheet = known[0]
        else:
            found = self._sheet(provider, model, moment, tier)
            if found is None:
                return None
            sheet = found
        rates = sheet.rates
        if rates is None or any(tokens[TEXT_COUNTS:]):
            return _compute(sheet, tokens)
        return rates.cost(tokens) or _compute(sheet, tokens)

    def sheet(
        self, provider: str, model: str, moment: datetime, tier: str = ""
    ) -> tuple[PriceRow, ...]:
        """The rows of the sheet `cost` would take; empty if there is none."""
        sheet = self._sheet(provider, model, moment, tier)
        return () if sheet is None else sheet.rows

    def sheets(self, provider: str, model: str) -> tuple[str, ...]:
        """The ids of every sheet that ever priced a model, the user's own first."""
        found = self._candidates(provider, model)
        families = {group[0].first.model for group in found.listed[:1]}
        listed = [s for group in found.listed for s in group if s.first.model in families]
        return tuple(sheet.first.price_id for sheet in (*found.own, *listed))

    def bill(self, price_id: str, tokens: TokenVector) -> tuple[Cost, tuple[CostLine, ...]] | None:
        """What the tokens cost by one sheet, line by line; `None` if the book lacks the sheet."""
        if price_id not in self._sheets:
            return None
        lines: list[CostLine] = []
        cost = _compute(self._sheets[price_id], tokens, lines)
        return cost, tuple(lines)

    def _sheet(self, provider: str, model: str, moment: datetime, tier: str) -> _Sheet | None:
        moment = moment.astimezone(timezone.utc)
        candidates = self._candidates(provider, model)
        own, listed = candidates.holding(moment)
        for names in _tiers(tier):
            for book in (own, listed):
                found = next((book[name] for name in names if name in book), None)
                if found is not None:
                    steady = candidates.steady_around(moment)
                    if steady is not None and len(self._steady) < _MOST_STEADY:
                        self._steady[provider, model, tier] = (found, *steady)
                    return found
        return None

    def _candidates(self, provider: str, model: str) -> _Candidates:
        key = (provider, model.lower())
        if key not in self._found:
            # As it is written, with its date dashed, and as the alias of the newest.
            dashed = _COMPACT_DATE.sub(r"-\1-\2-\3", key[1])
            spellings = dict.fromkeys((key[1], dashed, key[1].removesuffix(_LATEST)))
            matches = (self._match(provider, spelling) for spelling in spellings)
            self._found[key] = next(filter(None, matches), _Candidates())
        return self._found[key]

    def _match(self, provider: str, name: str) -> _Candidates | None:
        groups = [g for pattern, g in self._patterns.get(provider, ()) if pattern.search(name)]
        own = [sheet for group in groups for sheet in group if sheet.first.is_own]
        listed = [group for group in groups if not group[0].first.is_own]
        return _Candidates(sorted(own, key=_order), listed) if groups else None


def _order(sheet: _Sheet) -> tuple[int, str]:
    return sheet.first.match_order, sheet.first.price_id


def plain_usd(amount: Decimal) -> str:
    """All digits of an amount, without an exponent or trailing zeros: `0.00275`."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tiers(told: str) -> tuple[tuple[str, str], ...]:
    """Names of the sheets that may hold, best first: the tier's own, then the standard ones."""
    tier, at, geo = told.lower().partition(_AT)
    wanted = STANDARD_TIER if tier in _STANDARD_NAMES else tier
    standard = (f"{STANDARD_TIER}{at}{geo}", STANDARD_TIER)
    # A tier or a place nobody prices apart is billed at the standard rate.
    return ((f"{wanted}{at}{geo}", wanted), standard) if wanted != STANDARD_TIER else (standard,)


def _compute(sheet: _Sheet, tokens: TokenVector, lines: list[CostLine] | None = None) -> Cost:
    whole = tokens.input_tokens or 0
    missing: list[str] = []
    # A model sold by the second or the character alone does not bill the tokens it counts as well.
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
