"""Observes one stream until it ends: the interface of its reader, and how its call finishes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from tokenledger._guard import report
from tokenledger._usage.estimate import ONE_CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from tokenledger._calls.call import Call
    from tokenledger._usage.fields import Attributes


class StreamReader(Protocol):
    """Reads one kind of stream. It is pure, so it is tested without a client."""

    def note(self, chunk: object) -> bool:
        """Read one chunk; reading it again changes nothing. True hides it from the app."""
        ...

    def weigh(self, chunk: object) -> int:
        """The amount of text in a chunk; 0 for none."""
        ...

    def attributes(self) -> Attributes:
        """What was read so far."""
        ...

    def estimated(self, weight: int, request_body: bytes) -> Attributes:
        """Estimate what is billed for a stream that broke off.

        Args:
            weight: the text that arrived, as `estimate` counts it.
            request_body: the body of the request.
        """
        ...


class TextOf(Protocol):
    """Locates the text of typed events."""

    kind: Callable[[Any], str]
    """Gets the field that holds an event's kind."""

    texts: Mapping[str, Callable[[Any], str]]
    """Kind -> getter of its text. Events of any other kind are read in full."""


class Watch:
    """One stream of one call; however the stream ends, the call is finished once.

    Args:
        call: the call to finish.
        reader: reads the chunks.
        request_body: returns the body of the request; called only if the stream broke off.
    """

    __slots__ = (
        "__weakref__",
        "_process",
        "call",
        "clock",
        "frame",
        "reader",
        "request_body",
        "weight",
    )

    def __init__(self, call: Call, reader: StreamReader, request_body: Callable[[], bytes]) -> None:
        self.call = call
        self.reader = reader
        self.request_body = request_body
        self.weight = 0
        # Gets a tick with each chunk; `None` if no metric needs it.
        self.clock = call.chunk_clock(reader.attributes)
        self._process = os.getpid()
        # The frame of the generator that counts: this object may be freed before it.
        self.frame: FrameType | None = None

    def look(self, chunk: object) -> bool:
        """Read one chunk in full; True hides it from the app. Never raises."""
        try:
            self.weight += self.reader.weigh(chunk)
            is_hidden = self.reader.note(chunk)
        except Exception as error:  # noqa: BLE001 - our failure; the app gets its chunk
            report("reading a chunk", type(error).__name__)
            return False
        if is_hidden and self.clock is not None:
            self.clock.drop()
        return is_hidden

    def empty(self, chunk: object) -> int:
        """Read a chunk without text; the result cancels its count as a chunk of text."""
        self.look(chunk)
        return -ONE_CHUNK

    def end(
        self,
        error: BaseException | None = None,
        *,
        weight: int = 0,
        last: object = None,
        whole: bool = False,
    ) -> None:
        """Finish the call with what was read. Closing a stream early is not an error.

        Args:
            error: what ended the stream.
            weight: the text that was counted outside of `look`.
            last: the last chunk, which `look` may not have seen.
            whole: whether the stream was read to its end.
        """
        self.frame = None
        # After a fork, the child drops its copy of a stream: the parent ends it.
        if self.call.is_finished or not (whole or self._process == os.getpid()):
            return
        attributes: Attributes = {}
        try:
            if last is not None:
                self.reader.note(last)
            attributes = self.reader.attributes()
            if not whole and (weight := weight + self.weight):
                attributes = {**self.reader.estimated(weight, self.request_body()), **attributes}
        except Exception as failure:  # noqa: BLE001 - our failure; what was read is recorded
            report("reading a stream", type(failure).__name__)
        if self.clock is not None:
            self.clock.end()
        is_closed = isinstance(error, GeneratorExit)
        abandoned = not whole and (is_closed or error is None)
        self.call.finish(attributes, None if is_closed else error, abandoned=abandoned)

    def __del__(self) -> None:
        # A stream that was neither read to its end nor closed.
        self.end_now()

    def end_now(self) -> None:
        """Finish the call with what its generator has counted so far.

        The count lives in the generator's frame: storing it elsewhere would slow every chunk down.
        """
        local_variables: Mapping[str, Any] = {} if self.frame is None else self.frame.f_locals
        self.end(weight=local_variables.get("weight", 0), last=local_variables.get("chunk"))
