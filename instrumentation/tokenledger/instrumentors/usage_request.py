"""Asking a chat stream for its usage, and remembering the hosts that refuse to be asked.

OpenAI-compatible servers that do not know `stream_options` refuse the whole request. The caller did
not write that option, so the caller's own request is then sent instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING, Final

from tokenledger.instrumentors.wrappers import raw_mode

if TYPE_CHECKING:
    from tokenledger.instrumentors.endpoint import Endpoint
    from tokenledger.instrumentors.wrappers import Arguments

USAGE_REQUEST: Final = "stream_options"
"""The argument that asks a chat stream for its usage."""

# The marks the SDK's own helpers pass for what nobody gave.
_NOT_GIVEN: Final = ("NotGiven", "Omit")
_REFUSALS: Final = (400, 422)
_REMEMBERED_HOSTS: Final = 256


class RefusingHosts:
    """Hosts that answered only when they were not asked, for the life of the process.

    Args:
        limit: how many are remembered; a host beyond it is asked, and refuses, every time.
    """

    def __init__(self, limit: int = _REMEMBERED_HOSTS) -> None:
        self._limit = limit
        self._known: frozenset[Endpoint] = frozenset()
        self._adding = Lock()

    def __contains__(self, host: Endpoint) -> bool:
        return host in self._known

    def add(self, host: Endpoint) -> None:
        """Remember one more, within the limit."""
        with self._adding:
            if len(self._known) < self._limit:
                self._known |= {host}


REFUSING_HOSTS: Final = RefusingHosts()
"""The refusing hosts of this process."""


def asking(kwargs: Arguments) -> Arguments:
    """The same request, asking for usage."""
    return {**kwargs, USAGE_REQUEST: {"include_usage": True}}


def may_ask(kwargs: Arguments) -> bool:
    """Whether the caller left the stream's options open and reads chunks, not raw bytes."""
    body = kwargs.get("extra_body")
    if isinstance(body, dict) and USAGE_REQUEST in body:
        return False
    if USAGE_REQUEST in kwargs and type(kwargs[USAGE_REQUEST]).__name__ not in _NOT_GIVEN:
        return False
    return not raw_mode(kwargs)


def can_repeat(kwargs: Arguments) -> bool:
    """Whether the request can be sent twice: a one-shot iterator is used up by the first time."""
    return not any(isinstance(value, Iterator) for value in kwargs.values())


def is_refusal(error: Exception) -> bool:
    """Whether a host refused a request over being asked; its words are looked at, never kept."""
    if getattr(error, "status_code", None) not in _REFUSALS:
        return False
    # The message alone is not enough: newer SDKs shorten some bodies in it.
    return USAGE_REQUEST in f"{error} {getattr(error, 'body', '')}"
