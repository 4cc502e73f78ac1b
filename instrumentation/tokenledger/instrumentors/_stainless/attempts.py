"""Whether a failed request reached the provider: a call without a connection costs nothing.

An SDK repeats a failed request, and its error shows only the last attempt. So each attempt that is
repeated is noted: one that may have been sent leaves the call's cost unknown.
"""

from __future__ import annotations

import sys
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry import context

from tokenledger._calls.call import RUNNING
from tokenledger._guard import Guard
from tokenledger_semconv.attributes import NOT_SENT

if TYPE_CHECKING:
    from tokenledger._calls.call import Call
    from tokenledger._usage.fields import Attributes
    from tokenledger.instrumentors._base.patch_table import Host, Method

# Errors of httpx, which the SDKs use, before there is a connection: refused, no such host, a failed
# TLS handshake; too late; none free in the pool.
_BEFORE_SENDING: Final = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
_HTTP_CLIENTS: Final = frozenset({"httpx", "httpx2"})
_RETRY_COUNT: Final = "x-stainless-retry-count"
_LOCK: Final = type(Lock())

# The lock of a call in flight -> for each attempt that was repeated, whether it was not sent.
_ATTEMPTS: Final[WeakKeyDictionary[Any, list[bool]]] = WeakKeyDictionary()


def notes_attempt(host: Host, method: Method) -> Method:
    """Replace the method that an SDK calls between two attempts, while it handles the error."""

    def repeat(client: object, *args: object, **kwargs: object) -> object:
        if host.tracer is not None:
            with Guard("noting an attempt"):
                call = context.get_value(RUNNING)
                if isinstance(call, _LOCK):
                    has_answer = kwargs.get("response") is not None
                    not_sent = not has_answer and _is_before_sending(sys.exc_info()[1])
                    _ATTEMPTS.setdefault(call, []).append(not_sent)
        return method(client, *args, **kwargs)

    return repeat


def failure(call: Call, error: BaseException) -> Attributes:
    """What is known of a request that raised: that no attempt was sent, or nothing."""
    with Guard("reading an error"):
        if _is_before_sending(error) and not call.was_resent:
            attempts = _ATTEMPTS.get(call.key, [])
            headers: Any = getattr(getattr(error, "request", None), "headers", {})
            # An attempt that was not noted may have been sent.
            if all(attempts) and len(attempts) >= int(headers.get(_RETRY_COUNT, 0)):
                return {NOT_SENT: True}
    return {}


def _is_before_sending(error: BaseException | None) -> bool:
    """Whether an error, or the one that the SDK made it of, came before there was a connection."""
    cause = None if error is None else error.__cause__
    return any(
        each.__name__ in _BEFORE_SENDING and each.__module__.partition(".")[0] in _HTTP_CLIENTS
        for raised in (error, cause)
        if raised is not None
        for each in type(raised).__mro__
    )
