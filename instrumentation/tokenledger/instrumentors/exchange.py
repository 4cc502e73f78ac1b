"""Around the one method of an SDK's client that every request goes through.

Whatever an app calls - `create`, `parse`, a stream helper, `with_raw_response`, a tool runner, a
method that a later release adds - comes down to it with its path and its body, so one wrapper sees
every call once. Sync and async differ by the `await` only. Where nothing is to be recorded the
wrapper passes straight through, since SDKs and apps keep bound methods.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from opentelemetry import context

from tokenledger.call import Running, without_baggage
from tokenledger.failures import report
from tokenledger.instrumentors.content import telling
from tokenledger.instrumentors.per_request import CARRIER, take_off
from tokenledger.instrumentors.sending import Sending, finish_with
from tokenledger.instrumentors.streams import end_watch
from tokenledger.precedence import NOTHING
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tokenledger.call import Call
    from tokenledger.instrumentors.endpoint import Endpoint, Endpoints
    from tokenledger.instrumentors.patching import Host, Wrapper
    from tokenledger.instrumentors.shape import Body, Shape
    from tokenledger.reading import Found
    from tokenledger.tracing import CallTracer

RAW_RESPONSE_HEADER: Final = "X-Stainless-Raw-Response"
"""Set by `with_raw_response` and `with_streaming_response` of both SDKs."""

_NO_BODY: Final[Body] = {}
_PLAIN: Final = (int, float, str)


class Aside(Protocol):
    """What is done with answers of an SDK that are no model call themselves."""

    def __call__(
        self,
        tracer: CallTracer,
        endpoint: Callable[[], Endpoint],
        options: Any,  # noqa: ANN401 - of any release of the SDK
        answer: Any,  # noqa: ANN401
    ) -> None:
        """Read an answer: a file of batch results, a response fetched again."""
        ...


class Api:
    """What is known of one SDK.

    Args:
        shapes: path -> shape of the model call that is made there.
        endpoints: who its clients talk to.
        aside: reads the answers of all other paths.

    Its `is_recorded` says whether the SDK's calls are recorded right now.
    """

    __slots__ = ("_plain", "aside", "endpoints", "is_recorded", "shapes")

    def __init__(self, shapes: Mapping[str, Shape], endpoints: Endpoints, aside: Aside) -> None:
        self._plain = shapes
        self.shapes = shapes
        self.endpoints = endpoints
        self.aside = aside
        self.is_recorded = False

    def tell_content(self, *, asked_for: bool) -> None:
        """Put messages on the spans from now on, or no longer."""
        plain = self._plain
        self.shapes = {path: telling(plain[path]) for path in plain} if asked_for else plain


def sync_request(api: Api, host: Host) -> Wrapper:
    """Around a client's `request`."""

    def wrapper(
        wrapped: Callable[..., Any],
        instance: Any,  # noqa: ANN401 - a client of any release of the SDK
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        tracer = host.tracer
        if tracer is None:
            return wrapped(*args, **kwargs)
        call, read, sent = _begin(api, tracer, instance, args, kwargs)
        if call is None:
            with without_baggage():
                answer = wrapped(*args, **kwargs)
            _read_aside(api, tracer, instance, args, kwargs, answer)
            return answer
        context.attach(call.running)
        try:
            answer = wrapped(*args, **kwargs) if sent is None else sent.send(wrapped, args, kwargs)
        except BaseException as error:
            context.attach(call.before)
            call.finish(error=error)
            raise
        context.attach(call.before)
        if sent is None:
            finish_with(call, read, answer)
        else:
            sent.observe(answer, is_async=False)
        return answer

    return wrapper


def async_request(api: Api, host: Host) -> Wrapper:
    """Around an async client's `request`."""

    def wrapper(
        wrapped: Callable[..., Awaitable[Any]],
        instance: Any,  # noqa: ANN401 - a client of any release of the SDK
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        tracer = host.tracer
        if tracer is None:
            return wrapped(*args, **kwargs)
        return _awaited(api, tracer, wrapped, instance, args, kwargs)

    return wrapper


async def _awaited(  # noqa: PLR0913, PLR0917 - what wrapt gives, and whose call it is
    api: Api,
    tracer: CallTracer,
    wrapped: Callable[..., Awaitable[Any]],
    instance: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> object:
    call, read, sent = _begin(api, tracer, instance, args, kwargs)
    if call is None:
        with without_baggage():
            answer = await wrapped(*args, **kwargs)
        _read_aside(api, tracer, instance, args, kwargs, answer)
        return answer
    with Running(call.before, call.running):
        try:
            if sent is None:
                answer = await wrapped(*args, **kwargs)
            else:
                answer = await sent.send_async(wrapped, args, kwargs)
        except BaseException as error:
            call.finish(error=error)
            raise
    if sent is None:
        finish_with(call, read, answer)
    else:
        sent.observe(answer, is_async=True)
    return answer


def sync_close(_host: Host) -> Wrapper:
    """Around a stream's `close`, which its iterator does not notice."""

    def wrapper(
        wrapped: Callable[..., object],
        instance: object,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        try:
            return wrapped(*args, **kwargs)
        finally:
            end_watch(instance)

    return wrapper


def async_close(_host: Host) -> Wrapper:
    """Around an async stream's `close`."""

    def wrapper(
        wrapped: Callable[..., Awaitable[object]],
        instance: object,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        return _closed(instance, wrapped(*args, **kwargs))

    return wrapper


async def _closed(instance: object, closing: Awaitable[object]) -> object:
    try:
        return await closing
    finally:
        end_watch(instance)


_Begun: TypeAlias = "tuple[Call | None, Callable[[object], Found] | None, Sending | None]"


def _begin(
    api: Api,
    tracer: CallTracer,
    client: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> _Begun:
    """The call that a request is, what reads its answer, and what else it needs. Never raises.

    Without a call it is no model call, or could not be read; without the last it needs nothing.
    """
    try:
        options: Any = args[1] if len(args) > 1 else kwargs["options"]
        headers, per_call, raw = options.headers, NOTHING, ""
        if headers.__class__ is dict:
            if CARRIER in headers:
                options.headers, per_call = take_off(headers)
            raw = headers.get(RAW_RESPONSE_HEADER, "")
        shape = api.shapes.get(options.url) or _shape_at(api, client, options.url)
        if shape is None:
            return _NO_CALL
        body = options.json_data
        if body.__class__ is not dict:
            body = _NO_BODY
        endpoint = api.endpoints.of(client)
        stream = kwargs.get("stream") is True
        told = _told(shape, endpoint, body)
        if stream:
            told[names.REQUEST_STREAM] = True
        call = tracer.begin(told, context.get_current(), shape.user(body), per_call)
        if not (stream or raw or callable(options.post_parser)):
            return call, shape.read, None
        sent = Sending(call, shape, options, stream, raw)
        if not raw:
            sent.prepare(body, (endpoint.address, endpoint.port))
    except Exception as error:  # noqa: BLE001 - the app's call goes on unrecorded
        report("reading a request", type(error).__name__)
        return _NO_CALL
    return call, shape.read, sent


def _shape_at(api: Api, client: Any, url: str) -> Shape | None:  # noqa: ANN401
    """The API of a path the app wrote itself, like `client.post("chat/completions")`."""
    path = url.removeprefix(str(getattr(client, "_base_url", "")))
    known = api.shapes.get(f"/{path.lstrip('/')}")
    return known or api.shapes.get(f"/{path.partition('?')[0].lstrip('/')}")


_NO_CALL: Final[_Begun] = (None, None, None)


def _told(shape: Shape, endpoint: Endpoint, body: Body) -> Found:
    """What the span of a call says at its start."""
    told: Found = {**endpoint.told, **shape.told}
    if (model := body.get("model")) is not None:
        told[names.REQUEST_MODEL] = str(model)
    settings = shape.settings
    for name in settings.keys() & body.keys():
        value = body[name]
        if isinstance(value, _PLAIN):
            told[settings[name]] = value
    if shape.note is not None:
        shape.note(body, told)
    return told


def _read_aside(  # noqa: PLR0913, PLR0917 - what wrapt gives, and whose answer it is
    api: Api,
    tracer: CallTracer,
    client: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    answer: object,
) -> None:
    try:
        options = args[1] if len(args) > 1 else kwargs["options"]
        api.aside(tracer, partial(api.endpoints.of, client), options, answer)
    except Exception as error:  # noqa: BLE001 - the app gets its answer
        report("reading an answer that is no model call", type(error).__name__)
