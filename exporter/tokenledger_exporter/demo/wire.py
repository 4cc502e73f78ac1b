"""What goes over the wire of a fake provider: one answer, its events, its ids.

Shared by both vendors' modules; holds no vendor's shape itself.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

JsonObject: TypeAlias = dict[str, Any]
"""A parsed JSON object."""

_ALPHABET: Final = string.ascii_letters + string.digits
_TEXT_KEYS: Final = ("messages", "system", "input", "instructions", "content", "text", "arguments")
_WORDS_PER_DELTA: Final = 4


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event.

    Args:
        name: its `event:` line; `None` leaves the line out, as OpenAI's chat streams do.
        data: its `data:` line: an object, or bare text such as `[DONE]`.
    """

    name: str | None
    data: JsonObject | str


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, complete: JSON if `events` is `None`, else a stream of them."""

    body: JsonObject | None = None
    events: tuple[Event, ...] | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def letters(count: int) -> str:
    """A random id of letters and digits, as `chatcmpl-` and `msg_01` ids have."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(count))


def hexadecimal(count: int) -> str:
    """A random id of hexadecimal digits, as `resp_` ids have."""
    return secrets.token_hex(count // 2)


def characters(value: object) -> int:
    """How many characters of prompt a part of a request holds; keys, ids and files not counted."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(characters(item) for item in cast("list[object]", value))
    if isinstance(value, dict):
        parts = cast("dict[str, object]", value)
        return sum(characters(parts[key]) for key in _TEXT_KEYS if key in parts)
    return 0


def objects(value: object) -> list[JsonObject]:
    """The JSON objects in a list; empty where a request holds text instead."""
    if not isinstance(value, list):
        return []
    items = cast("list[object]", value)
    return [cast("JsonObject", item) for item in items if isinstance(item, dict)]


def nested(value: JsonObject, key: str) -> JsonObject:
    """The object under a key; empty if there is none."""
    inner = value.get(key)
    return cast("JsonObject", inner) if isinstance(inner, dict) else {}


def deltas(text: str) -> Iterator[str]:
    """A text in the small pieces a stream sends it in; joined they are the text."""
    words = text.split(" ")
    for start in range(0, len(words), _WORDS_PER_DELTA):
        piece = " ".join(words[start : start + _WORDS_PER_DELTA])
        yield piece if start == 0 else f" {piece}"


def recorded_events(records: Iterable[Mapping[str, Any]]) -> Sequence[Event]:
    """Events from their recorded form, `{"event": name or null, "data": object or string}`."""
    return tuple(Event(record["event"], record["data"]) for record in records)
