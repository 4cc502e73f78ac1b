"""Wraps the one method of an SDK's client that every request goes through.

Whatever an app calls - `create`, `parse`, a stream helper, `with_raw_response`, a tool runner, a
method of a later release - arrives here with its path and its body, so one wrapper sees every call
once. Sync and async differ only by the `await`. While nothing is recorded the wrapper passes calls
through, since SDKs and apps store bound methods.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import attach, get_current

from tokenledger._attribution.layers import NOTHING, clean
from tokenledger._budget_switch import SWITCH
from tokenledger._calls.call import without_baggage
from tokenledger._guard import report
from tokenledger._state import RUNTIME
from tokenledger.instrumentors._stainless.attempts import failure
from tokenledger.instrumentors._stainless.call_keywords import CARRIER, pop_attribution
from tokenledger.instrumentors._stainless.gated import GatedRequest, gated
from tokenledger.instrumentors._stainless.pending import Pending, finish_with
from tokenledger.instrumentors._stainless.stream import end_watch
from tokenledger_semconv import attributes as names
from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from tokenledger._calls.tracer import CallTracer
    from tokenledger._usage.fields import Attributes
    from tokenledger.instrumentors._base.api import Api, RequestTemplate
    from tokenledger.instrumentors._base.api_shape import Body, Shape
    from tokenledger.instrumentors._base.patch_table import Host, Method
    from tokenledger.instrumentors._stainless.pending import Recorded

RAW_RESPONSE_HEADER: Final = "X-Stainless-Raw-Response"
"""Set by `with_raw_response` and `with_streaming_response` of these SDKs."""

_NO_BODY: Final[Body] = {}
_NUMBERS: Final = (int, float)


def sync_request(api: Api, host: Host, method: Method) -> Method:
    """Replace a client's `request`."""

    def request(client: object, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 - the SDK's
        tracer = host.tracer
        if tracer is None:
            return method(client, *args, **kwargs)
        recorded = _begin(api, tracer, client, args, kwargs)
        if isinstance(recorded, GatedRequest):
            recorded = recorded.admit()
        if recorded is None:
            with without_baggage():
                answer = method(client, *args, **kwargs)
            _read_other_answer(api, tracer, client, args, kwargs, answer)
            return answer
        call, read, pending = recorded
        attach(call.running)
        try:
            if pending is None:
                answer = method(client, *args, **kwargs)
            else:
                answer = pending.send(partial(method, client, *args, **kwargs))
        except BaseException as error:
            attach(call.before)
            call.finish(failure(call, error), error)
            raise
        attach(call.before)
        if pending is None:
            finish_with(call, read, answer)
        else:
            pending.observe(answer, is_async=False)
        return answer

    return request


def async_request(api: Api, host: Host, method: Method) -> Method:
    """Replace an async client's `request`."""

    async def request(client: object, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401
        tracer = host.tracer
        if tracer is None:
            return await method(client, *args, **kwargs)
        recorded = _begin(api, tracer, client, args, kwargs)
        if isinstance(recorded, GatedRequest):
            recorded = await recorded.admit_async()
        if recorded is None:
            with without_baggage():
                answer = await method(client, *args, **kwargs)
            _read_other_answer(api, tracer, client, args, kwargs, answer)
            return answer
        call, read, pending = recorded
        attach(call.running)
        try:
            if pending is None:
                answer = await method(client, *args, **kwargs)
            else:
                answer = await pending.send_async(partial(method, client, *args, **kwargs))
        except BaseException as error:
            call.leave()
            call.finish(failure(call, error), error)
            raise
        call.leave()
        if pending is None:
            finish_with(call, read, answer)
        else:
            pending.observe(answer, is_async=True)
        return answer

    return request


def sync_close(_host: Host, method: Method) -> Method:
    """Replace a stream's `close`, which its iterator does not notice."""

    def close(stream: object, *args: object, **kwargs: object) -> object:
        try:
            return method(stream, *args, **kwargs)
        finally:
            end_watch(stream)

    return close


def async_close(_host: Host, method: Method) -> Method:
    """Replace an async stream's `close`."""

    async def close(stream: object, *args: object, **kwargs: object) -> object:
        try:
            return await method(stream, *args, **kwargs)
        finally:
            end_watch(stream)

    return close


def _begin(
    api: Api,
    tracer: CallTracer,
    client: Any,  # noqa: ANN401 - of any release of the SDK
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Recorded | GatedRequest | None:
    """Start the call of a request; `None` passes the request through. Never raises.

    A request passes through if it is not a model call, or if it could not be read. One that budgets
    may refuse is read, and not started yet.
    """
    try:
        options: Any = args[1] if len(args) > 1 else kwargs["options"]
        headers, per_call, raw = options.headers, NOTHING, ""
        if headers.__class__ is dict:
            if CARRIER in headers:
                options.headers, per_call = pop_attribution(headers)
            raw = headers.get(RAW_RESPONSE_HEADER, "")
        body = options.json_data
        if body.__class__ is not dict or options.extra_json.__class__ is dict:
            body = _body_sent(options)
            if body is None:
                return None
        template = _template(api, client, options.url, body.get("model"))
        if template is None:
            return None
        shape = template.shape
        attributes = {**template.end_attributes}
        _add_settings(attributes, shape, body)
        stream = kwargs.get("stream") is True
        if stream:
            attributes[names.REQUEST_STREAM] = True
        if SWITCH.is_on and (
            request := gated(tracer, template, options, body, per_call, attributes, stream, raw)
        ):
            return request
        call = tracer.begin(
            template.start_attributes,
            get_current(),
            shape.user(body),
            per_call,
            settings=attributes,
        )
        if not (stream or raw or callable(options.post_parser)):
            return call, shape.read, None
        return call, shape.read, Pending.prepared(call, template, options, stream, raw)
    except Exception as error:  # noqa: BLE001 - the app's call goes on unrecorded
        report("reading a request", type(error).__name__)
        return None


def _body_sent(options: Any) -> Body | None:  # noqa: ANN401 - of any release of the SDK
    """The body of a request that the app wrote in part; `None` if the request creates nothing."""
    body, extra = options.json_data, options.extra_json
    if body.__class__ is not dict:
        if options.method.lower() != "post":
            # A list of earlier answers, under the same path that creates them.
            return None
        body = _NO_BODY
    # The SDK sends the extra fields in place of its own.
    return {**body, **extra} if extra.__class__ is dict else body


def _template(api: Api, client: Any, url: str, model: object) -> RequestTemplate | None:  # noqa: ANN401
    if not isinstance(model, str):
        model = "" if model is None else str(model)
    template = api.templates.get((id(client), url, model))
    if (
        template is None
        or template.base_url is not client._base_url  # noqa: SLF001
        or template.settings is not RUNTIME.setup.settings
    ):
        return api.make_template(client, url, model)
    return template


def _add_settings(attributes: Attributes, shape: Shape, body: Body) -> None:
    """Add what a request sets in addition to its model."""
    settings, fields = shape.settings, body.keys()
    for name in settings.keys() & fields:
        value = body[name]
        if isinstance(value, _NUMBERS):
            # One choice is the default, which the conventions leave out.
            if value != 1 or name != "n":
                attributes[settings[name]] = value
        elif value.__class__ is str:
            attributes[settings[name]] = value[:MAX_VALUE_LENGTH]
        elif isinstance(value, str):
            # A subclass may override any method.
            attributes[settings[name]] = clean(value)
    objects = shape.objects
    for name in objects.keys() & fields:
        # An argument that was left out is a marker object of the SDK's own, which is false.
        if value := body[name]:
            objects[name](value, attributes)
    if shape.note is not None:
        shape.note(body, attributes)


def _read_other_answer(  # noqa: PLR0913, PLR0917 - the arguments of the request, and its answer
    api: Api,
    tracer: CallTracer,
    client: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    answer: object,
) -> None:
    try:
        options = args[1] if len(args) > 1 else kwargs["options"]
        api.read_other_answer(tracer, partial(api.endpoints.of, client), options, answer)
    except Exception as error:  # noqa: BLE001 - the app gets its answer
        report("reading an answer that is not a model call", type(error).__name__)
