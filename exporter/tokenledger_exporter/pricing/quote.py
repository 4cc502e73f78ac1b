"""Quotes: what given token counts would cost, with or without a database."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, time, timezone
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, cast

from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_exporter.domain.time_expressions import parse_moment
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.book import plain_usd, tier_at
from tokenledger_exporter.pricing.charge import quote_note
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenledger_exporter.pricing.book import PriceBook

_VECTOR: Final = TokenVector._fields
_READ, _WRITE_5M, _WRITE_1H = "cache_read", "cache_write_5m", "cache_write_1h"
_FIELDS: Final = (
    *("provider", "model", "on", "processing", "service_tier", "inference_geo"),
    *("input_tokens", _READ, _WRITE_5M, _WRITE_1H),
    *(name for name in _VECTOR if name != "input_tokens"),
)
_LABELS: Final = frozenset({"id", "label", "shape", "cost_usd"})
# As providers call them.
_OTHER_NAMES: Final = {"prompt_tokens": ["input_tokens"], "completion_tokens": ["output_tokens"]}
_NOON: Final = time(12, tzinfo=timezone.utc)
_DAY_LENGTH: Final = len("2026-11-22")


@dataclass(frozen=True, slots=True)
class QuoteRequest:
    """The usage to quote: provider, model, time, tier and counts."""

    provider: str
    model: str
    moment: datetime
    tier: str
    tokens: TokenVector


@dataclass(frozen=True, slots=True)
class Quote:
    """A quote; `cost_usd` is `None` if there is no price, and `note` says why."""

    cost_usd: str | None
    price_id: str
    note: str = ""

    def as_json(self) -> str:
        """One line of JSON."""
        fields: dict[str, str | None] = {"cost_usd": self.cost_usd, "price_id": self.price_id}
        return json.dumps(fields | {"note": self.note} if self.note else fields)


def read_shape(line: str) -> QuoteRequest:
    """The usage in one line of JSON.

    Fields: `provider`, `model`, `on` (a day or a time, UTC; default: now), `processing` (the tier),
    `input_tokens` (cached ones included), `cache_read`, `cache_write_5m`, `cache_write_1h`,
    `output_tokens`, and every other count of the token vector. `service_tier` is another name for
    `processing`. Labels of your own (`id`, `label`, `shape`, an expected `cost_usd`) are ignored.

    Raises:
        InvalidRequestError: the line is not such an object, or has another field.
    """
    try:
        document: object = json.loads(line, parse_float=str, parse_constant=str)
    except ValueError as error:
        raise InvalidRequestError(f"not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidRequestError("the JSON is nested too deep") from None
    if not isinstance(document, dict):
        raise InvalidRequestError("not a JSON object")
    fields = cast("dict[str, object]", document)
    _check_names(fields)
    names = {name: fields.get(name) for name in ("provider", "model")}
    for name, value in names.items():
        if not isinstance(value, str) or not value:
            raise InvalidRequestError(f"{name} is missing")
    if nested := [name for name, value in fields.items() if isinstance(value, (dict, list))]:
        raise InvalidRequestError(f"{', '.join(nested)} must be a string or a number")
    tier = str(fields.get("processing") or fields.get("service_tier") or "")
    return QuoteRequest(
        provider=ledger_name(str(names["provider"])),
        model=str(names["model"]),
        moment=quoted_moment(str(fields.get("on") or "now")),
        tier=tier_at(tier, str(fields.get("inference_geo") or "")),
        tokens=_tokens(fields),
    )


def quote(shape: QuoteRequest, prices_of: Callable[[str], PriceBook]) -> Quote:
    """The quote of a usage.

    Args:
        shape: the usage.
        prices_of: returns a provider's price book.
    """
    if faults := shape.tokens.faults():
        return Quote(None, "", "; ".join(faults))
    book = prices_of(shape.provider)
    cost = book.cost(shape.provider, shape.model, shape.moment, shape.tier, shape.tokens)
    if cost is None:
        return Quote(None, "", f"no price for {shape.model} at {shape.provider}")
    missing = f"no price for {', '.join(cost.unpriced_kinds)}" if cost.unpriced_kinds else ""
    if missing and not cost.total_usd:
        return Quote(None, cost.price_id, missing)
    sheet = book.sheet(shape.provider, shape.model, shape.moment, shape.tier)
    doubt = quote_note(shape.provider, shape.model, shape.tier, sheet[0].tier)
    note = "; ".join(filter(None, (missing, doubt, cost.unknown_usage)))
    return Quote(plain_usd(cost.total_usd), cost.price_id, note)


def _check_names(fields: Mapping[str, object]) -> None:
    """Refuse a field that is not known: a count under a wrong name would be missing in the cost."""
    for name in fields:
        if name not in _FIELDS and name not in _LABELS:
            close = _OTHER_NAMES.get(name) or get_close_matches(name, _FIELDS, 1)
            remedy = f"did you mean {close[0]}?" if close else f"use {', '.join(_FIELDS)}"
            raise InvalidRequestError(f"unknown field {name!r}; {remedy}")


def _tokens(fields: dict[str, object]) -> TokenVector:
    counts = {name: _count(fields, name) for name in _VECTOR}
    read, minutes, hours = (_count(fields, name) for name in (_READ, _WRITE_5M, _WRITE_1H))
    if read is not None:
        counts["cached_tokens"] = read
    if minutes is not None or hours is not None:
        counts["cache_write_tokens"] = (minutes or 0) + (hours or 0)
        counts["cache_write_1h_tokens"] = hours or 0
    return TokenVector(**counts)


def _count(fields: dict[str, object], name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidRequestError(f"{name} must be an integer of at least 0, not {value!r}")
    return value


def quoted_moment(text: str) -> datetime:
    """The time that a day or a time means; a day means noon UTC: some prices differ by the hour."""
    moment = parse_moment(text)
    is_day = len(text) == _DAY_LENGTH or text == "today"
    return datetime.combine(moment, _NOON) if is_day else moment
