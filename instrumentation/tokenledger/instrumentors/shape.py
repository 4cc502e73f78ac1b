"""What is known of each API of an SDK before and after it is called: one `Shape` a path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AttributeValue

    from tokenledger.instrumentors.streams import StreamReader, TextOf
    from tokenledger.reading import Found

Body = Mapping[str, Any]
"""The JSON body of a request, before it is sent."""

COMMON_SETTINGS: Final[Mapping[str, str]] = {
    "max_tokens": names.REQUEST_MAX_TOKENS,
    "max_completion_tokens": names.REQUEST_MAX_TOKENS,
    "max_output_tokens": names.REQUEST_MAX_TOKENS,
    "temperature": names.REQUEST_TEMPERATURE,
    "top_p": names.REQUEST_TOP_P,
    "top_k": names.REQUEST_TOP_K,
    "frequency_penalty": names.REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": names.REQUEST_PRESENCE_PENALTY,
    "seed": names.REQUEST_SEED,
    "n": names.REQUEST_CHOICE_COUNT,
    "dimensions": names.REQUEST_DIMENSIONS,
    "reasoning_effort": names.REQUEST_REASONING_LEVEL,
}
"""Request field -> span attribute, for what is sent as a number or a word. Stop sequences are left
out: they can hold words of a prompt."""


def nobody(_body: Body) -> object:
    """The user of a request that names none."""
    return None


@dataclass(frozen=True, slots=True)
class Shape:
    """One API.

    Args:
        told: what every span of it says at its start.
        read: reads its answer; `None` if the answer tells nothing of its cost.
        stream: makes a reader of its stream; `None` if it has none.
        text_of: where the text of its stream is; `None` for chat chunks.
        user: the user id in the provider's own request field.
        settings: request field -> span attribute.
        note: puts what else the request tells into the attributes; `None` for nothing.
        asks_for_usage: whether its streams tell their usage only if asked to.
    """

    told: Mapping[str, AttributeValue]
    read: Callable[[object], Found] | None
    stream: Callable[[], StreamReader] | None = None
    text_of: TextOf | None = None
    user: Callable[[Body], object] = nobody
    settings: Mapping[str, str] = field(default_factory=lambda: COMMON_SETTINGS)
    note: Callable[[Body, Found], None] | None = None
    asks_for_usage: bool = False
