"""Following the body of an HTTP response that an app reads by itself.

`with_streaming_response`, and `with_raw_response` on a stream, return the response before its body
is read. Every way to read the body passes through the response's `iter_bytes` or `iter_raw`, so
these are replaced on the one response object. Nothing is stored beyond the end of the call.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tokenledger._guard import Guard
from tokenledger._usage.fields import read_json
from tokenledger.instrumentors._base.byte_tap import feed, watch_bytes
from tokenledger.instrumentors._base.event_stream import (
    AWS_EVENTS,
    SERVER_SENT_EVENTS,
    AwsEvents,
    Events,
    event_of,
)
from tokenledger.instrumentors._base.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger._calls.call import Call
    from tokenledger._usage.fields import Attributes
    from tokenledger.instrumentors._base.byte_tap import Body
    from tokenledger.instrumentors._base.watch import StreamReader

_MAX_BUFFERED_BYTES: Final = 32 * 1024 * 1024
_JSON_STARTS: Final = (b"{", b"[", b" ", b"\r", b"\n", b"\t")
_LINE_STARTS: Final = (b"{", b"\n")


def read_events(response: Any) -> list[object]:  # noqa: ANN401 - of httpx or of httpx2
    """The server-sent events of a response that was read; empty for any other content."""
    if not holds_events(response):
        return []
    events = map(event_of, response.content.split(b"\n"))
    return [event for event in events if event is not None]


def answer_content(answer: Any) -> object:  # noqa: ANN401 - whatever an SDK returns
    """The SDK's object, or the JSON of a bare response that was read."""
    response = getattr(answer, "http_response", None)
    if response is None:
        return answer
    return read_json(response.content) if response.is_closed else None


def is_async_body(response: Any) -> bool:  # noqa: ANN401 - of httpx or of httpx2
    """Whether the unread body of a response is read by `await`."""
    return not hasattr(response.stream, "__iter__")


def watch_body(
    response: Any,  # noqa: ANN401 - of httpx or of httpx2
    call: Call,
    reader: StreamReader | Callable[[object], Attributes],
    *,
    is_async: bool,
    holds_back: bool = False,
) -> None:
    """Finish a call with a response's body: while the app reads it, or at once if it was read.

    Args:
        response: the HTTP response.
        call: the call to finish.
        reader: of the stream, or of the whole JSON answer.
        is_async: whether the body is read by `await`.
        holds_back: whether the reader may hide events from the app.
    """
    body: Body
    if callable(reader):
        body = _Json(call, reader)
    else:
        watch = Watch(call, reader, request_body_of(response))
        if media_type(response) == AWS_EVENTS:
            body = AwsEvents(watch)
        else:
            body = Events(watch, holds_back=holds_back)
    if response.is_closed:
        feed(body, response.content)
        body.end(whole=True)
    else:
        watch_bytes(response, body, is_async=is_async)


def media_type(response: Any) -> str:  # noqa: ANN401 - of httpx or of httpx2
    """The media type of a response's body, without its parameters."""
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower()


def holds_events(response: Any) -> bool:  # noqa: ANN401 - of httpx or of httpx2
    """Whether a response's body is a stream of server-sent events."""
    return media_type(response) == SERVER_SENT_EVENTS


class _Json:
    """One JSON answer."""

    is_reading = False
    holds_back = False

    def __init__(self, call: Call, read: Callable[[object], Attributes]) -> None:
        self._call = call
        self._read = read
        self._buffer: list[bytes] = []
        self._size = 0
        self._process = os.getpid()

    def feed(self, data: bytes) -> bytes:
        if data and not self._size and not data.startswith(_JSON_STARTS):
            # Sound or plain text: it holds no usage and may be long.
            self._size = _MAX_BUFFERED_BYTES
        self._size += len(data)
        if self._size <= _MAX_BUFFERED_BYTES:
            self._buffer.append(data)
        return data

    def rest(self) -> bytes:
        return b""

    def end(self, error: BaseException | None = None, *, whole: bool = False) -> None:
        # After a fork, the child drops its copy of a body: the parent ends it.
        if not (whole or self._process == os.getpid()):
            return
        attributes: Attributes = {}
        if whole and not self._call.is_finished:
            with Guard("reading a body"):
                attributes = self._read(read_json(b"".join(self._buffer)))
        self._buffer.clear()
        is_closed = isinstance(error, GeneratorExit)
        abandoned = not whole and (is_closed or error is None)
        self._call.finish(attributes, None if is_closed else error, abandoned=abandoned)

    def __del__(self) -> None:
        self.end()


def request_body_of(response: Any) -> Callable[[], bytes]:  # noqa: ANN401 - of httpx or of httpx2
    """Returns a getter of the body of a response's request; its result is empty if unknown.

    A response made by a client's middleware has no request, and a body may itself be a stream.
    """
    try:
        request = response.request
    except Exception:  # noqa: BLE001 - no request; each client raises its own error class
        return bytes
    return partial(_content_of, request)


def _content_of(request: Any) -> bytes:  # noqa: ANN401
    content = request.content
    return content if isinstance(content, bytes) else b""


class Lines:
    """A file of JSON objects, one per line, each read by itself.

    Args:
        take: reads one line; False if the file is of another kind.
    """

    is_reading = False
    holds_back = False

    def __init__(self, take: Callable[[bytes], bool]) -> None:
        self._take = take
        self._buffer: list[bytes] = []
        self._size = 0
        self._is_wanted = True

    def rest(self) -> bytes:
        """Nothing is held back."""
        return b""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes."""
        if self._is_wanted:
            self._take_lines(data)
        return data

    def _take_lines(self, data: bytes) -> None:
        if not self._buffer and data and not data.startswith(_LINE_STARTS):
            self._give_up()
            return
        whole, line_break, rest = data.rpartition(b"\n")
        if line_break:
            lines = b"".join((*self._buffer, whole)).split(b"\n")
            self._buffer, self._size = [], 0
            if not all(self._take(line) for line in lines if line):
                self._give_up()
                return
        if rest:
            self._buffer.append(rest)
            self._size += len(rest)
            if self._size > _MAX_BUFFERED_BYTES:
                self._give_up()

    def end(self, error: BaseException | None = None, *, whole: bool = False) -> None:
        """Read what follows the last line break."""
        if whole and self._is_wanted and self._buffer and error is None:
            self._take(b"".join(self._buffer))
        self._give_up()

    def _give_up(self) -> None:
        self._is_wanted = False
        self._buffer.clear()
