"""Reading the fields of an answer into span attributes, from an SDK's objects and from plain JSON.

A reader turns one provider's answer into the attributes of the contract; everything after it is
provider-neutral. What the provider did not report is left out: missing is not zero.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import compress
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger._guard import report
from tokenledger_semconv import attributes as names
from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH
from tokenledger_semconv.tokens import MAX_COUNT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.util.types import AttributeValue

    from tokenledger_semconv.tokens import TokenVector

Attributes = dict[str, "AttributeValue"]
"""Span attribute -> value, as read from an answer."""

Usage = Mapping[str, Any]
"""A provider's usage object as a plain mapping."""


class FieldMap:
    """Which field of a provider's object fills which span attribute.

    Args:
        attribute_of: field -> attribute.
    """

    __slots__ = ("attributes", "fields")

    def __init__(self, attribute_of: Mapping[str, str]) -> None:
        self.fields = tuple(attribute_of)
        self.attributes = tuple(attribute_of.values())


class CountMap(FieldMap):
    """The same for a usage object, whose fields are counts."""

    __slots__ = ()


_ENCODING_ERRORS: Final = (ValueError, TypeError, RecursionError)
_NANOSECONDS: Final = 1_000_000_000
_USAGE: Final = names.PROVIDER_USAGE
# The year 2286; a larger number is not a time in seconds.
_MAX_EPOCH_SECONDS: Final = 10_000_000_000
_NO_FIELDS: Final[Mapping[str, Any]] = {}
_TOKEN_ATTRIBUTES: Final = (
    ("input_tokens", names.INPUT_TOKENS),
    ("output_tokens", names.OUTPUT_TOKENS),
    ("cached_tokens", names.CACHE_READ_TOKENS),
    ("cache_write_tokens", names.CACHE_WRITE_TOKENS),
    ("cache_write_1h_tokens", names.CACHE_WRITE_1H_TOKENS),
    ("reasoning_tokens", names.REASONING_TOKENS),
    ("audio_input_tokens", names.AUDIO_INPUT_TOKENS),
    ("audio_output_tokens", names.AUDIO_OUTPUT_TOKENS),
    ("image_input_tokens", names.IMAGE_INPUT_TOKENS),
    ("image_output_tokens", names.IMAGE_OUTPUT_TOKENS),
    ("cached_audio_tokens", names.CACHED_AUDIO_TOKENS),
    ("cached_image_tokens", names.CACHED_IMAGE_TOKENS),
    ("web_search_requests", names.WEB_SEARCH_REQUESTS),
    ("code_execution_requests", names.CODE_EXECUTION_REQUESTS),
    ("audio_seconds", names.AUDIO_SECONDS),
)
_encode = json.JSONEncoder(default=str, separators=(",", ":")).encode


def read_json(document: bytes | str) -> object:
    """Decode a foreign JSON document; `None` if it is not JSON or is nested too deeply.

    Python's decoder raises RecursionError for a deeply nested document: from 1,000 levels on in
    3.13.
    """
    try:
        return json.loads(document)
    except (ValueError, RecursionError):
        return None


def fields_of(source: Any) -> Mapping[str, Any]:  # noqa: ANN401 - whatever was sent
    """The fields of an SDK object or of a plain mapping; empty for anything else.

    This bypasses the attribute protocol: asking an SDK's object for a field that its class does not
    declare costs as much as everything else that is read from an answer.
    """
    try:
        declared: Mapping[str, Any] = source.__dict__
        # Fields that this release of the SDK does not know, as the provider sent them.
        extra: Mapping[str, Any] | None = source.__pydantic_extra__
    except AttributeError:
        if isinstance(source, Mapping):
            return cast("Mapping[str, Any]", source)
        return getattr(source, "__dict__", _NO_FIELDS)
    return {**declared, **extra} if extra else declared


def head_of(fields: Mapping[str, Any], head: FieldMap) -> Attributes:
    """The names in an answer, cut to what a row can hold; blank ones are left out.

    Every call pays for these steps, so there are few: if all names together are short enough, each
    of them is.
    """
    values = tuple(map(fields.get, head.fields))
    try:
        if len("".join(filter(None, values))) <= MAX_VALUE_LENGTH:
            return dict(compress(zip(head.attributes, values), values))  # noqa: B905 - same length
    except TypeError:
        pass  # One is not text; the loop below finds out which.
    pairs = zip(head.attributes, values, strict=True)
    return {
        name: value[:MAX_VALUE_LENGTH] for name, value in pairs if isinstance(value, str) and value
    }


def add_counts(attributes: Attributes, fields: Mapping[str, Any], counts: CountMap) -> None:
    """Add the whole numbers among these fields to the attributes."""
    # Both have the same length.
    for attribute, count in zip(counts.attributes, map(fields.get, counts.fields)):  # noqa: B905
        if count.__class__ is int:
            attributes[attribute] = count


def plausible(attributes: Attributes) -> Attributes:
    """The attributes without counts that no call can reach; what they counted is unknown."""
    allowed = {name: value for name, value in attributes.items() if _is_plausible(value)}
    if len(allowed) < len(attributes):
        allowed[names.UNKNOWN_USAGE] = f"a count of more than {MAX_COUNT:,}"
    return allowed


def _is_plausible(value: object) -> bool:
    return not isinstance(value, int) or abs(value) <= MAX_COUNT


def add_usage(attributes: Attributes, usage: Any) -> None:  # noqa: ANN401 - whatever was sent
    """Add the provider's whole usage object to the attributes, as it was sent."""
    try:
        serializer = usage.__pydantic_serializer__
    except AttributeError:
        if isinstance(usage, Mapping):
            mapping = cast("Usage", usage)
            if mapping and (text_of_usage := encoded(mapping)):
                attributes[_USAGE] = text_of_usage
        return
    try:
        # Not by `model_dump_json`, which costs more than everything else here.
        document: bytes = serializer.to_json(usage, exclude_unset=True, warnings=False)
        attributes[_USAGE] = document.decode()
    except _ENCODING_ERRORS as error:
        report("encoding a usage object", type(error).__name__)


def encoded(value: object) -> str:
    """A value as JSON; "" if it cannot be encoded, like a number of 5,000 digits or deep lists."""
    try:
        return _encode(value)
    except _ENCODING_ERRORS as error:
        report("encoding a usage object", type(error).__name__)
        return ""


def epoch_nanoseconds(seconds: object) -> int | None:
    """A provider's time in seconds since 1970, in nanoseconds; `None` if it is not a time."""
    if isinstance(seconds, (int, float)) and 0 < seconds < _MAX_EPOCH_SECONDS:
        return int(seconds * _NANOSECONDS)
    return None


def token_attributes(tokens: TokenVector) -> Attributes:
    """The span attributes of counts that the app reports itself."""
    attributes: Attributes = {
        attribute: count
        for name, attribute in _TOKEN_ATTRIBUTES
        if (count := getattr(tokens, name)) is not None
    }
    if tokens.cache_write_1h_tokens is not None:
        attributes[names.CACHE_WRITE_5M_TOKENS] = tokens.cache_write_5m_tokens
    return attributes


def part(source: object, name: str) -> object:
    """A field of an SDK object or of a plain mapping; `None` if it has no such field."""
    return fields_of(source).get(name)


def parts(source: object, name: str) -> Sequence[object]:
    """A list field; empty if it is missing or of another type."""
    value = part(source, name)
    return cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else ()


def text(source: object, name: str) -> str | None:
    """A text field; `None` if it is missing, blank or of another type."""
    value = part(source, name)
    return value if isinstance(value, str) and value else None


def mapping_of(source: object) -> Usage | None:
    """An SDK's object as the provider sent it; `None` if it is not such an object."""
    if isinstance(source, Mapping):
        return cast("Usage", source)
    dump = getattr(source, "model_dump", None)
    return None if dump is None else cast("Usage", dump(exclude_unset=True, warnings=False))
