"""What one answer says about itself, and the span attributes that say it.

A reader turns a provider's response into a `Reading`; everything after it is provider-neutral.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger_semconv import attributes as names
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.util.types import AttributeValue

Usage = Mapping[str, Any]
"""A provider's usage object as a plain mapping."""

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
    ("web_search_requests", names.WEB_SEARCH_REQUESTS),
    ("file_search_requests", names.FILE_SEARCH_REQUESTS),
    ("code_execution_requests", names.CODE_EXECUTION_REQUESTS),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read off an answer; `None` and empty mean that it did not say.

    Args:
        response_model: the model that answered.
        response_id: the provider's id of the answer.
        finish_reasons: why the model stopped, one per choice.
        tokens: what was used.
        usage: the provider's whole usage object, as it came.
        error_type: the kind of failure an answer reports inside itself; "" for none.
        further: attributes only this provider has.
    """

    response_model: str | None = None
    response_id: str | None = None
    finish_reasons: tuple[str, ...] = ()
    tokens: TokenVector = field(default_factory=TokenVector)
    usage: Usage | None = None
    error_type: str = ""
    further: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])


def attributes_of(reading: Reading) -> dict[str, AttributeValue]:
    """The span attributes of an answer; what it did not say is left out."""
    found: dict[str, AttributeValue] = {
        name: value
        for name, value in (
            (names.RESPONSE_MODEL, reading.response_model),
            (names.RESPONSE_ID, reading.response_id),
            *reading.further.items(),
        )
        if value is not None
    }
    if reading.finish_reasons:
        found[names.FINISH_REASONS] = reading.finish_reasons
    found.update(_token_attributes(reading.tokens))
    if reading.usage:
        found[names.PROVIDER_USAGE] = json.dumps(reading.usage, default=str, separators=(",", ":"))
    return found


def _token_attributes(tokens: TokenVector) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {
        attribute: count
        for name, attribute in _TOKEN_ATTRIBUTES
        if (count := getattr(tokens, name)) is not None
    }
    if tokens.cache_write_1h_tokens is not None:
        found[names.CACHE_WRITE_5M_TOKENS] = tokens.cache_write_5m_tokens
    return found


def part(source: object, name: str) -> object:
    """A field of an SDK object or of a plain mapping; `None` if it has none."""
    if isinstance(source, Mapping):
        return cast("Mapping[str, Any]", source).get(name)
    return getattr(source, name, None)


def parts(source: object, name: str) -> Sequence[object]:
    """A list field; empty where it is missing or something else."""
    value = part(source, name)
    return cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else ()


def text(source: object, name: str) -> str | None:
    """A text field; `None` where it is missing or something else."""
    value = part(source, name)
    return value if isinstance(value, str) and value else None


def count(source: object, name: str) -> int | None:
    """A token count; `None` where it is missing or no whole number of zero or more."""
    value = part(source, name)
    return value if type(value) is int and value >= 0 else None


def mapping_of(source: object) -> Usage | None:
    """An SDK's usage object as the provider sent it; `None` if there is none."""
    if isinstance(source, Mapping):
        return cast("Usage", source)
    dump = getattr(source, "model_dump", None)
    return None if dump is None else cast("Usage", dump(exclude_unset=True, warnings=False))
