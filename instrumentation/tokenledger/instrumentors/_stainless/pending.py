"""A request in flight whose response needs more than one read: stream, bare response, parser.

Sync and async differ only by the `await`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from tokenledger._guard import report
from tokenledger.instrumentors._base.http_body import holds_events, request_body_of, watch_body
from tokenledger.instrumentors._base.watch import Watch
from tokenledger.instrumentors._stainless.stream import watch_stream
from tokenledger_semconv.attributes import HTTP_RESEND_COUNT, REQUEST_MODEL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from typing_extensions import Self

    from tokenledger._calls.call import Call
    from tokenledger._usage.fields import Attributes
    from tokenledger.instrumentors._base.api import RequestTemplate
    from tokenledger.instrumentors._base.api_shape import Shape, UsageRequest
    from tokenledger.instrumentors._base.endpoints import Endpoint
    from tokenledger.instrumentors._base.watch import StreamReader

Recorded: TypeAlias = "tuple[Call, Callable[[object], Attributes] | None, Pending | None]"
"""A request that is a model call: the call, the reader of its answer, and the handler of a stream,
of a bare response or of a parser (`None` for a plain answer). A named tuple would cost each call
eight more bytecodes."""


def finish_with(call: Call, read: Callable[[object], Attributes] | None, answer: object) -> None:
    """Finish a call with its answer. Never raises."""
    try:
        call.finish(None if read is None else read(answer))
    except Exception as error:  # noqa: BLE001 - the app gets its answer
        report("reading an answer", type(error).__name__)
        call.finish()


class Pending:
    """A request in flight whose answer needs more than a reader.

    Args:
        call: the call.
        shape: its API.
        options: the SDK's own description of the request.
        stream: whether a stream was requested.
        raw: how the caller requested the bare HTTP response; "" if not.
    """

    __slots__ = ("_options", "_raw", "_shape", "_stream", "_usage_request", "call")

    _usage_request: UsageRequest | None

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
        self._usage_request = None

    @classmethod
    def prepared(
        cls,
        call: Call,
        template: RequestTemplate,
        options: Any,  # noqa: ANN401
        stream: bool,
        raw: str,
    ) -> Self:
        """One that is ready to be sent."""
        pending = cls(call, template.shape, options, stream, raw)
        pending.prepare(template.endpoint, template.start_attributes.get(REQUEST_MODEL))
        return pending

    def prepare(self, endpoint: Endpoint, model: object) -> None:
        """Decide whether to ask for a stream's usage; read an answer before it is parsed."""
        options = self._options
        if not self._stream:
            if not self._raw:
                options.post_parser = partial(self.parse, options.post_parser)
        elif self._shape.ask_for_usage is not None:
            self._usage_request = self._shape.ask_for_usage(endpoint, model, options)

    def send(self, request: Callable[[], object]) -> object:
        """Send the request. If the host refuses what we added, send the caller's own request."""
        usage_request = self._usage_request
        if usage_request is None or not usage_request.is_pending:
            return request()
        usage_request.add()
        try:
            return request()
        except Exception as error:
            if not usage_request.is_refused(error):
                raise
        finally:
            usage_request.remove()
        # Outside of `except`, so that an error of this attempt does not have the first as context.
        self._mark_resend(usage_request)
        answer = request()
        usage_request.note_refusal()
        return answer

    async def send_async(self, request: Callable[[], Awaitable[object]]) -> object:
        """The same, awaited."""
        usage_request = self._usage_request
        if usage_request is None or not usage_request.is_pending:
            return await request()
        usage_request.add()
        try:
            return await request()
        except Exception as error:
            if not usage_request.is_refused(error):
                raise
        finally:
            usage_request.remove()
        self._mark_resend(usage_request)
        answer = await request()
        usage_request.note_refusal()
        return answer

    def observe(self, answer: Any, *, is_async: bool) -> None:  # noqa: ANN401
        """Finish the call with its answer, or at the end of its stream."""
        call, shape = self.call, self._shape
        try:
            if self._raw:
                self._observe_raw(answer, is_async=is_async)
            elif self._stream and shape.stream is not None:
                self._observe_stream(answer, shape.stream(), is_async=is_async)
            else:
                finish_with(call, shape.read, answer)
        except Exception as error:  # noqa: BLE001 - the app gets its answer
            report("reading an answer", type(error).__name__)
            call.finish()

    def __deepcopy__(self, _memo: object) -> Pending:
        # Clients of other clouds deep-copy the options, which hold our parser.
        return self

    def parse(self, parse: Callable[[Any], Any], answer: Any) -> object:  # noqa: ANN401
        """Read the answer before the SDK parses the model's output, which may fail."""
        self.observe(answer, is_async=False)
        return parse(answer)

    def _observe_stream(self, answer: Any, reader: StreamReader, *, is_async: bool) -> None:  # noqa: ANN401
        hides_usage = self._prepare_reader(reader)
        watch = Watch(self.call, reader, request_body_of(answer.response))
        hidden = "usage" if hides_usage else ""
        watch_stream(answer, watch, is_async=is_async, text_of=self._shape.text_of, hidden=hidden)

    def _observe_raw(self, answer: Any, *, is_async: bool) -> None:  # noqa: ANN401
        response = answer.http_response
        shape = self._shape
        if shape.stream is not None and (self._stream or holds_events(response)):
            reader = shape.stream()
            hides_usage = self._prepare_reader(reader)
            watch_body(response, self.call, reader, is_async=is_async, holds_back=hides_usage)
        elif shape.read is None:
            self.call.finish()
        else:
            watch_body(response, self.call, shape.read, is_async=is_async)

    def _prepare_reader(self, reader: StreamReader) -> bool:
        """Tell a stream's reader whether we asked; True if it hides what the usage option added."""
        return self._usage_request is not None and self._usage_request.prepare(reader)

    def _mark_resend(self, usage_request: UsageRequest) -> None:
        """The second attempt is the same call, as a retry by the SDK is; its span says so."""
        usage_request.mark_resend()
        self.call.note(HTTP_RESEND_COUNT, 1)
