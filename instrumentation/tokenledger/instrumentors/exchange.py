"""Around the one method of an SDK's client that every request goes through.

Whatever an app calls - `create`, `parse`, a stream helper, `with_raw_response`, a tool runner, a
method that a later release adds - comes down to it with its path and its body, so one wrapper sees
every call once. Sync and async differ by the `await` only. Where nothing is to be recorded the
wrapper passes straight through, since SDKs and apps keep bound methods.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from opentelemetry.context import attach, get_current

from tokenledger.call import without_baggage
from tokenledger.failures import report
from tokenledger.instrumentors.content import telling
from tokenledger.instrumentors.per_request import CARRIER, take_off
from tokenledger.instrumentors.sending import Sending, finish_with
from tokenledger.instrumentors.streams import end_watch
from tokenledger.precedence import NOTHING, clean
from tokenledger.runtime import RUNTIME
from tokenledger_semconv import attributes as names
from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.util.types import AttributeValue

    from tokenledger.call import Call
    from tokenledger.instrumentors.endpoint import Endpoint, Endpoints
    from tokenledger.instrumentors.patching import Host, Method
    from tokenledger.instrumentors.shape import Body, Shape
    from tokenledger.reading import Found
    from tokenledger.tracing import CallTracer
    from tokenledger_semconv.settings import Settings

RAW_RESPONSE_HEADER: Final = "X-Stainless-Raw-Response"
"""Set by `with_raw_response` and `with_streaming_response` of both SDKs."""

_MOST_PLANS: Final = 1_024
_NO_BODY: Final[Body] = {}
_NUMBERS: Final = (int, float)


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

    __slots__ = ("_plain", "_shapes", "aside", "endpoints", "is_recorded", "plans")

    def __init__(self, shapes: Mapping[str, Shape], endpoints: Endpoints, aside: Aside) -> None:
        self._plain = shapes
        self._shapes = shapes
        # By client, path and model. A client's place in memory may become another's, whose URL is
        # another object.
        self.plans: dict[tuple[int, str, str], Plan] = {}
        self.endpoints = endpoints
        self.aside = aside
        self.is_recorded = False

    def tell_content(self, *, asked_for: bool) -> None:
        """Put messages on the spans from now on, or no longer."""
        plain = self._plain
        self._shapes = {path: telling(plain[path]) for path in plain} if asked_for else plain
        self.plans = {}

    def plan(self, client: Any, url: str, model: str) -> Plan | None:  # noqa: ANN401
        """What all requests like this one have in common; `None` if they are no model call."""
        shape = self._shapes.get(url) or self._shape_at(client, url)
        if shape is None:
            return None
        endpoint = self.endpoints.of(client)
        told = {**endpoint.told, names.OPERATION_NAME: shape.told[names.OPERATION_NAME]}
        if model:
            told[names.REQUEST_MODEL] = clean(model)
        beside = {name: shape.told[name] for name in shape.told.keys() - told.keys()}
        settings = RUNTIME.setup.settings
        plan = Plan(client._base_url, settings, shape, endpoint, told, beside)  # noqa: SLF001
        if len(self.plans) >= _MOST_PLANS:
            self.plans = {}
        self.plans[id(client), url, model] = plan
        return plan

    def _shape_at(self, client: Any, url: str) -> Shape | None:  # noqa: ANN401
        """The API of a path the app wrote itself, like `client.post("chat/completions")`."""
        path = url.removeprefix(str(getattr(client, "_base_url", "")))
        known = self._shapes.get(f"/{path.lstrip('/')}")
        return known or self._shapes.get(f"/{path.partition('?')[0].lstrip('/')}")


class Plan(NamedTuple):
    """What all requests of one client to one path for one model have in common.

    Args:
        base_url: the client's, by which the client is known to be the same.
        settings: what was in force when this was read.
        shape: the API.
        endpoint: who is talked to.
        told: what the span of a call says at its start, for samplers; nobody may change it.
        beside: what it is told with the answer.
    """

    base_url: object
    settings: Settings
    shape: Shape
    endpoint: Endpoint
    told: Mapping[str, AttributeValue]
    beside: Mapping[str, AttributeValue]


def sync_request(api: Api, host: Host, method: Method) -> Method:
    """In place of a client's `request`."""

    def request(client: object, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 - the SDK's
        tracer = host.tracer
        if tracer is None:
            return method(client, *args, **kwargs)
        call, read, sent = _begin(api, tracer, client, args, kwargs)
        if call is None:
            with without_baggage():
                answer = method(client, *args, **kwargs)
            _read_aside(api, tracer, client, args, kwargs, answer)
            return answer
        attach(call.running)
        try:
            if sent is None:
                answer = method(client, *args, **kwargs)
            else:
                answer = sent.send(partial(method, client, *args, **kwargs))
        except BaseException as error:
            attach(call.before)
            call.finish(error=error)
            raise
        attach(call.before)
        if sent is None:
            finish_with(call, read, answer)
        else:
            sent.observe(answer, is_async=False)
        return answer

    return request


def async_request(api: Api, host: Host, method: Method) -> Method:
    """In place of an async client's `request`."""

    async def request(client: object, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401
        tracer = host.tracer
        if tracer is None:
            return await method(client, *args, **kwargs)
        call, read, sent = _begin(api, tracer, client, args, kwargs)
        if call is None:
            with without_baggage():
                answer = await method(client, *args, **kwargs)
            _read_aside(api, tracer, client, args, kwargs, answer)
            return answer
        attach(call.running)
        try:
            if sent is None:
                answer = await method(client, *args, **kwargs)
            else:
                answer = await sent.send_async(partial(method, client, *args, **kwargs))
        except BaseException as error:
            call.leave()
            call.finish(error=error)
            raise
        call.leave()
        if sent is None:
            finish_with(call, read, answer)
        else:
            sent.observe(answer, is_async=True)
        return answer

    return request


def sync_close(_host: Host, method: Method) -> Method:
    """In place of a stream's `close`, which its iterator does not notice."""

    def close(stream: object, *args: object, **kwargs: object) -> object:
        try:
            return method(stream, *args, **kwargs)
        finally:
            end_watch(stream)

    return close


def async_close(_host: Host, method: Method) -> Method:
    """In place of an async stream's `close`."""

    async def close(stream: object, *args: object, **kwargs: object) -> object:
        try:
            return await method(stream, *args, **kwargs)
        finally:
            end_watch(stream)

    return close


_Begun: TypeAlias = "tuple[Call | None, Callable[[object], Found] | None, Sending | None]"


def _begin(
    api: Api,
    tracer: CallTracer,
    client: Any,  # noqa: ANN401 - of any release of the SDK
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
        body = options.json_data
        if body.__class__ is not dict or options.extra_json.__class__ is dict:
            body = _written_body(options)
            if body is None:
                return _NO_CALL
        plan = _plan(api, client, options.url, body.get("model"))
        if plan is None:
            return _NO_CALL
        shape = plan.shape
        settings = {**plan.beside}
        _add_settings(settings, shape, body)
        stream = kwargs.get("stream") is True
        if stream:
            settings[names.REQUEST_STREAM] = True
        call = tracer.begin(plan.told, get_current(), shape.user(body), per_call, settings=settings)
        if not (stream or raw or callable(options.post_parser)):
            return call, shape.read, None
        sent = Sending(call, shape, options, stream, raw)
        sent.prepare(plan.endpoint, plan.told.get(names.REQUEST_MODEL))
    except Exception as error:  # noqa: BLE001 - the app's call goes on unrecorded
        report("reading a request", type(error).__name__)
        return _NO_CALL
    return call, shape.read, sent


def _written_body(options: Any) -> Body | None:  # noqa: ANN401 - of any release of the SDK
    """A body that the app wrote a part of; `None` for a request that makes nothing."""
    body, instead = options.json_data, options.extra_json
    if body.__class__ is not dict:
        if options.method.lower() != "post":
            # What was answered before, listed under the path that made it.
            return None
        body = _NO_BODY
    # The SDK sends it in place of its own fields.
    return {**body, **instead} if instead.__class__ is dict else body


def _plan(api: Api, client: Any, url: str, model: object) -> Plan | None:  # noqa: ANN401
    if not isinstance(model, str):
        model = "" if model is None else str(model)
    plan = api.plans.get((id(client), url, model))
    if (
        plan is None
        or plan.base_url is not client._base_url  # noqa: SLF001
        or plan.settings is not RUNTIME.setup.settings
    ):
        return api.plan(client, url, model)
    return plan


_NO_CALL: Final[_Begun] = (None, None, None)


def _add_settings(told: Found, shape: Shape, body: Body) -> None:
    """What a request says beside its model."""
    settings = shape.settings
    for name in settings.keys() & body.keys():
        value = body[name]
        if isinstance(value, _NUMBERS):
            told[settings[name]] = value
        elif isinstance(value, str):
            told[settings[name]] = value[:MAX_VALUE_LENGTH]
    if shape.note is not None:
        shape.note(body, told)


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
