"""Asking a chat stream for its usage, and remembering the hosts that refuse to be asked.

OpenAI-compatible servers that do not know `stream_options` refuse the whole request. The caller did
not write that option, so the caller's own request is then sent instead.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from tokenledger.reading import fields_of
from tokenledger.runtime import RUNTIME

if TYPE_CHECKING:
    from tokenledger.instrumentors.shape import Body

USAGE_REQUEST: Final = "stream_options"
"""The field that asks a chat stream for its usage."""

_ASKS: Final = frozenset((USAGE_REQUEST, "usage"))
_REFUSALS: Final = (400, 422)
_REMEMBERED_HOSTS: Final = 256

Host = tuple[str, int | None]
"""Address and port."""


class RefusingHosts:
    """Hosts that answered only when they were not asked, for the life of the process.

    Args:
        limit: how many are remembered; a host beyond it is asked, and refuses, every time.
    """

    def __init__(self, limit: int = _REMEMBERED_HOSTS) -> None:
        self._limit = limit
        self._known: frozenset[Host] = frozenset()
        self._adding = Lock()

    def __contains__(self, host: Host) -> bool:
        return host in self._known

    def add(self, host: Host) -> None:
        """Remember one more, within the limit."""
        with self._adding:
            if len(self._known) < self._limit:
                self._known |= {host}


REFUSING_HOSTS: Final = RefusingHosts()
"""The refusing hosts of this process."""


def asking(body: Body) -> Body:
    """The same request, asking for usage."""
    return {**body, USAGE_REQUEST: {"include_usage": True}}


def may_ask(body: Body, extra_body: object, host: Host) -> bool:
    """Whether the caller left the stream's options open, and the host is not known to refuse.

    Args:
        body: the request's own body.
        extra_body: what the caller adds to it.
        host: where it is sent.
    """
    if USAGE_REQUEST in body or not RUNTIME.setup.settings.stream_usage:
        return False
    # OpenRouter is asked by `usage`, its own field.
    if not _ASKS.isdisjoint(fields_of(extra_body)):
        return False
    return host not in REFUSING_HOSTS


def is_refusal(error: Any) -> bool:  # noqa: ANN401 - whatever the SDK raised
    """Whether a host refused a request over being asked; its words are looked at, never kept."""
    if getattr(error, "status_code", None) not in _REFUSALS:
        return False
    # The message alone is not enough: newer SDKs shorten some bodies in it.
    return USAGE_REQUEST in f"{error} {getattr(error, 'body', '')}"
