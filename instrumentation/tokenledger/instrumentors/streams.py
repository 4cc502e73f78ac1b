"""Watching a stream without touching it: the SDK's own stream object with its iterator swapped.

Type, `with`, `close()` and `response` stay the SDK's. No text is kept: of each chunk only the
length of its text is added up, in one expression on fields its class declares, and a chunk for
which that fails is looked at closely. What the lengths are for is in `estimate`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

from tokenledger.failures import report
from tokenledger.instrumentors.estimate import ONE_CHUNK

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
    from collections.abc import Iterator as SyncIterator
    from types import FrameType

    from tokenledger.call import Call
    from tokenledger.reading import Found

_WATCH: Final = "_tokenledger_watch"
_ITERATOR: Final = "_iterator"
_HELPED: Final = "_raw_stream"


class StreamReader(Protocol):
    """What one kind of stream says; pure, so that it is tested without a client."""

    def note(self, chunk: object) -> bool:
        """Read what one chunk says, again if need be; True if the app must not see it."""
        ...

    def weigh(self, chunk: object) -> int:
        """How much text a chunk brings; 0 for none."""
        ...

    def found(self) -> Found:
        """What was read so far."""
        ...

    def estimated(self, weight: int, request_body: bytes) -> Found:
        """What is likely to be billed of a stream that broke off.

        Args:
            weight: the text that came, as `estimate` counts it.
            request_body: what was sent.
        """
        ...


class Watch:
    """One stream of one call; however the stream ends, the call is finished once.

    Args:
        call: the call to finish.
        reader: reads the chunks.
        sent: gives the body of the request; asked only if the stream broke off.
    """

    __slots__ = ("__weakref__", "_process", "call", "frame", "reader", "sent", "weight")

    def __init__(self, call: Call, reader: StreamReader, sent: Callable[[], bytes]) -> None:
        self.call = call
        self.reader = reader
        self.sent = sent
        self.weight = 0
        self._process = os.getpid()
        # Of the generator that counts: the garbage collector may take us before it.
        self.frame: FrameType | None = None

    def look(self, chunk: object) -> bool:
        """Read one chunk closely; whether to keep it from the app. Never raises."""
        try:
            self.weight += self.reader.weigh(chunk)
            return self.reader.note(chunk)
        except Exception as error:  # noqa: BLE001 - ours; the app gets its chunk
            report("reading a chunk", type(error).__name__)
            return False

    def empty(self, chunk: object) -> int:
        """Read a chunk whose text is empty; undoes its being counted as a chunk of text."""
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
        """Finish the call with what was read; an early close is no error.

        Args:
            error: what ended the stream.
            weight: the text that was counted outside of `look`.
            last: the last chunk, which may have passed uninspected.
            whole: whether the stream was read to its end.
        """
        self.frame = None
        # A forked child lets go of its copy of a stream, which is its parent's to end.
        if self.call.is_finished or not (whole or self._process == os.getpid()):
            return
        found: Found = {}
        try:
            if last is not None:
                self.reader.note(last)
            found = self.reader.found()
            if not whole and (weight := weight + self.weight):
                found = {**self.reader.estimated(weight, self.sent()), **found}
        except Exception as failure:  # noqa: BLE001 - ours; what was read is booked
            report("reading a stream", type(failure).__name__)
        self.call.finish(found, None if isinstance(error, GeneratorExit) else error)

    def __del__(self) -> None:
        # A stream that nobody read to its end or closed.
        self.end_where_it_stands()

    def end_where_it_stands(self) -> None:
        """Finish the call with what its generator has counted so far.

        That stands in the generator's frame: keeping it anywhere else would cost every chunk.
        """
        known: Mapping[str, Any] = {} if self.frame is None else self.frame.f_locals
        self.end(weight=known.get("weight", 0), last=known.get("chunk"))


def watch(
    stream: object, watching: Watch, *, is_async: bool, text_of: TextOf | None, hidden: str
) -> None:
    """Swap the private iterator of an SDK's stream, where chunks pass in every use of it.

    Args:
        stream: the SDK's stream.
        watching: told of its chunks and its end.
        is_async: whether it is an async stream.
        text_of: finds the text of typed events; `None` for chat chunks.
        hidden: a field to take off the fields a chat chunk is known to have been sent with.
    """
    chunks = getattr(stream, _ITERATOR)
    watched: object
    if text_of is None:
        watched = (_async_chat if is_async else _chat)(chunks, watching, hidden)
    else:
        watched = (_async_events if is_async else _events)(chunks, watching, text_of)
    setattr(stream, _ITERATOR, watched)
    # For `close()`, which does not go through the iterator.
    setattr(stream, _WATCH, watching)


def end_watch(stream: object) -> None:
    """End the watch on a stream that was closed, if there is one."""
    held: Mapping[str, Any] = getattr(stream, "__dict__", {})
    # A helper around a stream closes the response, past the stream itself.
    inner: Mapping[str, Any] = getattr(held.get(_HELPED), "__dict__", {})
    watching = held.get(_WATCH) or inner.get(_WATCH)
    if isinstance(watching, Watch):
        watching.end_where_it_stands()


class TextOf(Protocol):
    """Where the text of typed events is."""

    kind: Callable[[Any], str]
    """Gets the field that tells an event's kind."""

    texts: Mapping[str, Callable[[Any], str]]
    """Kind -> what gets its text; any other kind is looked at closely."""


def _chat(chunks: SyncIterator[Any], watching: Watch, hidden: str) -> Generator[Any]:
    look, empty, weight, chunk = watching.look, watching.empty, 0, None
    watching.frame = sys._getframe()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    try:
        for chunk in chunks:
            watching.call.first_chunk()
            if not look(chunk):
                yield chunk
            break
        for chunk in chunks:
            try:
                chunk.__pydantic_fields_set__.discard(hidden)
                weight += (len(chunk.choices[0].delta.content) or empty(chunk)) + ONE_CHUNK
            except Exception:  # noqa: BLE001 - no plain text in it: look closely
                if look(chunk):
                    continue
            yield chunk
    except BaseException as error:
        watching.end(error, weight=weight, last=chunk)
        raise
    watching.end(weight=weight, last=chunk, whole=True)


async def _async_chat(
    chunks: AsyncIterator[Any], watching: Watch, hidden: str
) -> AsyncGenerator[Any]:
    look, empty, weight, chunk = watching.look, watching.empty, 0, None
    watching.frame = sys._getframe()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    try:
        async for chunk in chunks:
            watching.call.first_chunk()
            if not look(chunk):
                yield chunk
            break
        async for chunk in chunks:
            try:
                chunk.__pydantic_fields_set__.discard(hidden)
                weight += (len(chunk.choices[0].delta.content) or empty(chunk)) + ONE_CHUNK
            except Exception:  # noqa: BLE001 - no plain text in it: look closely
                if look(chunk):
                    continue
            yield chunk
    except BaseException as error:
        watching.end(error, weight=weight, last=chunk)
        raise
    watching.end(weight=weight, last=chunk, whole=True)


def _events(chunks: SyncIterator[Any], watching: Watch, text_of: TextOf) -> Generator[Any]:
    look, kind, texts, weight, chunk = watching.look, text_of.kind, text_of.texts, 0, None
    watching.frame = sys._getframe()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    try:
        for chunk in chunks:
            watching.call.first_chunk()
            if not look(chunk):
                yield chunk
            break
        for chunk in chunks:
            try:
                weight += len(texts[kind(chunk)](chunk)) + ONE_CHUNK
            except Exception:  # noqa: BLE001 - no plain text in it: look closely
                if look(chunk):
                    continue
            yield chunk
    except BaseException as error:
        watching.end(error, weight=weight, last=chunk)
        raise
    watching.end(weight=weight, last=chunk, whole=True)


async def _async_events(
    chunks: AsyncIterator[Any], watching: Watch, text_of: TextOf
) -> AsyncGenerator[Any]:
    look, kind, texts, weight, chunk = watching.look, text_of.kind, text_of.texts, 0, None
    watching.frame = sys._getframe()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    try:
        async for chunk in chunks:
            watching.call.first_chunk()
            if not look(chunk):
                yield chunk
            break
        async for chunk in chunks:
            try:
                weight += len(texts[kind(chunk)](chunk)) + ONE_CHUNK
            except Exception:  # noqa: BLE001 - no plain text in it: look closely
                if look(chunk):
                    continue
            yield chunk
    except BaseException as error:
        watching.end(error, weight=weight, last=chunk)
        raise
    watching.end(weight=weight, last=chunk, whole=True)
