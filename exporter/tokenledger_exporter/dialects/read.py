"""The one reading function: a span's attributes walked once, in its own dialect, into call facts.

Counts come out as the contract's token vector, whatever the emitter's convention.
"""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, cast

import msgspec

from tokenledger_exporter.dialects.attribution import (
    add_metadata,
    attributed,
    keep_key,
    metadata_text,
)
from tokenledger_exporter.dialects.bounds import MAX_WORD_LETTERS, bounded
from tokenledger_exporter.dialects.call import CallFacts, missing_usage
from tokenledger_exporter.dialects.dialect import COUNT, OTHERS, TEXTS, Draft, SpanFacts
from tokenledger_exporter.dialects.fast_path import told_plainly
from tokenledger_exporter.dialects.operations import BILLABLE_OPERATIONS, billed_operation
from tokenledger_exporter.dialects.registry import dialect_of
from tokenledger_exporter.dialects.usage_json import counts_of, parsed, reduced
from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_semconv import attributes
from tokenledger_semconv.families import provider_of
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.dialects.dialect import Dialect
    from tokenledger_exporter.domain.span_record import AttributeValue, SpanRecord, SpoolHeader

# Anthropic's fast mode has its own prices, and no batches (Anthropic, "Fast mode", 2026-11-22).
_FAST, _BATCH = "fast", "batch"
_LONGEST_SECONDS: Final = 86_400.0
# All facts of a call that are texts, but its usage object.
_NAMES: Final = len(TEXTS) - 1

# A reported cost beyond these powers of ten is no bill of one call, and no number to store.
_COST_EXPONENTS: Final = range(-30, 12)

# How the openai and anthropic SDKs name an answer of 4xx (3.57 and 2.14, read 2026-11-25): few
# emitters tell the status.
_REFUSALS: Final = frozenset(
    {
        *("BadRequestError", "AuthenticationError", "PermissionDeniedError", "NotFoundError"),
        *("ConflictError", "RequestTooLargeError", "UnprocessableEntityError", "RateLimitError"),
    }
)
_REFUSED_FROM, _REFUSED_TO = 400, 499
_REQUEST_TIMED_OUT = 408


def read_call(record: SpanRecord, header: SpoolHeader) -> CallFacts | None:
    """The call a span tells of; `None` if the span is none that a provider bills."""
    found = record.attributes
    dialect, is_exclusive = dialect_of(record.scope, found)
    if dialect.is_told_twice is not None and dialect.is_told_twice(found, record.failed):
        return None
    told = None if record.failed else told_plainly(dialect, found)
    if told is None:
        told = _told(dialect, record)
    operation = _operation(dialect, told)
    if not operation:
        return None
    tokens = told.tokens
    # Our own emitters count inclusively: there, cached above input is a fault to be shown.
    if not dialect.trusted:
        tokens = _with_cached(tokens, is_exclusive=is_exclusive)
    return _facts(record, header, dialect, told, (operation, tokens))


def _told(dialect: Dialect, record: SpanRecord) -> SpanFacts:
    """What any span tells: walked, mended and completed."""
    draft = _walk(dialect, record.attributes)
    usage = _read_usage(draft) if draft.usage else None
    if dialect.mend is not None:
        dialect.mend(draft)
    counts, values = draft.counts, draft.values
    _complete(counts, failed=record.failed)
    texts = [_text(values, name) for name in TEXTS]
    error_type = texts[TEXTS.index("error_type")]
    return SpanFacts(
        TokenVector(**counts),
        bool(counts),
        texts,
        [values.get(name) for name in OTHERS],
        {column: _text(draft.columns, column) for column in draft.columns},
        draft.details,
        {key: metadata_text(value) for key, value in draft.metadata.items()},
        usage,
        record.failed and not counts and _is_refusal(values, error_type),
    )


def _facts(
    record: SpanRecord,
    header: SpoolHeader,
    dialect: Dialect,
    told: SpanFacts,
    read: tuple[str, TokenVector],
) -> CallFacts:
    """The facts of a call, of what its span tells; `read` is its operation and its tokens."""
    (operation, tokens), refused, metadata = read, told.refused, told.metadata
    texts = told.texts
    if max(map(len, texts[:_NAMES])) > MAX_WORD_LETTERS:
        texts, operation = bounded(texts), operation[:MAX_WORD_LETTERS]
    _, provider, model, request_model, response_id, error_type, tier, speed, geo, usage = texts
    seconds, estimated, cost = told.others
    model = model or request_model
    # By position, in the order of the fields: by name, it takes twice as long.
    return CallFacts(
        _provider(dialect, provider, model),
        model,
        request_model,
        operation,
        response_id,
        tokens,
        "" if refused else missing_usage(operation, tokens),
        refused,
        record.failed,
        error_type,
        _service_tier(tier, speed),
        _first_chunk_ms(seconds),
        told.usage or _json_object(usage),
        estimated is True,
        None if cost is None else _reported_cost(cost),
        geo,
        _details(told.details, record.resource),
        attributed(told.columns, metadata, record.resource, header),
        metadata,
    )


def _walk(dialect: Dialect, found: Mapping[str, AttributeValue]) -> Draft:
    """Every attribute looked up once in the dialect's table."""
    draft = Draft({}, {}, {}, {}, {}, {})
    counts, slots = draft.counts, dialect.slots
    others = (draft.values, draft.values, draft.columns, draft.details, draft.metadata, draft.usage)
    for attribute, value in found.items():
        slot = slots.get(attribute)
        if slot is None:
            add_metadata(draft, dialect, attribute, value)
            continue
        group, name, wins = slot
        if group == COUNT:
            # Nearly every count is a plain integer: it pays no call.
            count = value if type(value) is int and 0 <= value < 2**63 else _count(value)
            if count is not None and (wins or name not in counts):
                counts[name] = count
        elif value != "":
            target = others[group]
            if wins or name not in target:
                target[name] = value
    return draft


def _read_usage(draft: Draft) -> str | None:
    """What a usage object tells is the provider's own word: it stands against the emitter's."""
    for key, value in parsed(_text(draft.usage, "metadata")).items():
        if isinstance(value, str | int | float):
            keep_key(draft, key, str(value))
    for side in ("input", "output"):
        part = parsed(_text(draft.usage, f"{side}_details"))
        for name, count in counts_of({"input_tokens": None, f"{side}_token_details": part}).items():
            draft.counts.setdefault(name, count)
    usage = reduced(_text(draft.usage, "provider"))
    if not usage:
        return None
    found = parsed(usage)
    draft.counts.update(counts_of(found))
    for word in ("service_tier", "inference_geo", "speed"):
        if isinstance(value := found.get(word), str):
            draft.values.setdefault(word, value)
    return usage


def _complete(counts: dict[str, int], *, failed: bool) -> None:
    """Counts that follow from others, and one that a failure makes worthless."""
    if failed and "input_tokens" not in counts and "output_tokens" not in counts:
        # The request's own length does not tell whether a failed call was billed.
        counts.pop("input_characters", None)
    shorter = counts.pop("cache_write_5m_tokens", None)
    if shorter is not None and "cache_write_tokens" not in counts:
        counts["cache_write_tokens"] = shorter + counts.get("cache_write_1h_tokens", 0)
    if "cached_tokens" not in counts:
        media = [
            counts[name]
            for name in ("cached_audio_tokens", "cached_image_tokens")
            if name in counts
        ]
        if media:
            counts["cached_tokens"] = sum(media)


def _with_cached(tokens: TokenVector, *, is_exclusive: bool) -> TokenVector:
    """Bring input into the contract's shape.

    Cached counts that exceed input prove an emitter that leaves them out of it, whatever its scope.
    """
    cached = (tokens.cached_tokens or 0) + (tokens.cache_write_tokens or 0)
    told = tokens.input_tokens
    if told is not None and cached and (is_exclusive or cached > told):
        return tokens._replace(input_tokens=told + cached)
    return tokens


def _operation(dialect: Dialect, told: SpanFacts) -> str:
    """The conventions' name of the operation; "" if it is none a provider bills."""
    name = told.texts[0]
    if dialect.trusted:
        # What our own emitters tell of is a call, whatever the app names it.
        return name or ("chat" if told.is_counted else "")
    if not name:
        return dialect.operation if told.is_counted else ""
    if dialect.operations:
        # An emitter with names of its own is known to use no others for its calls.
        named = dialect.operations.get(name, name)
        return named if named in BILLABLE_OPERATIONS else ""
    _, _, model, request_model, *_ = told.texts
    is_counted = told.tokens.total_tokens is not None and bool(model or request_model)
    return billed_operation(name, is_counted=is_counted)


def _details(
    told: dict[str, AttributeValue], resource: Mapping[str, str]
) -> dict[str, AttributeValue]:
    """The details a span tells; JSON has no NaN and no infinity, so such a number is left out."""
    if attributes.SDK_VERSION in resource:
        told.setdefault(attributes.SDK_VERSION, resource[attributes.SDK_VERSION])
    if float in map(type, told.values()):
        for name in [name for name, value in told.items() if type(value) is float]:
            if not math.isfinite(cast("float", told[name])):
                del told[name]
    return told


def _count(value: AttributeValue | None) -> int | None:
    """A whole, non-negative count; anything else is not one, and missing is not zero."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # A greater number stays as one that no call can have, and the row says so.
    return min(value, 2**63 - 1) if isinstance(value, int) and value >= 0 else None


def _first_chunk_ms(seconds: AttributeValue | None) -> float | None:
    """Milliseconds until the first chunk; None of what is no time within a day."""
    if isinstance(seconds, float) and 0 <= seconds <= _LONGEST_SECONDS:
        return seconds * 1000
    return None


def _service_tier(tier: str, speed: str) -> str:
    is_fast = speed.lower() == _FAST
    return _FAST if is_fast and tier.lower() != _BATCH else tier


def _reported_cost(value: AttributeValue | None) -> Decimal | None:
    """A cost the provider reports, exact as it is written; anything that is no amount is none."""
    if value is None or isinstance(value, bool | list):
        return None
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        return None
    if cost.is_finite() and not cost:
        # A zero may come with a sign and any exponent.
        return Decimal(0)
    fits = cost.is_finite() and cost > 0 and cost.adjusted() in _COST_EXPONENTS
    return cost if fits else None


def _is_refusal(values: Mapping[str, AttributeValue], error_type: str) -> bool:
    status = values.get("status")
    if not isinstance(status, int):
        if not error_type.isdigit():
            return error_type.rpartition(".")[2] in _REFUSALS
        status = int(error_type)
    return _REFUSED_FROM <= status <= _REFUSED_TO and status != _REQUEST_TIMED_OUT


def _provider(dialect: Dialect, given: str, model: str) -> str:
    if given in dialect.no_providers:
        given = ""
    return ledger_name(given or provider_of(model))


def _text(found: Mapping[str, AttributeValue], key: str) -> str:
    value = found.get(key, "")
    return value if isinstance(value, str) else str(value)


def _json_object(text: str) -> str | None:
    """JSON text of an object jsonb can hold, or None: a foreign string must not poison the row.

    Written again by us, so that what Python reads and Postgres does not (NaN, an escaped lone
    surrogate, numbers beyond jsonb's range) cannot reach the database.
    """
    if not text.startswith("{"):
        return None
    try:
        return msgspec.json.encode(msgspec.json.decode(text)).decode()
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None
