"""Reading counts from the JSON of a usage object. Missing is not zero: `None` means unreported."""

import math
from typing import TypeAlias, cast

JsonObject: TypeAlias = dict[str, object]
"""A JSON object."""


def count_in(fields: JsonObject, *names: str) -> int | None:
    """The count in the first of these fields that holds a whole number of 0 or more."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def seconds_in(fields: JsonObject, name: str) -> int | None:
    """A length in whole seconds, rounded up; `None` if the field holds no length."""
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return math.ceil(value) if 0 <= value < math.inf else None


def object_in(fields: JsonObject, *names: str) -> JsonObject:
    """The object in the first of these fields that holds one; else an empty object."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, dict):
            return cast("JsonObject", value)
    return {}


def first(*counts: int | None) -> int | None:
    """The first count that was reported."""
    return next((count for count in counts if count is not None), None)


def largest(*counts: int | None) -> int | None:
    """The largest of the counts that were reported; `None` if none was."""
    return max((count for count in counts if count is not None), default=None)


def total(*counts: int | None) -> int | None:
    """The sum of the counts that were reported; `None` if none was."""
    reported = [count for count in counts if count is not None]
    return sum(reported) if reported else None


def cache_writes(fields: JsonObject, *names: str) -> int | None:
    """Cache writes: the reported total or the sum by lifetime, whichever is larger."""
    by_lifetime = total(
        count_in(fields, "ephemeral_5m_input_tokens"), count_in(fields, "ephemeral_1h_input_tokens")
    )
    return largest(count_in(fields, *names), by_lifetime)
