"""What stands around an SDK method: start the call, run it, finish it.

Sync and async differ by the `await` only. Every wrapper passes straight through when the
instrumentor has left, since SDKs and apps keep bound methods.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from tokenledger.call import Call
from tokenledger.failures import Guard
from tokenledger.instrumentors.streams import Watch, watch, watch_of
from tokenledger.reading import Reading, part

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tokenledger.instrumentors.streams import StreamReader
    from tokenledger.tracing import CallTracer, Request

Arguments = dict[str, object]
Wrapper = Callable[[Callable[..., Any], object, tuple[object, ...], Arguments], object]
"""What wrapt calls in place of a method: (method, instance, arguments, keywords)."""

RAW_RESPONSE_HEADER: Final = "X-Stainless-Raw-Response"
"""Set by `with_raw_response` and `with_streaming_response` of both SDKs."""

_UNREAD: Final = "stream"
_REQUEST: Final = "_tokenledger_request"


class Host(Protocol):
    """The instrumentor a wrapper belongs to."""

    @property
    def tracer(self) -> CallTracer | None:
        """Starts its calls; `None` while nothing is to be recorded."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request understood before it is sent.

    Args:
        request: what the call's span says at its start.
        keywords: what the SDK method is called with.
        reader: reads the stream, if one is asked for.
        tidy: takes off each chunk what is there only because we asked for it.
        fallback: what to send if what we added to the request is refused.
    """

    request: Request
    keywords: Arguments
    reader: StreamReader | None = None
    tidy: Callable[[object], None] | None = None
    fallback: Fallback | None = None


@dataclass(frozen=True, slots=True)
class Fallback:
    """The caller's own request, sent once in place of one that we changed.

    Args:
        prepared: the request without what we added.
        answers: whether an error came from what we added.
        worked: told when the caller's own request was accepted.
    """

    prepared: Prepared
    answers: Callable[[Exception], bool]
    worked: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Shape:
    """One API of an SDK: how its requests and its answers are read."""

    prepare: Callable[[object, Arguments], Prepared]
    read: Callable[[object], Reading] = field(default=lambda _: Reading())


def sync_call(shape: Shape, host: Host) -> Wrapper:
    """Around a method that returns the answer or a stream."""

    def wrapper(
        wrapped: Callable[..., object],
        instance: object,
        args: tuple[object, ...],
        kwargs: Arguments,
    ) -> object:
        prepared = _prepare(host, shape, instance, kwargs)
        if prepared is None:
            return wrapped(*args, **kwargs)
        call = _begin(host, prepared)
        with call:
            accepted, answer = _send(prepared, partial(wrapped, *args))
        _observe(call, shape, accepted, answer, is_async=False)
        return answer

    return wrapper


def _send(prepared: Prepared, method: Callable[..., object]) -> tuple[Prepared, object]:
    """Send a request; what was accepted, and its answer."""
    try:
        return prepared, method(**prepared.keywords)
    except Exception as error:
        fallback = _fallback(prepared, error)
        if fallback is None:
            raise
    # Outside of `except`, so that an error of this one does not name the first as its context.
    answer = method(**fallback.prepared.keywords)
    _note(fallback)
    return fallback.prepared, answer


def async_call(shape: Shape, host: Host) -> Wrapper:
    """Around a method that returns the answer or a stream when awaited."""

    def wrapper(
        wrapped: Callable[..., Awaitable[object]],
        instance: object,
        args: tuple[object, ...],
        kwargs: Arguments,
    ) -> object:
        prepared = _prepare(host, shape, instance, kwargs)
        if prepared is None:
            return wrapped(*args, **kwargs)
        # Called here, so that wrong arguments are refused where the bare SDK refuses them.
        method = partial(wrapped, *args)
        return _awaited(host, shape, prepared, method, method(**prepared.keywords))

    return wrapper


async def _awaited(
    host: Host,
    shape: Shape,
    prepared: Prepared,
    method: Callable[..., Awaitable[object]],
    sent: Awaitable[object],
) -> object:
    call = _begin(host, prepared)
    with call:
        accepted, answer = await _send_async(prepared, method, sent)
    _observe(call, shape, accepted, answer, is_async=True)
    return answer


async def _send_async(
    prepared: Prepared, method: Callable[..., Awaitable[object]], sent: Awaitable[object]
) -> tuple[Prepared, object]:
    try:
        return prepared, await sent
    except Exception as error:
        fallback = _fallback(prepared, error)
        if fallback is None:
            raise
    answer = await method(**fallback.prepared.keywords)
    _note(fallback)
    return fallback.prepared, answer


def _fallback(prepared: Prepared, error: Exception) -> Fallback | None:
    """What to send after this error; `None` lets the error stand."""
    fallback = prepared.fallback
    with Guard("reading a refusal"):
        if fallback is not None and fallback.answers(error):
            return fallback
    return None


def _note(fallback: Fallback) -> None:
    with Guard("noting a refusal"):
        fallback.worked()


def manager(shape: Shape, host: Host) -> Wrapper:
    """Around a method that returns a stream's context manager, before anything is sent."""

    def wrapper(
        wrapped: Callable[..., object],
        instance: object,
        args: tuple[object, ...],
        kwargs: Arguments,
    ) -> object:
        made = wrapped(*args, **kwargs)
        prepared = _prepare(host, shape, instance, kwargs)
        if prepared is not None:
            with Guard("noting a stream's request"):
                setattr(made, _REQUEST, prepared)
        return made

    return wrapper


def sync_enter(shape: Shape, host: Host) -> Wrapper:
    """Around entering such a manager, which sends the request."""

    def wrapper(
        wrapped: Callable[..., object],
        instance: object,
        args: tuple[object, ...],
        kwargs: Arguments,
    ) -> object:
        prepared = _noted_request(instance)
        if prepared is None:
            return wrapped(*args, **kwargs)
        call = _begin(host, prepared)
        with call:
            stream = wrapped(*args, **kwargs)
        _observe(call, shape, prepared, _raw_stream(stream), is_async=False)
        return stream

    return wrapper


def async_enter(shape: Shape, host: Host) -> Wrapper:
    """Around entering an async manager."""

    def wrapper(
        wrapped: Callable[..., Awaitable[object]],
        instance: object,
        args: tuple[object, ...],
        kwargs: Arguments,
    ) -> object:
        prepared = _noted_request(instance)
        if prepared is None:
            return wrapped(*args, **kwargs)
        return _entered(host, shape, prepared, wrapped(*args, **kwargs))

    return wrapper


async def _entered(host: Host, shape: Shape, prepared: Prepared, sent: Awaitable[object]) -> object:
    call = _begin(host, prepared)
    with call:
        stream = await sent
    _observe(call, shape, prepared, _raw_stream(stream), is_async=True)
    return stream


def sync_close(_host: Host) -> Wrapper:
    """Around a stream's `close`, which its iterator does not notice."""

    def wrapper(
        wrapped: Callable[..., object],
        instance: object,
        args: tuple[object, ...],
        kwargs: Arguments,
    ) -> object:
        try:
            return wrapped(*args, **kwargs)
        finally:
            _end_watch(instance)

    return wrapper


def async_close(_host: Host) -> Wrapper:
    """Around an async stream's `close`."""

    def wrapper(
        wrapped: Callable[..., Awaitable[object]],
        instance: object,
        args: tuple[object, ...],
        kwargs: Arguments,
    ) -> object:
        return _closed(instance, wrapped(*args, **kwargs))

    return wrapper


async def _closed(instance: object, closing: Awaitable[object]) -> object:
    try:
        return await closing
    finally:
        _end_watch(instance)


def _end_watch(stream: object) -> None:
    watching = watch_of(stream)
    if watching is not None:
        watching.end()


def _noted_request(made: object) -> Prepared | None:
    noted = part(made, _REQUEST)
    return noted if isinstance(noted, Prepared) else None


def _raw_stream(stream: object) -> object:
    return part(stream, "_raw_stream")


def _prepare(host: Host, shape: Shape, instance: object, kwargs: Arguments) -> Prepared | None:
    if host.tracer is None:
        return None
    with Guard("reading a request"):
        return shape.prepare(instance, kwargs)
    return None


def _begin(host: Host, prepared: Prepared) -> Call:
    tracer = host.tracer
    return Call() if tracer is None else tracer.start(prepared.request)


def _observe(
    call: Call, shape: Shape, prepared: Prepared, answer: object, *, is_async: bool
) -> None:
    """Finish the call with its answer, or leave that to the end of its stream."""
    with Guard("reading an answer"):
        raw = raw_mode(prepared.keywords)
        if raw:
            body_was_read = raw != _UNREAD and prepared.reader is None
            content = part(part(answer, "http_response"), "content") if body_was_read else None
            call.finish(shape.read(json.loads(cast("bytes", content))) if content else Reading())
        elif prepared.reader is None:
            call.finish(shape.read(answer))
        else:
            watch(answer, Watch(call, prepared.reader, prepared.tidy), is_async=is_async)
        return
    call.finish()


def raw_mode(kwargs: Arguments) -> str:
    """How the caller asked for the bare HTTP response; "" if not."""
    headers: object = kwargs.get("extra_headers")
    if not isinstance(headers, Mapping):
        return ""
    return str(cast("Mapping[str, object]", headers).get(RAW_RESPONSE_HEADER, ""))
