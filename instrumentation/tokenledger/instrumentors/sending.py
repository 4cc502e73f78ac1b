"""A request on its way that needs more than its answer read: a stream, a bare response, a parser.

Sync and async differ by the `await` only.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tokenledger.failures import Guard, report
from tokenledger.instrumentors import usage_request
from tokenledger.instrumentors.body import body_sent, holds_events, watch_body
from tokenledger.instrumentors.openai_usage import ChatStream
from tokenledger.instrumentors.streams import Watch, watch
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tokenledger.call import Call
    from tokenledger.instrumentors.endpoint import Endpoint
    from tokenledger.instrumentors.shape import Shape
    from tokenledger.instrumentors.streams import StreamReader
    from tokenledger.reading import Found


def finish_with(call: Call, read: Callable[[object], Found] | None, answer: object) -> None:
    """Finish a call with its answer. Never raises."""
    try:
        call.finish(None if read is None else read(answer))
    except Exception as error:  # noqa: BLE001 - the app gets its answer
        report("reading an answer", type(error).__name__)
        call.finish()


class Sending:
    """A request on its way that needs more than its answer read: a stream, a bare response.

    Args:
        call: the call it is.
        shape: its API.
        options: the SDK's own description of the request.
        stream: whether a stream is asked for.
        raw: how the caller asked for the bare HTTP response; "" if not.
    """

    __slots__ = ("_body", "_is_asking", "_options", "_raw", "_shape", "_stream", "_target", "call")

    # Where it goes, unless the app said itself whether it wants the usage.
    _target: usage_request.Target | None

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
        self._target = None
        self._is_asking = False

    def prepare(self, endpoint: Endpoint, model: object) -> None:
        """Ask for a stream's usage where that is open; read an answer before it is parsed."""
        options = self._options
        if not self._stream:
            if not self._raw:
                options.post_parser = partial(self.parsed, options.post_parser)
        elif self._shape.asks_for_usage:
            body = options.json_data
            # A body the app wrote itself, byte by byte, has no room for our question.
            if body.__class__ is dict and not usage_request.is_asked_by_app(
                body, options.extra_json
            ):
                self._target = usage_request.target_of(endpoint, model)
                self._is_asking = usage_request.may_ask(endpoint, self._target)
                self._body = body

    def send(self, request: Callable[[], object]) -> object:
        """Send the request; if what we added to it is refused, the caller's own."""
        if not self._is_asking:
            return request()
        self._options.json_data = usage_request.asking(self._body)
        doubted = False
        try:
            return request()
        except Exception as error:
            if not self._may_be_refused(error):
                raise
            doubted = not usage_request.names_the_question(error)
        finally:
            self._options.json_data = self._body
        # Outside of `except`, so that an error of this one does not name the first as its context.
        self._begin_again()
        answer = request()
        self._note_refusal(doubted=doubted)
        return answer

    async def send_async(self, request: Callable[[], Awaitable[object]]) -> object:
        """The same, awaited."""
        if not self._is_asking:
            return await request()
        self._options.json_data = usage_request.asking(self._body)
        doubted = False
        try:
            return await request()
        except Exception as error:
            if not self._may_be_refused(error):
                raise
            doubted = not usage_request.names_the_question(error)
        finally:
            self._options.json_data = self._body
        self._begin_again()
        answer = await request()
        self._note_refusal(doubted=doubted)
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
                finish_with(call, shape.read, answer)
        except Exception as error:  # noqa: BLE001 - the app gets its answer
            report("reading an answer", type(error).__name__)
            call.finish()

    def __deepcopy__(self, _memo: object) -> Sending:
        # Clients of other clouds copy the options deeply, with the parser in them.
        return self

    def parsed(self, parse: Callable[[Any], Any], answer: Any) -> object:  # noqa: ANN401
        """Read the answer before the SDK parses what the model wrote, which may fail."""
        self.observe(answer, is_async=False)
        return parse(answer)

    def _observe_stream(self, answer: Any, reader: StreamReader, *, is_async: bool) -> None:  # noqa: ANN401
        hides = self._prepare_reader(reader)
        watching = Watch(self.call, reader, body_sent(answer.response))
        hidden = "usage" if hides else ""
        watch(answer, watching, is_async=is_async, text_of=self._shape.text_of, hidden=hidden)

    def _observe_raw(self, answer: Any, *, is_async: bool) -> None:  # noqa: ANN401
        response = answer.http_response
        shape = self._shape
        if shape.stream is not None and (self._stream or holds_events(response)):
            reader = shape.stream()
            hides = self._prepare_reader(reader)
            watch_body(response, self.call, reader, is_async=is_async, holds_back=hides)
        elif shape.read is None:
            self.call.finish()
        else:
            watch_body(response, self.call, shape.read, is_async=is_async)

    def _prepare_reader(self, reader: StreamReader) -> bool:
        """Tell the reader of a chat stream whether we asked; whether it hides what that adds."""
        if not isinstance(reader, ChatStream):
            return False
        if self._is_asking:
            reader.hides_usage = True
            self._note(usage_request.ACCEPTS)
        elif self._target is not None:
            reader.usage_came_unasked = partial(self._note, usage_request.SENDS_UNASKED)
        return self._is_asking

    def _begin_again(self) -> None:
        """The second attempt is the same call, as a retry of the SDK is; its span says so."""
        self._is_asking = False
        self.call.note(names.HTTP_RESEND_COUNT, 1)

    def _may_be_refused(self, error: Exception) -> bool:
        with Guard("reading a refusal"):
            return self._target is not None and usage_request.may_be_refusal(error, self._target)
        return False

    def _note_refusal(self, *, doubted: bool) -> None:
        seconds = usage_request.DOUBTED_SECONDS if doubted else None
        self._note(usage_request.REFUSES, seconds)

    def _note(self, what: str, seconds: float | None = None) -> None:
        with Guard("remembering a host"):
            if self._target is not None:
                usage_request.TARGETS.note(self._target, what, seconds)
