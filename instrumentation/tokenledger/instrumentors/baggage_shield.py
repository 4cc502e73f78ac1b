"""Around the one method that every request of an SDK goes through: it runs without baggage.

Attribution rides in baggage, and an SDK or an HTTP instrumentor sends baggage along. Calls that are
recorded run without it already; this covers the methods that are not recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry import baggage, context

from tokenledger.failures import Guard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.context import Context

    from tokenledger.instrumentors.wrappers import Arguments, Host, Wrapper

_SHIELD: Final = context.create_key("tokenledger-baggage-shield")


class _Shield:
    """Takes baggage out of the running context; `with _Shield():` around one request."""

    __slots__ = ("_previous",)

    def __init__(self) -> None:
        self._previous: Context | None = None

    def __enter__(self) -> None:
        with Guard("taking baggage off a request"):
            before = context.get_current()
            if baggage.get_all(before):
                context.attach(context.set_value(_SHIELD, self, baggage.clear(before)))
                self._previous = before

    def __exit__(self, *_raised: object) -> None:
        if self._previous is None:
            return
        # No token is detached: a coroutine thrown away is closed in somebody else's context.
        with Guard("putting baggage back after a request"):
            if context.get_value(_SHIELD) is self:
                context.attach(self._previous)


def sync_request(host: Host) -> Wrapper:
    """Around a client's `request`."""

    def wrapper(
        wrapped: Callable[..., object],
        _instance: object,
        args: tuple[object, ...],
        kwargs: Arguments,
    ) -> object:
        if host.tracer is None:
            return wrapped(*args, **kwargs)
        with _Shield():
            return wrapped(*args, **kwargs)

    return wrapper


def async_request(host: Host) -> Wrapper:
    """Around an async client's `request`."""

    def wrapper(
        wrapped: Callable[..., Awaitable[object]],
        _instance: object,
        args: tuple[object, ...],
        kwargs: Arguments,
    ) -> object:
        sent = wrapped(*args, **kwargs)
        return sent if host.tracer is None else _shielded(sent)

    return wrapper


async def _shielded(sent: Awaitable[object]) -> object:
    # Entered here and not by the wrapper: the context that counts is the one of the await.
    with _Shield():
        return await sent
