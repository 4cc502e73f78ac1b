"""Parsers of event streams: server-sent events, and the frames of Amazon Bedrock."""

from __future__ import annotations

import base64
import re
from importlib import import_module
from typing import TYPE_CHECKING, Final

from tokenledger._guard import report
from tokenledger._usage.fields import fields_of, read_json

if TYPE_CHECKING:
    from collections.abc import Generator

    from tokenledger.instrumentors._base.watch import Watch

SERVER_SENT_EVENTS: Final = "text/event-stream"
"""Media type of `Events`."""

AWS_EVENTS: Final = "application/vnd.amazon.eventstream"
"""Media type of `AwsEvents`."""

_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"
_LINE_BREAKS: Final = re.compile(rb"[\r\n]")
# Far longer than any provider's event: a body without line breaks must not fill memory.
_LONGEST_EVENT: Final = 8 * 1024 * 1024
# Asking for the usage adds this to every other chunk. Quotes inside text are escaped, so text never
# matches.
_NO_USAGE: Final = re.compile(
    rb',\s*"usage"\s*:\s*null(?=\s*[,}])|(?<=\{)\s*"usage"\s*:\s*null\s*,'
)


class Events:
    """Server-sent events.

    Args:
        watch: reads each event and decides which ones to hide from the app.
        holds_back: whether events may have to be hidden, because only our usage option causes them.
    """

    is_reading = False

    def __init__(self, watch: Watch, *, holds_back: bool = False) -> None:
        self.holds_back = holds_back
        self._watch = watch
        # The beginning of a line, in the pieces it came in.
        self._rest: list[bytes] = []
        # The lines of an event that is not complete yet, while events are held back.
        self._event: list[bytes] = []
        self._is_hidden = False
        self._is_done = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; returns the complete events among them that the app gets."""
        self._watch.call.first_chunk()
        self._rest.append(data)
        if _LINE_BREAKS.search(data) is None and sum(map(len, self._rest)) <= _LONGEST_EVENT:
            return b"" if self.holds_back else data
        lines = b"".join(self._rest).splitlines(keepends=True)
        # A CR at the end may be the first half of CR LF.
        has_rest = bool(lines) and not lines[-1].endswith(b"\n")
        self._rest = [lines.pop()] if has_rest else []
        visible = b"".join(map(self._take, lines))
        if has_rest and len(self._rest[0]) > _LONGEST_EVENT:
            visible += self.rest()
        return visible if self.holds_back else data

    def rest(self) -> bytes:
        """At the end of the body: the part of an event that was not finished."""
        visible = self._take(b"".join(self._rest))
        self._rest = []
        event, self._event = b"".join(self._event), []
        is_hidden, self._is_hidden = self._is_hidden, False
        return visible if is_hidden else visible + event

    def end(self, error: BaseException | None = None, *, whole: bool = False) -> None:
        """Finish the call with what was read."""
        self._take(b"".join(self._rest))
        self._rest = []
        # An SDK stops at `[DONE]` and leaves the end of the body unread.
        self._watch.end(error, whole=whole or self._is_done)

    def _take(self, line: bytes) -> bytes:
        """Read one line; the last line of an event returns what the app gets of the event."""
        text = line.strip()
        if text.startswith(_DATA):
            if text.removeprefix(_DATA).strip() == _DONE:
                self._is_done = True
            elif (event := event_of(text)) is not None:
                if self._watch.clock is not None:
                    self._watch.clock.tick()
                if self._watch.look(event):
                    self._is_hidden = True
        if not self.holds_back:
            return b""
        self._event.append(_NO_USAGE.sub(b"", line) if text.startswith(_DATA) else line)
        if text:
            return b""
        event_lines, self._event = self._event, []
        is_hidden, self._is_hidden = self._is_hidden, False
        return b"" if is_hidden else b"".join(event_lines)


def event_of(line: bytes) -> object:
    """The JSON in a line of server-sent events; `None` if there is none."""
    text = line.removeprefix(_DATA).strip()
    if not line.startswith(_DATA) or text == _DONE:
        return None
    # A line that was cut, or holds no JSON, has no event.
    return read_json(text)


class AwsEvents:
    """The binary frames of Amazon Bedrock, parsed by botocore, as the SDK does."""

    is_reading = False
    holds_back = False

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        # Always installed where Bedrock is used: the SDK signs its requests with botocore.
        self._frames = import_module("botocore.eventstream").EventStreamBuffer()

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes."""
        self._watch.call.first_chunk()
        for event in self._events(data):
            if self._watch.clock is not None:
                self._watch.clock.tick()
            self._watch.look(event)
        return data

    def rest(self) -> bytes:
        """Nothing is held back."""
        return b""

    def end(self, error: BaseException | None = None, *, whole: bool = False) -> None:
        """Finish the call with what was read."""
        self._watch.end(error, whole=whole)

    def _events(self, data: bytes) -> Generator[object]:
        if self._frames is None:
            return
        try:
            self._frames.add_data(data)
            for frame in self._frames:
                payload = fields_of(read_json(frame.payload))
                if "bytes" in payload:
                    yield read_json(base64.b64decode(payload["bytes"]))
                else:
                    yield {"type": "error"}
        except Exception as error:  # noqa: BLE001 - our failure; the app gets its bytes
            self._frames = None
            report("reading a body", type(error).__name__)
