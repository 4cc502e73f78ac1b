"""Compares the price book with a second public price list, LiteLLM's, and lists where they differ.

The second list is a file: `model_prices_and_context_window.json` of LiteLLM's repository, or the
copy in its package (format of LiteLLM 1.110.2, read 2026-11-28). Nothing is downloaded. Differences
that were judged are in `judged_differences.json`, each with the verdict, its source and its day.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date  # noqa: TC003 - msgspec reads the annotations
from decimal import Decimal
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import msgspec

from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.book import STANDARD_TIER, plain_usd
from tokenledger_exporter.pricing.price_row import MONEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from tokenledger_exporter.pricing.book import PriceBook
    from tokenledger_exporter.pricing.price_row import PriceRow

_JUDGED: Final = Path(__file__).with_name("judged_differences.json")
_PACKAGE: Final = "litellm"
_PACKAGE_FILE: Final = "model_prices_and_context_window_backup.json"

DIFFERENCE_COLUMNS: Final = (
    *("provider", "model", "kind", "tier", "above_input_tokens", "ours", "theirs", "ratio"),
    "verdict",
)

# The list's field -> our kind; a tier and a threshold follow in the name.
_KINDS: Final[Mapping[str, str]] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "input_audio",
    "output_cost_per_audio_token": "output_audio",
    "output_cost_per_image_token": "output_image",
}
_TIERS: Final[Mapping[str, str]] = {
    "": STANDARD_TIER,
    "_batches": "batch",
    "_flex": "flex",
    "_priority": "priority",
}
_FIELD: Final = re.compile(
    rf"({'|'.join(sorted(_KINDS, key=len, reverse=True))})"
    r"(?:_above_(\d+)k_tokens)?(_batches|_flex|_priority)?"
)
# Names with a region (`bedrock/eu-west-1/...`, `azure/eu/...`): the book has no prices of these.
_REGIONAL: Final = re.compile(r"(?:bedrock|azure)/(?:[a-z]{2}(?:-gov)?-[a-z]+-\d|eu|us|global)")
_VERTEX: Final = "vertex_ai-"
_THOUSAND: Final = 1_000
_MILLION: Final = Decimal(1_000_000)
# Lists round: a difference of less than one percent is none.
_SAME: Final = Decimal("1.01")
_RATIO: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Difference:
    """One price that two lists disagree about, in US dollars per million tokens."""

    provider: str
    model: str
    kind: str
    tier: str
    above_input_tokens: int
    ours: Decimal
    theirs: Decimal

    @property
    def factor(self) -> Decimal:
        """How many times the lower price the higher one is."""
        higher, lower = max(self.ours, self.theirs), min(self.ours, self.theirs)
        return MONEY.divide(higher, lower)

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What the price is for."""
        return (self.provider, self.model, self.kind, self.tier, self.above_input_tokens)


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """Differences with one verdict.

    Args:
        verdict: which list is right: `ours`, `theirs` or `unknown`.
        reason: why, as a sentence.
        source: where that is written.
        checked: the day it was judged.
        prices: model, kind and tier and threshold, our price and theirs, as text; other prices of
            the same model are a new difference.
    """

    verdict: str
    reason: str
    source: str
    checked: date
    provider: str
    prices: tuple[str, ...]


@cache
def judged_differences() -> tuple[Judged, ...]:
    """Every judged difference."""
    return msgspec.json.decode(_JUDGED.read_bytes(), type=tuple[Judged, ...])


def price_text(difference: Difference) -> str:
    """A difference as `judged_differences.json` has it."""
    above = f" above {difference.above_input_tokens}" if difference.above_input_tokens else ""
    return (
        f"{difference.model} {difference.kind} {difference.tier}{above}: "
        f"{plain_usd(difference.ours)} {plain_usd(difference.theirs)}"
    )


def verdict_on(difference: Difference) -> str:
    """The verdict on a difference with exactly these prices; "" if it was not judged."""
    return _verdicts().get((difference.provider, price_text(difference)), "")


@cache
def _verdicts() -> Mapping[tuple[str, str], str]:
    return {
        (judged.provider, text): f"{judged.verdict}: {judged.reason}"
        for judged in judged_differences()
        for text in judged.prices
    }


def read_list(path: str | None) -> dict[str, dict[str, object]]:
    """The models of a list.

    Args:
        path: the file; `None` is the one in the installed `litellm` package.

    Raises:
        InvalidRequestError: there is no such file, or it has another format.
    """
    file = _package_file() if path is None else Path(path)
    try:
        document: object = json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise InvalidRequestError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{file} is not valid JSON: {error}") from None
    models = cast("dict[str, object]", document) if isinstance(document, dict) else {}
    entries = {
        name: cast("dict[str, object]", entry)
        for name, entry in models.items()
        if isinstance(entry, dict) and "litellm_provider" in entry
    }
    if not entries:
        raise InvalidRequestError(
            f"{file} has no models: give LiteLLM's model_prices_and_context_window.json"
        )
    return entries


def _package_file() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise InvalidRequestError(
            "no second list: give one with --against FILE (LiteLLM's "
            "model_prices_and_context_window.json), or install the litellm package"
        )
    return Path(spec.origin).with_name(_PACKAGE_FILE)


def differences(
    models: Mapping[str, Mapping[str, object]],
    prices_of: Callable[[str], PriceBook],
    moment: datetime,
) -> list[Difference]:
    """Where a list and the price book disagree, the largest difference first.

    Args:
        models: the list, as `read_list` returns it.
        prices_of: returns a provider's price book.
        moment: time of the prices.
    """
    every = {
        difference.key: difference
        for name, entry in models.items()
        if not _REGIONAL.match(name)
        for difference in _of_model(name, entry, prices_of, moment)
    }
    return sorted(every.values(), key=lambda d: (-d.factor, d.key))


def _of_model(
    name: str,
    entry: Mapping[str, object],
    prices_of: Callable[[str], PriceBook],
    moment: datetime,
) -> Iterator[Difference]:
    label = str(entry["litellm_provider"])
    provider = ledger_name("vertex_ai" if label.startswith(_VERTEX) else label)
    model, book = _own_name(name, label), prices_of(provider)
    for kind, tier, above, theirs in _rates(entry):
        ours = _listed(book.sheet(provider, model, moment, tier), kind, tier, above)
        if ours and max(ours, theirs) >= min(ours, theirs) * _SAME:
            yield Difference(provider, model, kind, tier, above, ours, theirs)


def _own_name(name: str, label: str) -> str:
    """The name as the provider has it: LiteLLM writes its own name of the provider before it."""
    prefix, slash, rest = name.partition("/")
    is_provider = ledger_name(prefix) == ledger_name(label.partition("-")[0]) or prefix == label
    return rest if slash and is_provider else name


def _rates(entry: Mapping[str, object]) -> Iterator[tuple[str, str, int, Decimal]]:
    """Kind, tier, threshold and price per million of every price that is not 0."""
    for field, value in entry.items():
        match = _FIELD.fullmatch(field)
        if match is not None and isinstance(value, Decimal | int) and value:
            usd = MONEY.multiply(Decimal(value), _MILLION)
            yield _KINDS[match[1]], _TIERS[match[3] or ""], int(match[2] or 0) * _THOUSAND, usd


def _listed(sheet: Iterable[PriceRow], kind: str, tier: str, above: int) -> Decimal | None:
    """The sheet's price per million tokens, if it has its own for the tier and threshold."""
    for row in sheet:
        if (row.kind, row.tier, row.above_input_tokens) == (kind, tier, above):
            return MONEY.divide(MONEY.multiply(row.usd, _MILLION), Decimal(row.per))
    return None


def shown(difference: Difference) -> dict[str, str | int | None]:
    """A difference as a row of `DIFFERENCE_COLUMNS`."""
    return {
        "provider": difference.provider,
        "model": difference.model,
        "kind": difference.kind,
        "tier": difference.tier,
        "above_input_tokens": difference.above_input_tokens,
        "ours": plain_usd(difference.ours),
        "theirs": plain_usd(difference.theirs),
        "ratio": plain_usd(MONEY.divide(difference.ours, difference.theirs).quantize(_RATIO)),
        "verdict": verdict_on(difference) or None,
    }
