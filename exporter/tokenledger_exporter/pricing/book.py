"""The price book: which sheet of list prices holds for a call.

What the call costs by it is `price_sheet`'s arithmetic, and where the rows of `token_ledger_prices`
come from is `price_import`'s business.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.pricing.patterns import search
from tokenledger_exporter.pricing.sheet import Sheet, compute
from tokenledger_semconv.tokens import TEXT_COUNTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from tokenledger_exporter.pricing.price_row import Cost, CostLine, PriceRow
    from tokenledger_semconv.tokens import TokenVector

STANDARD_TIER: Final = "standard"
_AT: Final = "@"
_STANDARD_NAMES: Final = frozenset({"", "default", "auto", "standard", "standard_only", "scale"})
# Answered only where it was served, at a price of its own: Anthropic's fast mode (its "Fast mode",
# pricing) and OpenAI's ultrafast processing, which is on no list (openai 3.57.0, `service_tier`).
# Both read 2026-11-26.
_SOLD_APART: Final = frozenset({"fast", "ultrafast"})
_LATEST: Final = "-latest"
_COMPACT_DATE: Final = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")

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


def is_sold_apart(tier: str) -> bool:
    """Whether a tier is never billed at the standard rate."""
    return tier.lower() in _SOLD_APART


_NO_SHEETS: Final[list[Sheet]] = []

# Names and tiers come from outside: an app that makes them up must not fill memory.
_MAX_STEADY: Final = 4_096


@dataclass(slots=True)
class _Candidates:
    """Sheets that may price one model name: the user's own, and the list's by pattern."""

    own: list[Sheet] = field(default_factory=list[Sheet])
    listed: list[list[Sheet]] = field(default_factory=list[list[Sheet]])

    def holding(self, moment: datetime) -> tuple[dict[str, Sheet], dict[str, Sheet]]:
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


def _by_tier(sheets: list[Sheet]) -> dict[str, Sheet]:
    return {sheet.first.tier: sheet for sheet in reversed(sheets)}


class PriceBook:
    """Price sheets of some providers, found by model name, day and tier.

    The user's own sheets come first: among them the one with the lowest `match_order`. A tier the
    user named no price for keeps the list's, where the list has one.
    """

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        self._sheets: dict[str, Sheet] = {}
        for row in rows:
            self._sheets.setdefault(row.price_id, Sheet(row)).add(row)
        for sheet in self._sheets.values():
            sheet.seal()
        self._steady: dict[tuple[str, str, str], tuple[Sheet, datetime | None, datetime]] = {}
        self._patterns: defaultdict[str, list[tuple[str, list[Sheet]]]] = defaultdict(list)
        self._found: dict[tuple[str, str], _Candidates] = {}
        by_pattern: defaultdict[tuple[str, str, bool], list[Sheet]] = defaultdict(list)
        for sheet in sorted(self._sheets.values(), key=_order):
            first = sheet.first
            by_pattern[first.provider, first.model_pattern, first.is_own].append(sheet)
        for (provider, pattern, _), group in by_pattern.items():
            self._patterns[provider].append((pattern, group))

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
            return compute(sheet, tokens)
        return rates.cost(tokens) or compute(sheet, tokens)

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
        cost = compute(self._sheets[price_id], tokens, lines)
        return cost, tuple(lines)

    def _sheet(self, provider: str, model: str, moment: datetime, tier: str) -> Sheet | None:
        moment = moment.astimezone(timezone.utc)
        candidates = self._candidates(provider, model)
        own, listed = candidates.holding(moment)
        for names in _tiers(tier):
            for book in (own, listed):
                found = next((book[name] for name in names if name in book), None)
                if found is not None:
                    steady = candidates.steady_around(moment)
                    if steady is not None and len(self._steady) < _MAX_STEADY:
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
            if len(self._found) >= _MAX_STEADY:
                self._found.clear()
            self._found[key] = next(filter(None, matches), _Candidates())
        return self._found[key]

    def _match(self, provider: str, name: str) -> _Candidates | None:
        groups = [g for pattern, g in self._patterns.get(provider, ()) if search(pattern, name)]
        own = [sheet for group in groups for sheet in group if sheet.first.is_own]
        listed = [group for group in groups if not group[0].first.is_own]
        return _Candidates(sorted(own, key=_order), listed) if groups else None


def _order(sheet: Sheet) -> tuple[int, str]:
    return sheet.first.match_order, sheet.first.price_id


def plain_usd(amount: Decimal) -> str:
    """All digits of an amount, without an exponent or trailing zeros: `0.00275`."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tiers(told: str) -> tuple[tuple[str, str], ...]:
    """Names of the sheets that may hold, best first: the tier's own, then the standard ones."""
    tier, at, geo = told.lower().partition(_AT)
    wanted = STANDARD_TIER if tier in _STANDARD_NAMES else tier
    own, standard = (f"{wanted}{at}{geo}", wanted), (f"{STANDARD_TIER}{at}{geo}", STANDARD_TIER)
    if is_sold_apart(wanted):
        return (own,)
    # Any other tier or place that nobody prices apart is billed at the standard rate.
    return (own, standard) if wanted != STANDARD_TIER else (standard,)
