"""The price book: chooses the price sheet of a call.

`sheet` computes the cost of the call by it, and `catalog` fills `token_ledger_prices`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.domain.time_range import BEGINNING, END
from tokenledger_exporter.pricing.list_corrections import doubt_about
from tokenledger_exporter.pricing.patterns import search
from tokenledger_exporter.pricing.sheet import Sheet, compute
from tokenledger_exporter.pricing.spellings import is_customized, is_guess, spellings
from tokenledger_semconv.bounded_cache import BoundedCache
from tokenledger_semconv.tokens import TEXT_COUNTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from tokenledger_exporter.pricing.price_row import Cost, CostLine, PriceRow
    from tokenledger_semconv.tokens import TokenVector

STANDARD_TIER: Final = "standard"
GEO_SEPARATOR: Final = "@"
"""What separates a tier from the place of inference."""
STANDARD_NAMES: Final = frozenset({"", "default", "auto", "standard", "standard_only", "scale"})
"""Names of the standard tier, in any provider's words."""
# Tiers that a response names only if they were used, at a price of their own: Anthropic's fast mode
# (its page "Fast mode", pricing) and OpenAI's ultrafast processing, which has no list price (openai
# 3.57.0, `service_tier`). Both read 2026-11-26.
_PRICED_SEPARATELY: Final = frozenset({"fast", "ultrafast"})

# Free operations and the price_id of their rows. OpenAI: moderation models are free
# (developers.openai.com/api/docs/models/omni-moderation-latest, checked 2026-11-22).
_FREE: Final[Mapping[tuple[str, str], str]] = {("openai", "moderation"): "free:moderation"}


def free_sheet(provider: str, operation: str) -> str:
    """The price_id of a free operation; "" if the operation is billed."""
    return _FREE.get((provider, operation), "")


def tier_at(tier: str, geo: str) -> str:
    """The tier to look up a price by, with the place of inference, which may have its own price.

    Args:
        tier: service tier in the provider's words; "" is standard.
        geo: place of inference in the provider's words; "" is anywhere.
    """
    return f"{tier}{GEO_SEPARATOR}{geo}" if geo else tier


def has_own_price(tier: str) -> bool:
    """Whether a tier is never billed at the standard rate."""
    return tier.lower() in _PRICED_SEPARATELY


_NO_SHEETS: Final[list[Sheet]] = []

# Names and tiers come from senders: made-up ones must not fill memory.
_MAX_CACHED: Final = 4_096


@dataclass(slots=True)
class _Candidates:
    """Sheets that may price one model name: custom sheets, and list sheets by pattern."""

    custom: list[Sheet] = field(default_factory=list[Sheet])
    listed: list[list[Sheet]] = field(default_factory=list[list[Sheet]])

    def valid_at(self, timestamp: datetime) -> tuple[dict[str, Sheet], dict[str, Sheet]]:
        """Custom and list sheets by tier; of the list, those of the first pattern that applies."""
        listed = ([s for s in group if s.is_valid_at(timestamp)] for group in self.listed)
        first = next(filter(None, listed), _NO_SHEETS)
        custom = [s for s in self.custom if s.is_valid_at(timestamp)]
        return _by_tier(custom), _by_tier(first)

    def period_around(self, timestamp: datetime) -> tuple[datetime | None, datetime] | None:
        """The period with the same sheets, its start `None` if always; `None` if hours matter."""
        sheets = [*self.custom, *(sheet for group in self.listed for sheet in group)]
        if any(sheet.first.daily_from or sheet.first.weekdays for sheet in sheets):
            return None
        days = {day for s in sheets for day in (s.first.valid_from, s.first.valid_to) if day}
        changes = [datetime(day.year, day.month, day.day, tzinfo=timezone.utc) for day in days]
        if not changes:
            return None, END
        since = max((change for change in changes if change <= timestamp), default=BEGINNING)
        return since, min((change for change in changes if change > timestamp), default=END)


def _by_tier(sheets: list[Sheet]) -> dict[str, Sheet]:
    return {sheet.first.tier: sheet for sheet in reversed(sheets)}


class PriceBook:
    """Price sheets of some providers, by model name, day and tier.

    Custom sheets take precedence, the one with the lowest `match_order` first. A tier without a
    custom price keeps its list price.

    Args:
        rows: the prices.
        prefers_reported: a cost that the provider reports is preferred to these prices.
    """

    def __init__(self, rows: Iterable[PriceRow], *, prefers_reported: bool = False) -> None:
        self.prefers_reported: Final = prefers_reported
        self._sheets: dict[str, Sheet] = {}
        for row in rows:
            self._sheets.setdefault(row.price_id, Sheet(row)).add(row)
        for sheet in self._sheets.values():
            sheet.compute_text_rates()
        self._sheet_cache: BoundedCache[
            tuple[str, str, str], tuple[Sheet, datetime | None, datetime]
        ] = BoundedCache(_MAX_CACHED)
        self._patterns: defaultdict[str, list[tuple[str, list[Sheet]]]] = defaultdict(list)
        self._candidate_cache: BoundedCache[tuple[str, str], _Candidates] = BoundedCache(
            _MAX_CACHED
        )
        by_pattern: defaultdict[tuple[str, str, bool], list[Sheet]] = defaultdict(list)
        for sheet in sorted(self._sheets.values(), key=_order):
            first = sheet.first
            by_pattern[first.provider, first.model_pattern, first.is_custom].append(sheet)
        for (provider, pattern, _), group in by_pattern.items():
            self._patterns[provider].append((pattern, group))

    def cost(
        self, provider: str, model: str, moment: datetime, tier: str, tokens: TokenVector
    ) -> Cost | None:
        """The cost of the tokens at that time; `None` if the book has no price for the model.

        Args:
            provider: price-book name (`openai`, `azure`).
            model: name as the provider wrote it; dated names resolve, and fine-tuned ones if their
                base model has a fine-tuned price.
            moment: start of the call, with a time zone.
            tier: service tier in the provider's words, "" is standard; `tier_at` adds the place.
            tokens: the usage; counts that the provider did not report cost nothing.
        """
        cached = self._sheet_cache.get((provider, model, tier))
        if cached is not None and (cached[1] is None or cached[1] <= moment < cached[2]):
            sheet = cached[0]
        else:
            match = self._sheet(provider, model, moment, tier)
            if match is None:
                return None
            sheet = match
        rates = sheet.rates
        if rates is None or any(tokens[TEXT_COUNTS:]):
            return compute(sheet, tokens)
        return rates.cost(tokens) or compute(sheet, tokens)

    def sheet(
        self, provider: str, model: str, moment: datetime, tier: str = ""
    ) -> tuple[PriceRow, ...]:
        """The rows of the sheet that `cost` uses; empty if there is none."""
        sheet = self._sheet(provider, model, moment, tier)
        return () if sheet is None else sheet.rows

    def sheets(self, provider: str, model: str) -> tuple[str, ...]:
        """The ids of every sheet that ever priced a model, custom sheets first."""
        candidates = self._candidates(provider, model)
        families = {group[0].first.model for group in candidates.listed[:1]}
        listed = [s for group in candidates.listed for s in group if s.first.model in families]
        return tuple(sheet.first.price_id for sheet in (*candidates.custom, *listed))

    def bill(self, price_id: str, tokens: TokenVector) -> tuple[Cost, tuple[CostLine, ...]] | None:
        """The cost of the tokens by one sheet, with its lines; `None` if the sheet is unknown."""
        if price_id not in self._sheets:
            return None
        lines: list[CostLine] = []
        cost = compute(self._sheets[price_id], tokens, lines)
        return cost, tuple(lines)

    def _sheet(self, provider: str, model: str, moment: datetime, tier: str) -> Sheet | None:
        moment = moment.astimezone(timezone.utc)
        candidates = self._candidates(provider, model)
        custom, listed = candidates.valid_at(moment)
        for names in _tiers(tier):
            for sheets in (custom, listed):
                sheet = next((sheets[name] for name in names if name in sheets), None)
                if sheet is not None:
                    sheet = _with_doubt(sheet, provider, model)
                    period = candidates.period_around(moment)
                    if period is not None:
                        self._sheet_cache[provider, model, tier] = (sheet, *period)
                    return sheet
        return None

    def _candidates(self, provider: str, model: str) -> _Candidates:
        key = (provider, model.lower())
        candidates = self._candidate_cache.get(key)
        if candidates is None:
            names = dict.fromkeys(spellings(provider, key[1]))
            matches = (self._match(provider, name) for name in names)
            candidates = next(filter(None, matches), _Candidates())
            self._candidate_cache[key] = candidates
        return candidates

    def _match(self, provider: str, name: str) -> _Candidates | None:
        groups = [g for pattern, g in self._patterns.get(provider, ()) if search(pattern, name)]
        custom = [sheet for group in groups for sheet in group if sheet.first.is_custom]
        listed = [group for group in groups if not group[0].first.is_custom]
        if is_customized(provider, name):
            listed = []
        return _Candidates(sorted(custom, key=_order), listed) if custom or listed else None


def _with_doubt(sheet: Sheet, provider: str, model: str) -> Sheet:
    """The sheet, which says so if its price may not be that of the model."""
    first = sheet.first
    doubt = doubt_about(provider, model) if first.is_from_list else ""
    if not doubt and first.is_from_list and is_guess(model, first.model, first.model_pattern):
        doubt = f"the price list has the price of {first.model} only"
    return replace(sheet, doubt=doubt, rates=None) if doubt else sheet


def _order(sheet: Sheet) -> tuple[int, str]:
    return sheet.first.match_order, sheet.first.price_id


def plain_usd(amount: Decimal) -> str:
    """All digits of an amount, without an exponent or trailing zeros, such as `0.00275`."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tiers(tier_and_geo: str) -> tuple[tuple[str, str], ...]:
    """Tier names of the sheets that may apply: the tier's own first, then the standard ones."""
    reported_tier, at, geo = tier_and_geo.lower().partition(GEO_SEPARATOR)
    tier = STANDARD_TIER if reported_tier in STANDARD_NAMES else reported_tier
    own, standard = (f"{tier}{at}{geo}", tier), (f"{STANDARD_TIER}{at}{geo}", STANDARD_TIER)
    if has_own_price(tier):
        return (own,)
    # Any other tier or place without a price of its own is billed at the standard rate.
    return (own, standard) if tier != STANDARD_TIER else (standard,)
