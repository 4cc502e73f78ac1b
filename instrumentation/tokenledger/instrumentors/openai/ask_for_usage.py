"""Asking a chat stream for its usage, and remembering how each host reacts.

OpenAI-compatible servers that do not know `stream_options` refuse the whole request. The caller did
not write that option, so the caller's own request is sent instead. Not every server names the
option in its refusal, so an early rejection by a host that has never accepted it
is assumed to be caused by it.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tokenledger._guard import Guard
from tokenledger._state import RUNTIME
from tokenledger._usage.fields import fields_of
from tokenledger._usage.openai import ChatStream
from tokenledger_semconv import attributes as names
from tokenledger_semconv.bounded_cache import BoundedCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger.instrumentors._base.api_shape import Body
    from tokenledger.instrumentors._base.endpoints import Endpoint
    from tokenledger.instrumentors._base.watch import StreamReader

STREAM_OPTIONS: Final = "stream_options"
"""The field that asks a chat stream for its usage."""

ACCEPTS: Final = "accepts"
"""The host answered a stream that was asked for its usage."""

REFUSES: Final = "refuses"
"""The host answered only after the usage option was removed."""

ALWAYS_SENDS: Final = "always sends"
"""The host sent the usage without being asked, so the app receives it in any case."""

_USAGE_FIELDS: Final = frozenset((STREAM_OPTIONS, "usage"))
_USAGE_FIELD_WORDS: Final = (STREAM_OPTIONS, "include_usage", "streamoptions", "includeusage")
_REFUSALS_OF_OPENAI: Final = frozenset((400, 405, 422))
_REFUSALS: Final = frozenset((400, 403, 404, 405, 415, 422, 500, 501))
_OPENAI: Final = "api.openai.com"
# "Full usage details are now always included automatically in every response", in the last message
# of a stream: OpenRouter's "Usage Accounting", read 2026-11-28.
_PROVIDERS_THAT_ALWAYS_SEND: Final = frozenset(("openrouter",))
_MAX_TARGETS: Final = 1_024
_REMEMBERED_SECONDS: Final = 3_600.0

UNCLEAR_REFUSAL_SECONDS: Final = 60.0
"""How long a refusal is remembered that does not name the option: its cause may be temporary."""

Target = tuple[str, int | None, str]
"""Address, port and model: a gateway may accept the field for only one of its models."""


class UsageSupportCache:
    """How hosts handle the usage option, per model. Keeps the latest, each for an hour.

    Args:
        limit: the number of targets to keep.
        seconds: how long each is kept.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        limit: int = _MAX_TARGETS,
        seconds: float = _REMEMBERED_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        # Target -> its behavior, and when that is forgotten.
        self._behavior_by_target: BoundedCache[Target, tuple[str, float]] = BoundedCache(limit)

    def of(self, target: Target) -> str:
        """The behavior of a target; "" if unknown."""
        entry = self._behavior_by_target.get(target)
        if entry is None or entry[1] < self._clock():
            return ""
        return entry[0]

    def note(self, target: Target, behavior: str, seconds: float | None = None) -> None:
        """Remember a behavior. A host that sends its usage unasked is not asked again.

        Args:
            target: the host.
            behavior: what it did.
            seconds: how long to remember it; `None` uses the default.
        """
        if self.of(target) not in (behavior, ALWAYS_SENDS):
            self._behavior_by_target[target] = (
                behavior,
                self._clock() + (seconds or self._seconds),
            )


TARGETS: Final = UsageSupportCache()
"""The hosts that this process has called."""


class StreamUsageRequest:
    """The usage option of one stream: `UsageRequest` for OpenAI's chat API.

    Args:
        options: the SDK's own description of the request.
        target: where the request goes.
        is_pending: whether to ask.
    """

    __slots__ = ("_body", "_options", "_refusal_unclear", "_target", "is_pending")

    def __init__(self, options: Any, target: Target, *, is_pending: bool) -> None:  # noqa: ANN401
        self._options = options
        self._body: Body = options.json_data
        self._target = target
        self._refusal_unclear = False
        self.is_pending = is_pending

    def add(self) -> None:
        """Add the usage option to the request's options."""
        self._options.json_data = {**self._body, STREAM_OPTIONS: {"include_usage": True}}

    def remove(self) -> None:
        """Put the caller's own body back."""
        self._options.json_data = self._body

    def is_refused(self, error: Exception) -> bool:
        """Whether the host may have failed the request because of the usage option."""
        with Guard("reading a refusal"):
            if may_be_refusal(error, self._target):
                self._refusal_unclear = not error_names_usage_field(error)
                return True
        return False

    def mark_resend(self) -> None:
        """The request is sent again as the caller wrote it."""
        self.is_pending = False

    def note_refusal(self) -> None:
        """The second attempt succeeded: remember that this host refuses the usage option."""
        self._note(REFUSES, UNCLEAR_REFUSAL_SECONDS if self._refusal_unclear else None)

    def prepare(self, reader: StreamReader) -> bool:
        """Configure the stream's reader; True if it hides what the usage option added."""
        if not isinstance(reader, ChatStream):
            return False
        if self.is_pending:
            reader.hides_usage = True
            self._note(ACCEPTS)
        else:
            reader.on_unasked_usage = partial(self._note, ALWAYS_SENDS)
        return self.is_pending

    def _note(self, behavior: str, seconds: float | None = None) -> None:
        with Guard("remembering a host"):
            TARGETS.note(self._target, behavior, seconds)


def ask_for_usage(
    endpoint: Endpoint,
    model: object,
    options: Any,  # noqa: ANN401 - of any release of the SDK
) -> StreamUsageRequest | None:
    """The usage option of a chat stream; `None` if the app decides this itself.

    Args:
        endpoint: where the request goes.
        model: the requested model.
        options: the SDK's own description of the request.
    """
    body = options.json_data
    # A body that the app serialized itself cannot be changed by us.
    if body.__class__ is not dict or is_asked_by_app(body, options.extra_json):
        return None
    target = target_of(endpoint, model)
    return StreamUsageRequest(options, target, is_pending=may_ask(endpoint, target))


def target_of(endpoint: Endpoint, model: object) -> Target:
    """Where a stream goes."""
    return endpoint.address, endpoint.port, str(model or "")


def is_asked_by_app(body: Body, extra_body: object) -> bool:
    """Whether the app itself says if it wants the usage.

    Args:
        body: the request's own body.
        extra_body: what the caller adds to it.
    """
    # OpenRouter used to be asked by `usage`, its own field.
    return STREAM_OPTIONS in body or not _USAGE_FIELDS.isdisjoint(fields_of(extra_body))


def may_ask(endpoint: Endpoint, target: Target) -> bool:
    """Whether to ask for the usage of a stream whose options the app left open."""
    return (
        RUNTIME.setup.settings.stream_usage
        and endpoint.attributes.get(names.PROVIDER_NAME) not in _PROVIDERS_THAT_ALWAYS_SEND
        and TARGETS.of(target) not in (REFUSES, ALWAYS_SENDS)
    )


def may_be_refusal(error: Any, target: Target) -> bool:  # noqa: ANN401 - whatever the SDK raised
    """Whether a host may have refused a request because of the usage option.

    An error that names the usage option counts, whatever its status. Any other error counts only if
    the host has never accepted the usage option. OpenAI itself knows the field, so there only a
    rejection of the request's form counts. The error's text is never stored.
    """
    status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        return False
    is_openai = target[0] == _OPENAI or target[0].endswith("." + _OPENAI)
    if error_names_usage_field(error):
        return status in _REFUSALS_OF_OPENAI if is_openai else True
    if TARGETS.of(target) == ACCEPTS:
        return False
    return status in (_REFUSALS_OF_OPENAI if is_openai else _REFUSALS)


def error_names_usage_field(error: Any) -> bool:  # noqa: ANN401 - whatever the SDK raised
    """Whether an error names the usage option. Its text is never stored."""
    # The message alone is not enough: newer SDKs shorten some bodies in it.
    message = f"{error} {getattr(error, 'body', '')}".lower()
    return any(word in message for word in _USAGE_FIELD_WORDS)
