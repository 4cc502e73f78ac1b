"""Bodies that are streams of events, read as their bytes pass."""

from __future__ import annotations

import base64
import re
from importlib import import_module
from typing import TYPE_CHECKING, Final

from tokenledger.failures import report
from tokenledger.reading import fields_of, read_json

if TYPE_CHECKING:
    from collections.abc import Generator

    from tokenledger.instrumentors.streams import Watch

SERVER_SENT_EVENTS: Final = "text/event-stream"
"""Media type of `Events`."""

AWS_EVENTS: Final = "application/vnd.amazon.eventstream"
"""Media type of `AwsEvents`."""

_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"
_LINE_BREAKS: Final = re.compile(rb"[\r\n]")
# No event of any provider comes near it; a body without line breaks must not fill memory.
_LONGEST_EVENT: Final = 8 * 1024 * 1024
# What asking for the usage puts into every other chunk. Quotes inside of text are escaped, so text
# never matches.
_NO_USAGE: Final = re.compile(
    rb',\s*"usage"\s*:\s*null(?=\s*[,}])|(?<=\{)\s*"usage"\s*:\s*null\s*,'
)


class Events:
    """Server-sent events.

    Args:
        watching: told of each event; says which of them the app must not see.
        holds_back: whether there may be such events, because we asked for them.
    """

    is_reading = False

    def __init__(self, watching: Watch, *, holds_back: bool = False) -> None:
        self.holds_back = holds_back
        self._watching = watching
        # The beginning of a line, in the pieces it came in.
        self._rest: list[bytes] = []
        # The lines of an event that is not whole yet, while events are held back.
        self._event: list[bytes] = []
        self._is_hidden = False
        self._is_done = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; returns the whole events among them that the app is to see."""
        self._watching.call.first_chunk()
        self._rest.append(data)
        if _LINE_BREAKS.search(data) is None and sum(map(len, self._rest)) <= _LONGEST_EVENT:
            return b"" if self.holds_back else data
        lines = b"".join(self._rest).splitlines(keepends=True)
        # A line that ends in CR may go on with LF.
        has_rest = bool(lines) and not lines[-1].endswith(b"\n")
        self._rest = [lines.pop()] if has_rest else []
        shown = b"".join(map(self._take, lines))
        if has_rest and len(self._rest[0]) > _LONGEST_EVENT:
            shown += self.rest()
        return shown if self.holds_back else data

    def rest(self) -> bytes:
        """What came of an event that was not finished."""
        shown = self._take(b"".join(self._rest))
        self._rest = []
        event, self._event = b"".join(self._event), []
        is_hidden, self._is_hidden = self._is_hidden, False
        return shown if is_hidden else shown + event

    def end(self, error: BaseException | None = None, *, whole: bool = False) -> None:
        """Finish the call with what was read."""
        self._take(b"".join(self._rest))
        self._rest = []
        # An SDK stops at `[DONE]` and leaves the end of the body unread.
        self._watching.end(error, whole=whole or self._is_done)

    def _take(self, line: bytes) -> bytes:
        """Read one line; with the last line of an event, what the app is to see of it."""
        text = line.strip()
        if text.startswith(_DATA):
            if text.removeprefix(_DATA).strip() == _DONE:
                self._is_done = True
            elif (event := event_of(text)) is not None and self._watching.look(event):
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
    """The JSON of a line of server-sent events; `None` where it brings none."""
    text = line.removeprefix(_DATA).strip()
    if not line.startswith(_DATA) or text == _DONE:
        return None
    # Cut in the middle, or no JSON: nothing to be read off it.
    return read_json(text)


class AwsEvents:
    """The binary frames that Amazon Bedrock streams; botocore reads them, as for the SDK itself."""

    is_reading = False
    holds_back = False

    def __init__(self, watching: Watch) -> None:
        self._watching = watching
        # Whoever streams from Bedrock has it: the SDK signs its requests with it.
        self._frames = import_module("botocore.eventstream").EventStreamBuffer()

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes."""
        self._watching.call.first_chunk()
        for event in self._events(data):
            self._watching.look(event)
        return data

    def rest(self) -> bytes:
        """Nothing is held back."""
        return b""

    def end(self, error: BaseException | None = None, *, whole: bool = False) -> None:
        """Finish the call with what was read."""
        self._watching.end(error, whole=whole)

    def _events(self, data: bytes) -> Generator[object]:
        if self._frames is None:
            return
        try:
            self._frames.add_data(data)
            for frame in self._frames:
                told = fields_of(read_json(frame.payload))
                if "bytes" in told:
                    yield read_json(base64.b64decode(told["bytes"]))
                else:
                    yield {"type": "error"}
        except Exception as error:  # noqa: BLE001 - ours; the app gets its bytes
            self._frames = None
            report("reading a body", type(error).__name__)
