"""Bodies that are streams of events, read as their bytes pass."""

from __future__ import annotations

import base64
import json
from importlib import import_module
from typing import TYPE_CHECKING, Final

from tokenledger.failures import report

if TYPE_CHECKING:
    from collections.abc import Generator

    from tokenledger.instrumentors.streams import Watch

SERVER_SENT_EVENTS: Final = "text/event-stream"
"""Media type of `Events`."""

AWS_EVENTS: Final = "application/vnd.amazon.eventstream"
"""Media type of `AwsEvents`."""

_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"


class Events:
    """Server-sent events."""

    is_reading = False

    def __init__(self, watching: Watch) -> None:
        self._watching = watching
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._watching.call.first_chunk()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._read(line)

    def end(self, error: BaseException | None = None, *, whole: bool = False) -> None:
        """Finish the call with what was read."""
        self._read(self._rest)
        self._rest = b""
        self._watching.end(error, whole=whole)

    def _read(self, line: bytes) -> None:
        if (event := event_of(line)) is not None:
            self._watching.look(event)


def event_of(line: bytes) -> object:
    """The JSON of a line of server-sent events; `None` where it brings none."""
    text = line.removeprefix(_DATA).strip()
    if not line.startswith(_DATA) or text == _DONE:
        return None
    try:
        return json.loads(text)
    except ValueError:
        # Cut in the middle, or no JSON: nothing to be read off it.
        return None


class AwsEvents:
    """The binary frames that Amazon Bedrock streams; botocore reads them, as for the SDK itself."""

    is_reading = False

    def __init__(self, watching: Watch) -> None:
        self._watching = watching
        # Whoever streams from Bedrock has it: the SDK signs its requests with it.
        self._frames = import_module("botocore.eventstream").EventStreamBuffer()

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._watching.call.first_chunk()
        for event in self._events(data):
            self._watching.look(event)

    def end(self, error: BaseException | None = None, *, whole: bool = False) -> None:
        """Finish the call with what was read."""
        self._watching.end(error, whole=whole)

    def _events(self, data: bytes) -> Generator[object]:
        if self._frames is None:
            return
        try:
            self._frames.add_data(data)
            for frame in self._frames:
                told = json.loads(frame.payload)
                if "bytes" in told:
                    yield json.loads(base64.b64decode(told["bytes"]))
                else:
                    yield {"type": "error"}
        except Exception as error:  # noqa: BLE001 - ours; the app gets its bytes
            self._frames = None
            report("reading a body", type(error).__name__)
