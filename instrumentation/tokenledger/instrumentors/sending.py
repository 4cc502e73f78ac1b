"""A request on its way that needs more than its answer read: a stream, a bare response, a parser.

Sync and async differ by the `await` only.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tokenledger.failures import Guard, report
from tokenledger.instrumentors import usage_request
from tokenledger.instrumentors.body import (
    holds_events,
    request_body,
    watch_body,
)
from tokenledger.instrumentors.openai_usage import ChatStream
from tokenledger.instrumentors.streams import Watch, watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tokenledger.call import Call
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

    def prepare(self, host: usage_request.Host) -> None:
        """Ask for a stream's usage where that is open; read an answer before it is parsed."""
        options = self._options
        if not self._stream:
            options.post_parser = partial(self.parsed, options.post_parser)
        elif self._shape.asks_for_usage:
            body = options.json_data
            # A body the app wrote itself, byte by byte, has no room for our question.
            if body.__class__ is dict and usage_request.may_ask(body, options.extra_json, host):
                self._host = host
                self._body = body

    def send(self, request: Callable[[], object]) -> object:
        """Send the request; if what we added to it is refused, the caller's own."""
        if self._host is None:
            return request()
        self._ask()
        try:
            return request()
        except Exception as error:
            if not self._is_refused(error):
                raise
        finally:
            self._options.json_data = self._body
        # Outside of `except`, so that an error of this one does not name the first as its context.
        answer = request()
        self._note_refusal()
        return answer

    async def send_async(self, request: Callable[[], Awaitable[object]]) -> object:
        """The same, awaited."""
        if self._host is None:
            return await request()
        self._ask()
        try:
            return await request()
        except Exception as error:
            if not self._is_refused(error):
                raise
        finally:
            self._options.json_data = self._body
        answer = await request()
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
        hidden = ""
        if self._host is not None and isinstance(reader, ChatStream):
            reader.hides_usage, hidden = True, "usage"
        watching = Watch(self.call, reader, partial(request_body, answer.response.request))
        watch(answer, watching, is_async=is_async, text_of=self._shape.text_of, hidden=hidden)

    def _observe_raw(self, answer: Any, *, is_async: bool) -> None:  # noqa: ANN401
        response = answer.http_response
        shape = self._shape
        reader: StreamReader | Callable[[object], Found] | None = shape.read
        if shape.stream is not None and (self._stream or holds_events(response)):
            reader = shape.stream()
        if reader is None:
            self.call.finish()
        else:
            watch_body(response, self.call, reader, is_async=is_async)

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
