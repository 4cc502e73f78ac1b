"""Watching a stream without touching it: the SDK's own stream object with its iterator swapped.

Type, `with`, `close()` and `response` stay the SDK's. Per chunk there is one test on a field the
chunk's class declares, and no text is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from tokenledger.failures import Guard, report
from tokenledger.reading import Reading

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Container, Generator
    from collections.abc import Iterator as SyncIterator

    from tokenledger.call import Call

_WATCH: Final = "_tokenledger_watch"
_ITERATOR: Final = "_iterator"
_CHUNK: Final = "reading a chunk"


class StreamReader(Protocol):
    """What one kind of stream says; pure, so that it is tested without a client."""

    field: Callable[[object], object]
    """Gets the field that tells a chunk worth reading."""

    quiet: Container[object]
    """Values of that field on chunks with nothing to read; may grow as chunks are read."""

    def see(self, chunk: object) -> bool:
        """Read one chunk; True if the app must not see it."""
        ...

    def reading(self) -> Reading:
        """What was read so far."""
        ...


class Watch:
    """One stream of one call; however the stream ends, the call is finished once.

    Args:
        call: the call to finish.
        reader: reads the chunks.
        tidy: takes off a chunk what is there only because we asked for it; `None` for nothing.
    """

    __slots__ = ("_call", "reader", "tidy")

    def __init__(
        self, call: Call, reader: StreamReader, tidy: Callable[[object], None] | None = None
    ) -> None:
        self._call = call
        self.reader = reader
        self.tidy = tidy

    def see(self, chunk: object) -> bool:
        """Read one chunk; whether to keep it from the app."""
        self._call.first_chunk()
        return self.reader.see(chunk)

    def end(self, error: BaseException | None = None) -> None:
        """Finish the call with what was read; an early close is no error."""
        if self._call.is_finished:
            return
        reading = Reading()
        with Guard("reading a stream"):
            reading = self.reader.reading()
        self._call.finish(reading, None if isinstance(error, GeneratorExit) else error)

    def __del__(self) -> None:
        # A stream that nobody iterated or closed: the generator below never ran.
        self.end()


def watch(stream: object, watching: Watch, *, is_async: bool) -> None:
    """Swap the private iterator of an SDK's stream, where chunks pass in every use of it."""
    chunks = getattr(stream, _ITERATOR)
    watched = _async_chunks(chunks, watching) if is_async else _chunks(chunks, watching)
    setattr(stream, _ITERATOR, watched)
    # For `close()`, which does not go through the iterator.
    setattr(stream, _WATCH, watching)


def watch_of(stream: object) -> Watch | None:
    """The watch on a stream, if there is one."""
    return getattr(stream, "__dict__", {}).get(_WATCH)


def _chunks(chunks: SyncIterator[Any], watching: Watch) -> Generator[Any]:
    field, tidy = watching.reader.field, watching.tidy
    # The first chunk is always read; after it those that the reader does not call quiet.
    quiet: Container[object] = ()
    try:
        for chunk in chunks:
            try:
                if field(chunk) not in quiet:
                    quiet = watching.reader.quiet
                    if watching.see(chunk):
                        continue
                if tidy is not None:
                    tidy(chunk)
            except Exception as error:  # noqa: BLE001 - ours; a guard would cost every chunk
                report(_CHUNK, type(error).__name__)
            yield chunk
    except BaseException as error:
        watching.end(error)
        raise
    watching.end()


async def _async_chunks(chunks: AsyncIterator[Any], watching: Watch) -> AsyncGenerator[Any]:
    field, tidy = watching.reader.field, watching.tidy
    quiet: Container[object] = ()
    try:
        async for chunk in chunks:
            try:
                if field(chunk) not in quiet:
                    quiet = watching.reader.quiet
                    if watching.see(chunk):
                        continue
                if tidy is not None:
                    tidy(chunk)
            except Exception as error:  # noqa: BLE001 - ours; a guard would cost every chunk
                report(_CHUNK, type(error).__name__)
            yield chunk
    except BaseException as error:
        watching.end(error)
        raise
    watching.end()
