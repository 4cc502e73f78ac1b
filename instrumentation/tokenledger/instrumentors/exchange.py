"""Around the one method of an SDK's client that every request goes through.

Whatever an app calls - `create`, `parse`, a stream helper, `with_raw_response`, a tool runner, a
method that a later release adds - comes down to it with its path and its body, so one wrapper sees
every call once. Sync and async differ by the `await` only. Where nothing is to be recorded the
wrapper passes straight through, since SDKs and apps keep bound methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from opentelemetry import context

from tokenledger.call import Running, without_baggage
from tokenledger.failures import Guard, report
from tokenledger.instrumentors import usage_request
from tokenledger.instrumentors.body import read_json, watch_body
from tokenledger.instrumentors.openai_usage import ChatStream
from tokenledger.instrumentors.per_request import CARRIER, take_off
from tokenledger.instrumentors.streams import Watch, end_watch, watch
from tokenledger.precedence import NOTHING
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tokenledger.call import Call
    from tokenledger.instrumentors.endpoint import Endpoint, Endpoints
    from tokenledger.instrumentors.patching import Host, Wrapper
    from tokenledger.instrumentors.shape import Body, Shape
    from tokenledger.instrumentors.streams import StreamReader
    from tokenledger.reading import Found
    from tokenledger.tracing import CallTracer

RAW_RESPONSE_HEADER: Final = "X-Stainless-Raw-Response"
"""Set by `with_raw_response` and `with_streaming_response` of both SDKs."""

_UNREAD: Final = "stream"
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


@dataclass(frozen=True, slots=True)
class Api:
    """What is known of one SDK.

    Args:
        shapes: path -> shape of the model call that is made there.
        endpoints: who its clients talk to.
        aside: reads the answers of all other paths.
    """

    shapes: Mapping[str, Shape]
    endpoints: Endpoints
    aside: Aside


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
            _finish(call, read, answer)
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
        _finish(call, read, answer)
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


class _Sent:
    """A request on its way that needs more than its answer read: a stream, a bare response.

    Args:
        call: the call it is.
        shape: its API.
        options: the SDK's own description of the request.
        stream: whether a stream is asked for.
        raw: how the caller asked for the bare HTTP response; "" if not.
    """

    __slots__ = ("_body", "_host", "_options", "_raw", "_shape", "_stream", "call")

    # Where it goes, while it asks for its usage.
    _host: usage_request.Host | None

    def __init__(
        self,
        call: Call,
        shape: Shape,
        options: Any,  # noqa: ANN401
        stream: bool,
        raw: str,
    ) -> None:
        self.call = call
        self._shape = shape
        self._options = options
        self._stream = stream
        self._raw = raw
        self._host = None

    def prepare(self, body: Body, host: usage_request.Host) -> None:
        """Ask for a stream's usage where that is open; read an answer before it is parsed."""
        options = self._options
        if not self._stream:
            options.post_parser = partial(self.parsed, options.post_parser)
        elif self._shape.asks_for_usage and usage_request.may_ask(body, options.extra_json, host):
            self._host = host
            self._body = body

    def send(
        self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> object:
        """Send the request; if what we added to it is refused, the caller's own."""
        if self._host is None:
            return method(*args, **kwargs)
        self._ask()
        try:
            return method(*args, **kwargs)
        except Exception as error:
            if not self._is_refused(error):
                raise
        finally:
            self._options.json_data = self._body
        # Outside of `except`, so that an error of this one does not name the first as its context.
        answer = method(*args, **kwargs)
        self._note_refusal()
        return answer

    async def send_async(
        self, method: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> object:
        """The same, awaited."""
        if self._host is None:
            return await method(*args, **kwargs)
        self._ask()
        try:
            return await method(*args, **kwargs)
        except Exception as error:
            if not self._is_refused(error):
                raise
        finally:
            self._options.json_data = self._body
        answer = await method(*args, **kwargs)
        self._note_refusal()
        return answer

    def observe(self, answer: Any, *, is_async: bool) -> None:  # noqa: ANN401
        """Finish the call with its answer, or leave that to the end of its stream."""
        call, shape = self.call, self._shape
        try:
            if self._raw:
                self._observe_raw(answer, is_async=is_async)
            elif self._stream and shape.stream is not None:
                self._observe_stream(answer, shape.stream(), is_async=is_async)
            else:
                _finish(call, shape.read, answer)
        except Exception as error:  # noqa: BLE001 - the app gets its answer
            report("reading an answer", type(error).__name__)
            call.finish()

    def parsed(self, parse: Callable[[Any], Any], answer: Any) -> object:  # noqa: ANN401
        """Read the answer before the SDK parses what the model wrote, which may fail."""
        self.observe(answer, is_async=False)
        return parse(answer)

    def _observe_stream(self, answer: Any, reader: StreamReader, *, is_async: bool) -> None:  # noqa: ANN401
        hidden = ""
        if self._host is not None and isinstance(reader, ChatStream):
            reader.hides_usage, hidden = True, "usage"
        watching = Watch(self.call, reader, partial(_request_body, answer.response))
        watch(answer, watching, is_async=is_async, text_of=self._shape.text_of, hidden=hidden)

    def _observe_raw(self, answer: Any, *, is_async: bool) -> None:  # noqa: ANN401
        response = answer.http_response
        shape = self._shape
        if self._stream and shape.stream is not None:
            watch_body(response, self.call, shape.stream(), is_async=is_async)
        elif shape.read is None:
            self.call.finish()
        elif self._raw == _UNREAD:
            watch_body(response, self.call, shape.read, is_async=is_async)
        else:
            self.call.finish(shape.read(read_json(response.content)))

    def _ask(self) -> None:
        self._options.json_data = usage_request.asking(self._body)

    def _is_refused(self, error: Exception) -> bool:
        with Guard("reading a refusal"):
            return usage_request.is_refusal(error)
        return False

    def _note_refusal(self) -> None:
        if self._host is not None:
            usage_request.REFUSING_HOSTS.add(self._host)
        self._host = None


_Begun: TypeAlias = "tuple[Call | None, Callable[[object], Found] | None, _Sent | None]"


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
        options = args[1] if len(args) > 1 else kwargs["options"]
        headers, per_call, raw = options.headers, NOTHING, ""
        if isinstance(headers, dict):
            if CARRIER in headers:
                options.headers, per_call = take_off(headers)
            raw = headers.get(RAW_RESPONSE_HEADER, "")
        shape = api.shapes.get(options.url)
        if shape is None:
            return _NO_CALL
        body = options.json_data
        if not isinstance(body, dict):
            body = _NO_BODY
        endpoint = api.endpoints.of(client)
        stream = kwargs.get("stream") is True
        told = _told(shape, endpoint, body)
        if stream:
            told[names.REQUEST_STREAM] = True
        call = tracer.begin(told, context.get_current(), shape.user(body), per_call)
        if not (stream or raw or callable(options.post_parser)):
            return call, shape.read, None
        sent = _Sent(call, shape, options, stream, raw)
        if not raw:
            sent.prepare(body, (endpoint.address, endpoint.port))
    except Exception as error:  # noqa: BLE001 - the app's call goes on unrecorded
        report("reading a request", type(error).__name__)
        return _NO_CALL
    return call, shape.read, sent


_NO_CALL: Final[_Begun] = (None, None, None)


def _finish(call: Call, read: Callable[[object], Found] | None, answer: object) -> None:
    try:
        call.finish(None if read is None else read(answer))
    except Exception as error:  # noqa: BLE001 - the app gets its answer
        report("reading an answer", type(error).__name__)
        call.finish()


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


def _request_body(response: Any) -> bytes:  # noqa: ANN401 - of httpx or of httpx2
    content = response.request.content
    return content if isinstance(content, bytes) else b""
