"""Following an SDK's stream: the SDK's own stream object, with its iterator replaced.

Its type, `with`, `close()` and `response` stay the SDK's. No text is stored: of each chunk only the
length of its text is added up, in one expression on fields that its class declares. A chunk for
which that fails is read in full. `tokenledger._usage.estimate` explains what the lengths are for.

The four loops are one loop, written out for `for` and `async for`, and for chunks and events: a
function call in it would add a third more bytecodes per chunk. A test compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger._calls.call_metrics import TimedChunks
from tokenledger._frames import callers_frame
from tokenledger._usage.estimate import ONE_CHUNK
from tokenledger.instrumentors._base.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
    from collections.abc import Iterator as SyncIterator

    from tokenledger.instrumentors._base.watch import TextOf

_WATCH: Final = "_tokenledger_watch"
_ITERATOR: Final = "_iterator"
_INNER_STREAM: Final = "_raw_stream"


def watch_stream(
    stream: object, watch: Watch, *, is_async: bool, text_of: TextOf | None, hidden: str
) -> None:
    """Replace the private iterator of an SDK's stream, which every use of the stream goes through.

    Args:
        stream: the SDK's stream.
        watch: gets its chunks and its end.
        is_async: whether it is an async stream.
        text_of: locates the text of typed events; `None` for chat chunks.
        hidden: a field to remove from the list of fields that a chat chunk was sent with.
    """
    chunks = getattr(stream, _ITERATOR)
    if watch.clock is not None:
        chunks = TimedChunks(chunks, watch.clock)
    watched: object
    if text_of is None:
        watched = (_async_chat if is_async else _chat)(chunks, watch, hidden)
    else:
        watched = (_async_events if is_async else _events)(chunks, watch, text_of)
    setattr(stream, _ITERATOR, watched)
    # For `close()`, which does not go through the iterator.
    setattr(stream, _WATCH, watch)


def end_watch(stream: object) -> None:
    """End the watch on a stream that was closed, if there is one."""
    fields: Mapping[str, Any] = getattr(stream, "__dict__", {})
    # A helper around a stream closes the response and skips the stream itself.
    inner: Mapping[str, Any] = getattr(fields.get(_INNER_STREAM), "__dict__", {})
    watch = fields.get(_WATCH) or inner.get(_WATCH)
    if isinstance(watch, Watch):
        watch.end_now()
        # The app closed it, so no garbage is being collected.
        watch.call.report_metrics()


def _chat(chunks: SyncIterator[Any], watch: Watch, hidden: str) -> Generator[Any]:
    look, empty, weight, chunk = watch.look, watch.empty, 0, None
    watch.frame = callers_frame()
    try:
        for chunk in chunks:
            watch.call.first_chunk()
            if not look(chunk):
                yield chunk
            break
        for chunk in chunks:
            try:
                chunk.__pydantic_fields_set__.discard(hidden)
                weight += (len(chunk.choices[0].delta.content) or empty(chunk)) + ONE_CHUNK
            except Exception:  # noqa: BLE001 - no plain text in it: read it in full
                if look(chunk):
                    continue
            yield chunk
    except BaseException as error:
        watch.end(error, weight=weight, last=chunk)
        raise
    watch.end(weight=weight, last=chunk, whole=True)


async def _async_chat(chunks: AsyncIterator[Any], watch: Watch, hidden: str) -> AsyncGenerator[Any]:
    look, empty, weight, chunk = watch.look, watch.empty, 0, None
    watch.frame = callers_frame()
    try:
        async for chunk in chunks:
            watch.call.first_chunk()
            if not look(chunk):
                yield chunk
            break
        async for chunk in chunks:
            try:
                chunk.__pydantic_fields_set__.discard(hidden)
                weight += (len(chunk.choices[0].delta.content) or empty(chunk)) + ONE_CHUNK
            except Exception:  # noqa: BLE001 - no plain text in it: read it in full
                if look(chunk):
                    continue
            yield chunk
    except BaseException as error:
        watch.end(error, weight=weight, last=chunk)
        raise
    watch.end(weight=weight, last=chunk, whole=True)


def _events(chunks: SyncIterator[Any], watch: Watch, text_of: TextOf) -> Generator[Any]:
    look, kind, texts, weight, chunk = watch.look, text_of.kind, text_of.texts, 0, None
    watch.frame = callers_frame()
    try:
        for chunk in chunks:
            watch.call.first_chunk()
            if not look(chunk):
                yield chunk
            break
        for chunk in chunks:
            try:
                weight += len(texts[kind(chunk)](chunk)) + ONE_CHUNK
            except Exception:  # noqa: BLE001 - no plain text in it: read it in full
                if look(chunk):
                    continue
            yield chunk
    except BaseException as error:
        watch.end(error, weight=weight, last=chunk)
        raise
    watch.end(weight=weight, last=chunk, whole=True)


async def _async_events(
    chunks: AsyncIterator[Any], watch: Watch, text_of: TextOf
) -> AsyncGenerator[Any]:
    look, kind, texts, weight, chunk = watch.look, text_of.kind, text_of.texts, 0, None
    watch.frame = callers_frame()
    try:
        async for chunk in chunks:
            watch.call.first_chunk()
            if not look(chunk):
                yield chunk
            break
        async for chunk in chunks:
            try:
                weight += len(texts[kind(chunk)](chunk)) + ONE_CHUNK
            except Exception:  # noqa: BLE001 - no plain text in it: read it in full
                if look(chunk):
                    continue
            yield chunk
    except BaseException as error:
        watch.end(error, weight=weight, last=chunk)
        raise
    watch.end(weight=weight, last=chunk, whole=True)
