"""Watching the body of a bare HTTP response that an app reads by itself.

`with_streaming_response`, and `with_raw_response` on a stream, hand out the response before its
body is read, and every way to read it passes through the response's `iter_bytes` or, for the bytes
as they came, `iter_raw`. So these are exchanged on the one response object. What passes is read and
forgotten; it is never kept beyond the end of the call.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tokenledger.failures import Guard
from tokenledger.instrumentors.body_passing import shown, watch_bytes
from tokenledger.instrumentors.event_bodies import (
    AWS_EVENTS,
    SERVER_SENT_EVENTS,
    AwsEvents,
    Events,
    event_of,
)
from tokenledger.instrumentors.streams import Watch
from tokenledger.reading import read_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger.call import Call
    from tokenledger.instrumentors.body_passing import Body
    from tokenledger.instrumentors.streams import StreamReader
    from tokenledger.reading import Found

_MOST_KEPT_BYTES: Final = 32 * 1024 * 1024
_JSON_STARTS: Final = (b"{", b"[", b" ", b"\r", b"\n", b"\t")
_LINE_STARTS: Final = (b"{", b"\n")


def read_events(response: Any) -> list[object]:  # noqa: ANN401 - of httpx or of httpx2
    """The server-sent events of a response whose body was read; none if it holds anything else."""
    if not holds_events(response):
        return []
    found = map(event_of, response.content.split(b"\n"))
    return [event for event in found if event is not None]


def told_by(answer: Any) -> object:  # noqa: ANN401 - whatever an SDK hands out
    """An SDK's object, or the JSON of a bare response that was read."""
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
    reader: StreamReader | Callable[[object], Found],
    *,
    is_async: bool,
    holds_back: bool = False,
) -> None:
    """Finish a call with a response's body: as it passes, or at once if it was read.

    Args:
        response: the HTTP response.
        call: the call to finish.
        reader: of the stream, or of the whole JSON answer.
        is_async: whether the body is read by `await`.
        holds_back: whether the app must not see all of the reader's events.
    """
    body: Body
    if callable(reader):
        body = _Json(call, reader)
    else:
        watching = Watch(call, reader, body_sent(response))
        if kind_of(response) == AWS_EVENTS:
            body = AwsEvents(watching)
        else:
            body = Events(watching, holds_back=holds_back)
    if response.is_closed:
        shown(body, response.content)
        body.end(whole=True)
    else:
        watch_bytes(response, body, is_async=is_async)


def kind_of(response: Any) -> str:  # noqa: ANN401 - of httpx or of httpx2
    """The media type of a response's body, without its parameters."""
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def holds_events(response: Any) -> bool:  # noqa: ANN401 - of httpx or of httpx2
    """Whether a response's body is a stream of server-sent events."""
    return kind_of(response) == SERVER_SENT_EVENTS


class _Json:
    """One JSON answer."""

    is_reading = False
    holds_back = False

    def __init__(self, call: Call, read: Callable[[object], Found]) -> None:
        self._call = call
        self._read = read
        self._kept: list[bytes] = []
        self._size = 0
        self._process = os.getpid()

    def feed(self, data: bytes) -> bytes:
        if data and not self._size and not data.startswith(_JSON_STARTS):
            # Sound or plain text, which says nothing and may be long.
            self._size = _MOST_KEPT_BYTES
        self._size += len(data)
        if self._size <= _MOST_KEPT_BYTES:
            self._kept.append(data)
        return data

    def rest(self) -> bytes:
        return b""

    def end(self, error: BaseException | None = None, *, whole: bool = False) -> None:
        # A forked child lets go of its copy of a body, which is its parent's to end.
        if not (whole or self._process == os.getpid()):
            return
        found: Found = {}
        if whole and not self._call.is_finished:
            with Guard("reading a body"):
                found = self._read(read_json(b"".join(self._kept)))
        self._kept.clear()
        self._call.finish(found, None if isinstance(error, GeneratorExit) else error)

    def __del__(self) -> None:
        self.end()


def body_sent(response: Any) -> Callable[[], bytes]:  # noqa: ANN401 - of httpx or of httpx2
    """Gives the body of the request that a response answers; empty where it is not known.

    A response that a client's middleware made has no request, and a body may itself be a stream.
    """
    try:
        request = response.request
    except Exception:  # noqa: BLE001 - there is none, in the words of whoever made the response
        return bytes
    return partial(_content_of, request)


def _content_of(request: Any) -> bytes:  # noqa: ANN401
    content = request.content
    return content if isinstance(content, bytes) else b""


class Lines:
    """A file of JSON objects, one a line, each taken by itself.

    Args:
        take: takes one line; False if the file is not what it was taken for.
    """

    is_reading = False
    holds_back = False

    def __init__(self, take: Callable[[bytes], bool]) -> None:
        self._take = take
        self._kept: list[bytes] = []
        self._size = 0
        self._wanted = True

    def rest(self) -> bytes:
        """Nothing is held back."""
        return b""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes."""
        if self._wanted:
            self._take_lines(data)
        return data

    def _take_lines(self, data: bytes) -> None:
        if not self._kept and data and not data.startswith(_LINE_STARTS):
            self._give_up()
            return
        whole, line_break, rest = data.rpartition(b"\n")
        if line_break:
            lines = b"".join((*self._kept, whole)).split(b"\n")
            self._kept, self._size = [], 0
            if not all(self._take(line) for line in lines if line):
                self._give_up()
                return
        if rest:
            self._kept.append(rest)
            self._size += len(rest)
            if self._size > _MOST_KEPT_BYTES:
                self._give_up()

    def end(self, error: BaseException | None = None, *, whole: bool = False) -> None:
        """Take what stands behind the last line break."""
        if whole and self._wanted and self._kept and error is None:
            self._take(b"".join(self._kept))
        self._give_up()

    def _give_up(self) -> None:
        self._wanted = False
        self._kept.clear()
