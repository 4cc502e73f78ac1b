"""Splits an Anthropic call that bills several models, and drops what is counted but not billed.

Anthropic can run several models in one call: an advisor that the model consults, and models that
decline before another one answers. `usage.iterations` lists what is billed, each at the rates of
the model that ran; the top-level counts are those of the answering model alone. A model that
declines before any output is billed only in some policy areas. Ref: Anthropic's "Advisor tool"
(usage and billing), "Refusals and fallback" (billing and rate limits, how refusals are billed) and
its release notes of 2026-09-24, read 2026-11-26 in copies of September and October.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

import msgspec

from tokenledger_exporter.dialects.usage_json import counts_of, parsed
from tokenledger_semconv import attributes
from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.anthropic import iterations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenledger_exporter.dialects import CallFacts
    from tokenledger_exporter.dialects.usage_json import JsonObject

_ITERATIONS: Final = "iterations"
_ADVISOR, _ATTEMPT, _ANSWER = "advisor_message", "message", "fallback_message"
_BATCH: Final = "batch"
# The page says that the billed categories may change; a category it does not list is not billed.
_BILLED_BEFORE_OUTPUT: Final = frozenset({"bio", "frontier_llm", "reasoning_extraction"})
_BILLED_SINCE: Final = datetime(2026, 9, 24, tzinfo=timezone.utc)


def parts_of(call: CallFacts, started: datetime) -> Sequence[CallFacts]:
    """The call as it is billed, followed by the parts that are billed at other models' rates.

    Args:
        call: the call.
        started: when it began, with a time zone.
    """
    has_iterations = call.usage is not None and _ITERATIONS in call.usage
    if not has_iterations and attributes.ANTHROPIC_REFUSALS not in call.details:
        return (call,)
    declined = _declined(call)
    entries = iterations(parsed(call.usage or ""))
    answering = _model_of([entry for entry in entries if entry.get("type") == _ANSWER])
    if answering and answering != call.model:
        call = msgspec.structs.replace(call, model=answering)
    if call.tokens.output_tokens == 0 and _ended_in_refusal(call):
        category = declined[-1] if declined else ""
        if not _is_billed_before_output(category, started):
            call = msgspec.structs.replace(call, refused=True, missing_usage="")
    return (call, *_other_models(call, entries, answering, declined, started))


def _other_models(
    call: CallFacts,
    entries: Sequence[JsonObject],
    answering: str,
    declined: Sequence[str],
    started: datetime,
) -> Iterator[CallFacts]:
    """The billed entries that the call's own counts do not include."""
    # The models that declined, in order. A model that declines after several turns has several.
    tried: list[str] = []
    for entry in entries:
        kind, model = entry.get("type"), _model_of([entry])
        if not model:
            continue
        if kind == _ADVISOR:
            # A service tier applies to the requested model only; a batch applies to all models.
            tier = _BATCH if call.service_tier == _BATCH else ""
            yield _part(call, entry, model, tier)
        elif kind == _ATTEMPT and answering and model != answering:
            if not tried or tried[-1] != model:
                tried.append(model)
            place = len(tried) - 1
            category = declined[place] if place < len(declined) else ""
            if entry.get("output_tokens") or _is_billed_before_output(category, started):
                yield _part(call, entry, model, call.service_tier)


def _part(call: CallFacts, entry: JsonObject, model: str, tier: str) -> CallFacts:
    tokens = TokenVector(**counts_of(entry))
    return call.part(str(entry["type"]), model, tokens, entry, operation=call.operation, tier=tier)


def _model_of(entries: Sequence[JsonObject]) -> str:
    """The model of the last of some entries; "" if there is none."""
    model = entries[-1].get("model") if entries else None
    return model if isinstance(model, str) else ""


def _declined(call: CallFacts) -> list[str]:
    categories = call.details.get(attributes.ANTHROPIC_REFUSALS)
    return categories if isinstance(categories, list) else []


def _ended_in_refusal(call: CallFacts) -> bool:
    return call.details.get(attributes.FINISH_REASONS) == ["refusal"]


def _is_billed_before_output(category: str, started: datetime) -> bool:
    return category in _BILLED_BEFORE_OUTPUT and started >= _BILLED_SINCE
