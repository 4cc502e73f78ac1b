"""Asking a chat stream for its usage, and what is known of the hosts that were asked.

OpenAI-compatible servers that do not know `stream_options` refuse the whole request. The caller did
not write that option, so the caller's own request is then sent instead. Not every server names the
option in its refusal, so a host that has never accepted it gets the benefit of the doubt.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from tokenledger.reading import fields_of
from tokenledger.runtime import RUNTIME
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger.instrumentors.endpoint import Endpoint
    from tokenledger.instrumentors.shape import Body

USAGE_REQUEST: Final = "stream_options"
"""The field that asks a chat stream for its usage."""

ACCEPTS: Final = "accepts"
"""The host answered a stream that was asked for its usage."""

REFUSES: Final = "refuses"
"""The host answered only once the question was taken out."""

SENDS_UNASKED: Final = "sends unasked"
"""The host sent the usage of a stream that was not asked for it: the app has it without us."""

_ASKS: Final = frozenset((USAGE_REQUEST, "usage"))
_WORDS: Final = (USAGE_REQUEST, "include_usage", "streamoptions", "includeusage")
_REFUSALS_OF_OPENAI: Final = frozenset((400, 405, 422))
_REFUSALS: Final = frozenset((400, 403, 404, 405, 415, 422, 500, 501))
_OPENAI: Final = "api.openai.com"
# "Full usage details are now always included automatically in every response", in the last message
# of a stream: OpenRouter's "Usage Accounting", read 2026-11-28.
_PROVIDERS_THAT_SEND_UNASKED: Final = frozenset(("openrouter",))
_REMEMBERED: Final = 1_024
_REMEMBERED_SECONDS: Final = 3_600.0

DOUBTED_SECONDS: Final = 60.0
"""For how long a refusal is remembered that does not say what it refused: it may have passed."""

Target = tuple[str, int | None, str]
"""Address, port and model: a gateway may accept the field for one of its models alone."""


class KnownTargets:
    """What hosts did with the question, model by model; the latest are kept, for an hour each.

    Args:
        limit: how many are kept.
        seconds: for how long.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        limit: int = _REMEMBERED,
        seconds: float = _REMEMBERED_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._known: OrderedDict[Target, tuple[str, float]] = OrderedDict()
        self._changing = Lock()

    def of(self, target: Target) -> str:
        """What is known of one; "" for nothing."""
        known = self._known.get(target)
        if known is None or known[1] < self._clock():
            return ""
        return known[0]

    def note(self, target: Target, what: str, seconds: float | None = None) -> None:
        """Remember what one did. A host that sends its usage unasked is asked no more.

        Args:
            target: the host.
            what: what it did.
            seconds: for how long; as long as everything else unless told otherwise.
        """
        if self.of(target) in (what, SENDS_UNASKED):
            return
        with self._changing:
            self._known.pop(target, None)
            self._known[target] = (what, self._clock() + (seconds or self._seconds))
            while len(self._known) > self._limit:
                self._known.popitem(last=False)


TARGETS: Final = KnownTargets()
"""The hosts of this process."""


def target_of(endpoint: Endpoint, model: object) -> Target:
    """Where a stream goes."""
    return endpoint.address, endpoint.port, str(model or "")


def asking(body: Body) -> Body:
    """The same request, asking for usage."""
    return {**body, USAGE_REQUEST: {"include_usage": True}}


def is_asked_by_app(body: Body, extra_body: object) -> bool:
    """Whether the app says itself whether it wants the usage.

    Args:
        body: the request's own body.
        extra_body: what the caller adds to it.
    """
    # OpenRouter was asked by `usage`, its own field.
    return USAGE_REQUEST in body or not _ASKS.isdisjoint(fields_of(extra_body))


def may_ask(endpoint: Endpoint, target: Target) -> bool:
    """Whether a stream whose options the app left open is to be asked for its usage."""
    return (
        RUNTIME.setup.settings.stream_usage
        and endpoint.told.get(names.PROVIDER_NAME) not in _PROVIDERS_THAT_SEND_UNASKED
        and TARGETS.of(target) not in (REFUSES, SENDS_UNASKED)
    )


def may_be_refusal(error: Any, target: Target) -> bool:  # noqa: ANN401 - whatever the SDK raised
    """Whether a host may have refused a request over being asked; its words are never kept.

    One that says so is believed, whatever its status. Any other is, where it never accepted the
    question; OpenAI itself knows it, so there only a refusal of the request's form counts.
    """
    status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        return False
    is_openai = target[0] == _OPENAI or target[0].endswith("." + _OPENAI)
    if names_the_question(error):
        return status in _REFUSALS_OF_OPENAI if is_openai else True
    if TARGETS.of(target) == ACCEPTS:
        return False
    return status in (_REFUSALS_OF_OPENAI if is_openai else _REFUSALS)


def names_the_question(error: Any) -> bool:  # noqa: ANN401 - whatever the SDK raised
    """Whether a refusal says that it is one of the question; its words are never kept."""
    # The message alone is not enough: newer SDKs shorten some bodies in it.
    said = f"{error} {getattr(error, 'body', '')}".lower()
    return any(word in said for word in _WORDS)
