"""How each API of an SDK is recorded: one `Shape` per path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from tokenledger._usage.fields import text
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AttributeValue

    from tokenledger._usage.fields import Attributes
    from tokenledger.instrumentors._base.endpoints import Endpoint
    from tokenledger.instrumentors._base.watch import StreamReader, TextOf

Body = Mapping[str, Any]
"""The JSON body of a request, before it is sent."""


class ReadSetting(Protocol):
    """Reads a request field that holds an object; ignores anything else, and never raises."""

    def __call__(self, value: object, attributes: Attributes, /) -> None:
        """Add what the object says to the attributes."""
        ...


def add_output_type(output_format: object, attributes: Attributes) -> None:
    """The kind of output that a format asks for; a format without a known kind adds nothing."""
    if kind := _OUTPUT_TYPES.get(text(output_format, "type") or ""):
        attributes[names.OUTPUT_TYPE] = kind


_OUTPUT_TYPES: Final = {"text": "text", "json_object": "json", "json_schema": "json"}

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
"""Request field -> span attribute, for fields that hold a number or a word. Stop sequences are left
out: they can hold words of a prompt."""


def no_user(_body: Body) -> object:
    """The user of a request that has no field for one."""
    return None


class UsageRequest(Protocol):
    """Asks a host for the usage of one stream that would not report it otherwise."""

    @property
    def is_pending(self) -> bool:
        """Whether the request is to be sent with the usage option added."""
        ...

    def add(self) -> None:
        """Add the usage option to the request's options."""
        ...

    def remove(self) -> None:
        """Put the caller's own body back."""
        ...

    def is_refused(self, error: Exception) -> bool:
        """Whether the host may have failed the request because of the usage option."""
        ...

    def mark_resend(self) -> None:
        """The request is sent again as the caller wrote it."""
        ...

    def note_refusal(self) -> None:
        """The second attempt succeeded: remember that this host refuses the usage option."""
        ...

    def prepare(self, reader: StreamReader) -> bool:
        """Configure the stream's reader; True if it hides what the usage option added."""
        ...


class UsageRequester(Protocol):
    """Decides whether to ask a host for a stream's usage."""

    def __call__(
        self,
        endpoint: Endpoint,
        model: object,
        options: Any,  # noqa: ANN401 - of any release of the SDK
    ) -> UsageRequest | None:
        """Return the usage request of one stream; `None` if the app decided this itself."""
        ...


@dataclass(frozen=True, slots=True)
class Shape:
    """One API.

    Args:
        attributes: what every span of it holds.
        read: reads its answer; `None` if the answer has nothing to do with its cost.
        stream: makes a reader of its stream; `None` if it has no stream.
        text_of: locates the text of its stream's events; `None` for chat chunks.
        user: returns the user id in the provider's own request field.
        settings: request field -> span attribute.
        objects: request field -> reader of the object that it may hold.
        note: adds further request attributes; `None` adds nothing.
        ask_for_usage: asks its streams for their usage; `None` where they report it anyway.
    """

    attributes: Mapping[str, AttributeValue]
    read: Callable[[object], Attributes] | None
    stream: Callable[[], StreamReader] | None = None
    text_of: TextOf | None = None
    user: Callable[[Body], object] = no_user
    settings: Mapping[str, str] = field(default_factory=lambda: COMMON_SETTINGS)
    objects: Mapping[str, ReadSetting] = field(default_factory=dict[str, ReadSetting])
    note: Callable[[Body, Attributes], None] | None = None
    ask_for_usage: UsageRequester | None = None
