"""Reading what an answer says into span attributes, from an SDK's objects and from plain JSON.

A reader turns one provider's answer into the attributes of the contract; everything after it is
provider-neutral. What the provider did not say is left out: missing is not zero.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import compress
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger.failures import report
from tokenledger_semconv import attributes as names
from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH
from tokenledger_semconv.tokens import MOST_COUNTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.util.types import AttributeValue

    from tokenledger_semconv.tokens import TokenVector

Found = dict[str, "AttributeValue"]
"""Span attribute -> value, as read off an answer."""

Usage = Mapping[str, Any]
"""A provider's usage object as a plain mapping."""


class Fields:
    """Which field of a provider's object fills which span attribute.

    Args:
        attribute_of: field -> attribute.
    """

    __slots__ = ("attributes", "fields")

    def __init__(self, attribute_of: Mapping[str, str]) -> None:
        self.fields = tuple(attribute_of)
        self.attributes = tuple(attribute_of.values())


class Counts(Fields):
    """The same of a usage object, whose fields are counts."""

    __slots__ = ()


_UNWRITABLE: Final = (ValueError, TypeError, RecursionError)
_NANOSECONDS: Final = 1_000_000_000
_USAGE: Final = names.PROVIDER_USAGE
# In the year 2286; what is later is no time in seconds.
_LAST_SECOND: Final = 10_000_000_000
_NOTHING: Final[Mapping[str, Any]] = {}
_TOKEN_ATTRIBUTES: Final = (
    ("input_tokens", names.INPUT_TOKENS),
    ("output_tokens", names.OUTPUT_TOKENS),
    ("cached_tokens", names.CACHE_READ_TOKENS),
    ("cache_write_tokens", names.CACHE_WRITE_TOKENS),
    ("cache_write_1h_tokens", names.CACHE_WRITE_1H_TOKENS),
    ("reasoning_tokens", names.REASONING_TOKENS),
)
_encode = json.JSONEncoder(default=str, separators=(",", ":")).encode


def read_json(document: bytes | str) -> object:
    """A JSON document of somebody else's; `None` where it is none, or is nested too deeply.

    Python's decoder raises RecursionError in the depths of a document, from 1,000 levels on 3.13.
    """
    try:
        return json.loads(document)
    except (ValueError, RecursionError):
        return None


def fields_of(source: Any) -> Mapping[str, Any]:  # noqa: ANN401 - whatever was sent
    """The fields of an SDK object or of a plain mapping; empty for anything else.

    Read past the attribute protocol: asking an SDK's object for a field its class does not declare
    costs as much as all else that is read off an answer.
    """
    try:
        declared: Mapping[str, Any] = source.__dict__
        # Fields that this release of the SDK does not know, as the provider sent them.
        further: Mapping[str, Any] | None = source.__pydantic_extra__
    except AttributeError:
        if isinstance(source, Mapping):
            return cast("Mapping[str, Any]", source)
        return getattr(source, "__dict__", _NOTHING)
    return {**declared, **further} if further else declared


def head_of(told: Mapping[str, Any], head: Fields) -> Found:
    """The names an answer gives itself, each at most as long as a row holds; a blank one is none.

    In few steps, since every call pays them: no name is too long if all together are not.
    """
    values = tuple(map(told.get, head.fields))
    try:
        if len("".join(filter(None, values))) <= MAX_VALUE_LENGTH:
            return dict(compress(zip(head.attributes, values), values))  # noqa: B905 - as long
    except TypeError:
        pass  # One is no text; which, is seen below.
    given = zip(head.attributes, values, strict=True)
    return {
        name: value[:MAX_VALUE_LENGTH] for name, value in given if isinstance(value, str) and value
    }


def add_counts(found: Found, told: Mapping[str, Any], counts: Counts) -> None:
    """Put the whole numbers among these fields into the attributes."""
    # Both are as long as each other.
    for attribute, count in zip(counts.attributes, map(told.get, counts.fields)):  # noqa: B905
        if count.__class__ is int:
            found[attribute] = count


def plausible(found: Found) -> Found:
    """What was read without the counts that no call can reach; what they counted is unknown."""
    kept = {name: value for name, value in found.items() if _is_plausible(value)}
    if len(kept) < len(found):
        kept[names.UNKNOWN_USAGE] = f"a count of more than {MOST_COUNTED:,}"
    return kept


def _is_plausible(value: object) -> bool:
    return not isinstance(value, int) or abs(value) <= MOST_COUNTED


def add_usage(found: Found, usage: Any) -> None:  # noqa: ANN401 - whatever was sent
    """Put the provider's whole usage object into the attributes, as it came."""
    try:
        serializer = usage.__pydantic_serializer__
    except AttributeError:
        if isinstance(usage, Mapping):
            written = cast("Usage", usage)
            if written and (told := encoded(written)):
                found[_USAGE] = told
        return
    try:
        # Past `model_dump_json`, which costs more than all that is done here.
        document: bytes = serializer.to_json(usage, exclude_unset=True, warnings=False)
        found[_USAGE] = document.decode()
    except _UNWRITABLE as error:
        report("writing down a usage object", type(error).__name__)


def encoded(value: object) -> str:
    """A value as JSON; "" where it cannot be written, as a number of 5,000 digits or deep lists."""
    try:
        return _encode(value)
    except _UNWRITABLE as error:
        report("writing down a usage object", type(error).__name__)
        return ""


def epoch_nanoseconds(seconds: object) -> int | None:
    """A provider's time in seconds since 1970; `None` where it is none."""
    if isinstance(seconds, (int, float)) and 0 < seconds < _LAST_SECOND:
        return int(seconds * _NANOSECONDS)
    return None


def token_attributes(tokens: TokenVector) -> Found:
    """The span attributes of counts given by hand."""
    found: Found = {
        attribute: count
        for name, attribute in _TOKEN_ATTRIBUTES
        if (count := getattr(tokens, name)) is not None
    }
    if tokens.cache_write_1h_tokens is not None:
        found[names.CACHE_WRITE_5M_TOKENS] = tokens.cache_write_5m_tokens
    return found


def part(source: object, name: str) -> object:
    """A field of an SDK object or of a plain mapping; `None` if it has none."""
    return fields_of(source).get(name)


def parts(source: object, name: str) -> Sequence[object]:
    """A list field; empty where it is missing or something else."""
    value = part(source, name)
    return cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else ()


def text(source: object, name: str) -> str | None:
    """A text field; `None` where it is missing or something else."""
    value = part(source, name)
    return value if isinstance(value, str) and value else None


def mapping_of(source: object) -> Usage | None:
    """An SDK's object as the provider sent it; `None` if it is none."""
    if isinstance(source, Mapping):
        return cast("Usage", source)
    dump = getattr(source, "model_dump", None)
    return None if dump is None else cast("Usage", dump(exclude_unset=True, warnings=False))
