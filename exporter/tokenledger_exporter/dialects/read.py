"""Reads a span's attributes, by the table of its dialect, into the fields of a call.

The counts have the shape of the contract's token vector, whatever the emitter's convention.
"""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, cast

import msgspec

from tokenledger_exporter.dialects.attribution import (
    add_key,
    add_metadata,
    attribution_columns,
    metadata_text,
)
from tokenledger_exporter.dialects.bounds import MAX_WORD_LETTERS, bounded
from tokenledger_exporter.dialects.call import CallFacts, missing_usage
from tokenledger_exporter.dialects.dialect import (
    COST_AMOUNT,
    COUNT,
    OTHERS,
    TEXTS,
    RawFields,
    SpanFields,
)
from tokenledger_exporter.dialects.fast_path import read_plain
from tokenledger_exporter.dialects.operations import BILLABLE_OPERATIONS, billed_operation
from tokenledger_exporter.dialects.registry import dialect_of
from tokenledger_exporter.dialects.totals import CallKind, held_to_total
from tokenledger_exporter.dialects.usage_json import (
    add_cost,
    add_usage_object,
    counts_of,
    parsed,
    usage_text,
)
from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_semconv import attributes
from tokenledger_semconv.model_providers import provider_of
from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.reported_cost import REPORTING_PROVIDERS
from tokenledger_semconv.usage.unread import joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.dialects.dialect import Dialect
    from tokenledger_exporter.domain.span_record import AttributeValue, SpanRecord, SpoolHeader

# Anthropic's fast mode has its own prices, and no batches (Anthropic, "Fast mode", 2026-11-22).
_FAST, _BATCH = "fast", "batch"
_MAX_SECONDS: Final = 86_400.0
# The text values of a call except its usage object.
_NAMES: Final = len(TEXTS) - 1

# A reported cost of a million dollars or more cannot be that of one call, whose counts are bounded,
# too. Any sender may report one, and it is the cost of a call that has no price.
_COST_EXPONENTS: Final = range(-30, 6)

# Exceptions of the openai and anthropic SDKs for 4xx responses (3.57 and 2.14, read 2026-11-25).
# Few emitters report the status.
_REFUSALS: Final = frozenset(
    {
        *("BadRequestError", "AuthenticationError", "PermissionDeniedError", "NotFoundError"),
        *("ConflictError", "RequestTooLargeError", "UnprocessableEntityError", "RateLimitError"),
    }
)
# Some emitters write every value as text.
_MAX_DIGITS: Final = 18
_REFUSED_FROM, _REFUSED_TO = 400, 499
_REQUEST_TIMED_OUT = 408


def read_call(record: SpanRecord, header: SpoolHeader) -> CallFacts | None:
    """The call that a span reports; `None` if it is not a call that a provider bills."""
    span_attributes = record.attributes
    dialect, is_exclusive = dialect_of(record.scope, span_attributes)
    if dialect.is_repeat is not None and dialect.is_repeat(span_attributes, record.failed):
        return None
    fields = None if record.failed else read_plain(dialect, span_attributes)
    if fields is None:
        fields = _read_any(dialect, record)
    operation = _operation(dialect, fields)
    if not operation:
        return None
    tokens = fields.tokens
    # Input of our own emitters includes cached tokens: more cached than input is an error to show.
    if not dialect.trusted:
        tokens = _with_cached(tokens, is_exclusive=is_exclusive)
    if fields.total_tokens is not None or (tokens.reasoning_tokens or 0) > (
        tokens.output_tokens or 0
    ):
        tokens = _held_to_total(dialect, fields, operation, tokens)
    return _call_facts(record, header, dialect, fields, (operation, tokens))


def _read_any(dialect: Dialect, record: SpanRecord) -> SpanFields:
    """The fields of any span: read attribute by attribute, adjusted and completed."""
    raw = _read_attributes(dialect, record.attributes)
    usage = _read_usage(raw) if raw.usage else None
    if dialect.adjust is not None:
        dialect.adjust(raw)
    counts, values = raw.counts, raw.values
    if COST_AMOUNT in values:
        _add_conventions_cost(raw)
    _complete(counts, failed=record.failed)
    is_counted, total_tokens = bool(counts), counts.pop("total_tokens", None)
    texts = [_text(values, name) for name in TEXTS]
    error_type = texts[TEXTS.index("error_type")]
    return SpanFields(
        TokenVector(**counts),
        is_counted,
        texts,
        [values.get(name) for name in OTHERS],
        {column: _text(raw.columns, column) for column in raw.columns},
        raw.details,
        {key: metadata_text(value) for key, value in raw.metadata.items()},
        usage,
        record.failed and not counts and _is_refusal(raw, error_type),
        total_tokens,
    )


def _held_to_total(
    dialect: Dialect, fields: SpanFields, operation: str, tokens: TokenVector
) -> TokenVector:
    """The counts, held to the reported total; what stays unknown becomes a detail of the call."""
    _, provider, model, request_model, *_ = fields.texts
    name = model or request_model
    provider = _provider(dialect, provider, name)
    kind = CallKind(provider, name, operation, dialect.gemini_surplus)
    tokens, unknown = held_to_total(tokens, fields.total_tokens, kind)
    if unknown:
        known = fields.details.get(attributes.UNKNOWN_USAGE)
        fields.details[attributes.UNKNOWN_USAGE] = joined(known, unknown)
    return tokens


def _call_facts(
    record: SpanRecord,
    header: SpoolHeader,
    dialect: Dialect,
    fields: SpanFields,
    operation_and_tokens: tuple[str, TokenVector],
) -> CallFacts:
    """The call of a span, from the span's fields and the call's operation and tokens."""
    (operation, tokens), refused, metadata = operation_and_tokens, fields.refused, fields.metadata
    texts = fields.texts
    if max(map(len, texts[:_NAMES])) > MAX_WORD_LETTERS:
        texts, operation = bounded(texts), operation[:MAX_WORD_LETTERS]
    _, provider, model, request_model, response_id, error_type, tier, speed, geo, usage = texts
    seconds, estimated, cost = fields.others
    model = model or request_model
    provider = _provider(dialect, provider, model)
    # Positional arguments, in the order of the fields: keywords take twice as long.
    return CallFacts(
        provider,
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
        fields.usage or _json_object(usage),
        estimated is True,
        None if cost is None else _reported_cost(cost, provider, fields.details),
        geo,
        _details(fields.details, record.resource),
        attribution_columns(fields.columns, metadata, record, header),
        metadata,
    )


def _read_attributes(dialect: Dialect, span_attributes: Mapping[str, AttributeValue]) -> RawFields:
    """Look up every attribute once in the dialect's table."""
    raw = RawFields({}, {}, {}, {}, {}, {})
    counts, fields = raw.counts, dialect.fields
    others = (raw.values, raw.values, raw.columns, raw.details, raw.metadata, raw.usage)
    for attribute, value in span_attributes.items():
        field = fields.get(attribute)
        if field is None:
            add_metadata(raw, dialect, attribute, value)
            continue
        group, name, is_primary = field
        if group == COUNT:
            # Nearly every count is a plain integer, which needs no call.
            count = value if type(value) is int and 0 <= value < 2**63 else _count(value)
            if count is not None and (is_primary or name not in counts):
                counts[name] = count
        elif value != "":
            target = others[group]
            if is_primary or name not in target:
                target[name] = value
    return raw


def read_attribution(
    dialect: Dialect, span_attributes: Mapping[str, AttributeValue]
) -> tuple[dict[str, str], dict[str, str]]:
    """The dimensions and the metadata of any span, which need not be a call."""
    raw = _read_attributes(dialect, span_attributes)
    _add_metadata_object(raw)
    return (
        {column: _text(raw.columns, column) for column in raw.columns},
        {key: metadata_text(value) for key, value in raw.metadata.items()},
    )


def _add_metadata_object(raw: RawFields) -> None:
    for key, value in parsed(_text(raw.usage, "metadata")).items():
        if isinstance(value, str | int | float):
            add_key(raw, key, str(value))


def _read_usage(raw: RawFields) -> str | None:
    """Read the usage objects. The provider's counts override the emitter's."""
    _add_metadata_object(raw)
    for side in ("input", "output"):
        part = parsed(_text(raw.usage, f"{side}_details"))
        for name, count in counts_of({"input_tokens": None, f"{side}_token_details": part}).items():
            raw.counts.setdefault(name, count)
    usage = usage_text(_text(raw.usage, "provider"))
    if not usage:
        return None
    add_usage_object(raw, parsed(usage))
    return usage


def _add_conventions_cost(raw: RawFields) -> None:
    """Take a cost of the conventions if it was in the provider's response, in US dollars."""
    currency, source = _text(raw.values, "cost_currency"), _text(raw.values, "cost_source")
    if currency.upper() == "USD" and source == "provider":
        add_cost(raw, raw.values[COST_AMOUNT], attributes.CONVENTIONS_COST)


def _complete(counts: dict[str, int], *, failed: bool) -> None:
    """Add counts that follow from others, and remove one that a failed call does not prove."""
    if failed and "input_tokens" not in counts and "output_tokens" not in counts:
        # The length of the request does not show whether a failed call was billed.
        counts.pop("input_characters", None)
    shorter = counts.pop("cache_write_5m_tokens", None)
    if shorter is not None and "cache_write_tokens" not in counts:
        counts["cache_write_tokens"] = shorter + counts.get("cache_write_1h_tokens", 0)
    if counts.pop("text_output_tokens", None) is not None:
        # The output is split by modality, so what it does not name is none.
        counts.setdefault("image_output_tokens", 0)
    if "cached_tokens" not in counts:
        media = [
            counts[name]
            for name in ("cached_audio_tokens", "cached_image_tokens")
            if name in counts
        ]
        if media:
            counts["cached_tokens"] = sum(media)


def _with_cached(tokens: TokenVector, *, is_exclusive: bool) -> TokenVector:
    """Include cached tokens in the input, as the contract requires.

    If the cached counts exceed the input, the emitter excludes them, whatever its scope.
    """
    cached = (tokens.cached_tokens or 0) + (tokens.cache_write_tokens or 0)
    input_tokens = tokens.input_tokens
    if input_tokens is not None and cached and (is_exclusive or cached > input_tokens):
        tokens = tokens._replace(input_tokens=input_tokens + cached)
    if tokens.cached_media_tokens:
        audio = _whole_media(tokens.audio_input_tokens, tokens.cached_audio_tokens)
        image = _whole_media(tokens.image_input_tokens, tokens.cached_image_tokens)
        tokens = tokens._replace(audio_input_tokens=audio, image_input_tokens=image)
    return tokens


def _whole_media(count: int | None, cached: int | None) -> int | None:
    """A modality of the input: if less than its cached part, the emitter counts that apart."""
    if count is None or cached is None or cached <= count:
        return count
    return count + cached


def _operation(dialect: Dialect, fields: SpanFields) -> str:
    """The conventions' name of the operation; "" if no provider bills it."""
    name = fields.texts[0]
    if dialect.trusted:
        # Every span of our own emitters is a call, whatever operation the app names.
        return name or ("chat" if fields.is_counted else "")
    if not name:
        return dialect.operation if fields.is_counted else ""
    if dialect.operations:
        # An emitter with its own operation names uses no other names for calls.
        operation = dialect.operations.get(name, name)
        return operation if operation in BILLABLE_OPERATIONS else ""
    _, _, model, request_model, *_ = fields.texts
    is_counted = fields.tokens.total_tokens is not None and bool(model or request_model)
    return billed_operation(name, is_counted=is_counted)


def _details(
    details: dict[str, AttributeValue], resource: Mapping[str, str]
) -> dict[str, AttributeValue]:
    """The details of a span without NaN and infinity, which JSON does not have."""
    if attributes.SDK_VERSION in resource:
        details.setdefault(attributes.SDK_VERSION, resource[attributes.SDK_VERSION])
    if float in map(type, details.values()):
        for name in [name for name, value in details.items() if type(value) is float]:
            if not math.isfinite(cast("float", details[name])):
                del details[name]
    return details


def _count(value: AttributeValue | None) -> int | None:
    """A whole, non-negative count; `None` for any other value. Missing is not zero."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        is_count = len(value) <= _MAX_DIGITS and value.isascii() and value.isdigit()
        return int(value) if is_count else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # A larger number stays impossibly large, and the row's note reports it.
    return min(value, 2**63 - 1) if isinstance(value, int) and value >= 0 else None


def _first_chunk_ms(seconds: AttributeValue | None) -> float | None:
    """Milliseconds until the first chunk; `None` if the value is not a time within a day."""
    if isinstance(seconds, float) and 0 <= seconds <= _MAX_SECONDS:
        return seconds * 1000
    return None


def _service_tier(tier: str, speed: str) -> str:
    is_fast = speed.lower() == _FAST
    return _FAST if is_fast and tier.lower() != _BATCH else tier


def _reported_cost(
    value: AttributeValue, provider: str, details: dict[str, AttributeValue]
) -> Decimal | None:
    """The exact cost that the provider reports; `None` if it is no amount or a proxy's estimate."""
    source = str(details.get(attributes.COST_SOURCE, ""))
    if source.startswith("usage.") and provider not in REPORTING_PROVIDERS:
        del details[attributes.COST_SOURCE]
        return None
    if isinstance(value, bool | list):
        return None
    text = str(value)
    if not text.isascii() or "_" in text:  # `Decimal` reads both.
        return None
    try:
        cost = Decimal(text)
    except InvalidOperation:
        return None
    if cost.is_finite() and not cost:
        # A zero may have a sign and any exponent.
        return Decimal(0)
    fits = cost.is_finite() and cost > 0 and cost.adjusted() in _COST_EXPONENTS
    return cost if fits else None


def _is_refusal(raw: RawFields, error_type: str) -> bool:
    status = raw.values.get("status")
    if not isinstance(status, int):
        if not error_type.isdigit():
            is_refusal = error_type.rpartition(".")[2] in _REFUSALS
            return is_refusal or attributes.NOT_SENT in raw.details
        status = int(error_type)
    return _REFUSED_FROM <= status <= _REFUSED_TO and status != _REQUEST_TIMED_OUT


def _provider(dialect: Dialect, reported_name: str, model: str) -> str:
    if reported_name in dialect.not_providers:
        reported_name = ""
    return ledger_name(reported_name or provider_of(model))


def _text(values: Mapping[str, AttributeValue], key: str) -> str:
    value = values.get(key, "")
    return value if isinstance(value, str) else str(value)


def _json_object(text: str) -> str | None:
    """The text of a JSON object in a form that jsonb accepts; `None` if it is not valid.

    The object is decoded and encoded again, because Python accepts JSON that Postgres rejects (NaN,
    an escaped lone surrogate, numbers beyond jsonb's range), and such JSON would fail the row.
    """
    if not text.startswith("{"):
        return None
    try:
        return msgspec.json.encode(msgspec.json.decode(text)).decode()
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None
