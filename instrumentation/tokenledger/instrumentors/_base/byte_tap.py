"""Reading the bytes of an HTTP response while the app consumes them.

An app reads them by `iter_bytes`, or by `iter_raw` without decoding. Both are replaced on the one
response object. Bytes that exist only because we asked for them are removed on the way.
"""

from __future__ import annotations

import zlib
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from tokenledger._guard import report

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

_GZIP_OR_ZLIB: Final = 47


class Body(Protocol):
    """Receives the bytes of one body."""

    is_reading: bool
    """Whether the next bytes are being waited for right now."""

    holds_back: bool
    """Whether some bytes are hidden from the app: those that exist because we requested usage."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; returns those that the app gets."""
        ...

    def rest(self) -> bytes:
        """At the end of the body: bytes that were held back and belong to the app."""
        ...

    def end(self, error: BaseException | None = None, *, whole: bool = False) -> None:
        """The body ended: read whole, closed early, or broken off by an error."""
        ...


def watch_bytes(response: Any, body: Body, *, is_async: bool) -> None:  # noqa: ANN401
    """Feed a response's bytes to a body while the app reads them."""
    # A strong reference: an abandoned stream is closed by the garbage collector, which has cleared
    # every weak reference by then. `_restore` breaks the reference cycle when the body ends.
    kind: Any = response.__class__
    if is_async:
        response.aiter_bytes = partial(_async_bytes, kind.aiter_bytes, response, body, _unchanged)
        response.aiter_raw = partial(_async_raw, kind.aiter_raw, response, body)
        response.aclose = partial(_aclose, kind.aclose, response, body)
    else:
        response.iter_bytes = partial(_bytes, kind.iter_bytes, response, body, _unchanged)
        response.iter_raw = partial(_raw, kind.iter_raw, response, body)
        response.close = partial(_close, kind.close, response, body)


def feed(body: Body, data: bytes) -> bytes:
    """Feed a body its next bytes; returns those that the app gets. Never raises."""
    try:
        return body.feed(data)
    except Exception as error:  # noqa: BLE001 - our failure; the app gets its bytes
        report("reading a body", type(error).__name__)
        return data


def _restore(response: Any) -> None:  # noqa: ANN401
    """Remove our methods from a response whose body has ended."""
    for name in ("iter_bytes", "iter_raw", "close", "aiter_bytes", "aiter_raw", "aclose"):
        response.__dict__.pop(name, None)


def _unchanged(data: bytes) -> bytes:
    return data


class _PassThroughReader:
    """Passes every chunk on as it came, and feeds its decoded bytes to the body.

    Args:
        body: reads the bytes.
        unpack: decodes a chunk.
        chunk_size: the size the app asked for.
    """

    def __init__(
        self, body: Body, unpack: Callable[[bytes], bytes], chunk_size: int | None
    ) -> None:
        self._body = body
        self._unpack = unpack
        self.arguments = (chunk_size,)

    def pieces(self, data: bytes) -> tuple[bytes, ...]:
        """What the app gets of the next chunk: all of it."""
        feed(self._body, self._unpack(data))
        return (data,)

    def last(self) -> tuple[bytes, ...]:
        """What the app gets at the end: nothing was held back."""
        return ()


class _FilteringReader:
    """Passes on what the body does not hide, in pieces of the size the app asked for.

    Args:
        body: reads the bytes.
        chunk_size: bytes per piece; `None` leaves the pieces as they come.
    """

    arguments: tuple[()] = ()

    def __init__(self, body: Body, chunk_size: int | None) -> None:
        self._body = body
        self._size = chunk_size or 0
        self._left = b""

    def pieces(self, data: bytes) -> list[bytes]:
        """What the app gets of the next chunk."""
        return self._cut(feed(self._body, data))

    def last(self) -> list[bytes]:
        """What the app gets at the end: bytes that were held back."""
        pieces = self._cut(self._body.rest())
        return [*pieces, self._left] if self._left else pieces

    def _cut(self, visible: bytes) -> list[bytes]:
        if not self._size:
            return [visible] if visible else []
        visible = self._left + visible
        whole = len(visible) - len(visible) % self._size
        self._left = visible[whole:]
        return [visible[start : start + self._size] for start in range(0, whole, self._size)]


def _passage(
    body: Body, unpack: Callable[[bytes], bytes], chunk_size: int | None
) -> _FilteringReader | _PassThroughReader:
    # Compressed bytes pass as they came: nothing can be removed from them.
    if body.holds_back and unpack is _unchanged:
        return _FilteringReader(body, chunk_size)
    return _PassThroughReader(body, unpack, chunk_size)


@contextmanager
def _reading(response: Any, body: Body) -> Generator[None]:  # noqa: ANN401
    """The time in which a body is read; its end is the body's end."""
    body.is_reading = True
    try:
        yield
    except BaseException as error:
        body.end(error)
        _restore(response)
        raise
    body.end(whole=True)
    _restore(response)


def _unpacking(response: Any) -> Callable[[bytes], bytes]:  # noqa: ANN401
    """Returns a decoder of raw bytes; its result is empty for an encoding we do not know."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return _unchanged
    stream = zlib.decompressobj(_GZIP_OR_ZLIB)

    def unpack(data: bytes) -> bytes:
        try:
            return stream.decompress(data)
        except zlib.error:
            return b""

    return unpack


def _raw(
    method: Callable[..., Any],
    this: Any,  # noqa: ANN401
    body: Body,
    *args: Any,  # noqa: ANN401
    **kwargs: Any,  # noqa: ANN401
) -> Generator[bytes]:
    # `iter_bytes` calls this too, and already feeds the body.
    if body.is_reading:
        yield from method(this, *args, **kwargs)
    else:
        yield from _bytes(method, this, body, _unpacking(this), *args, **kwargs)


async def _async_raw(
    method: Callable[..., Any],
    this: Any,  # noqa: ANN401
    body: Body,
    *args: Any,  # noqa: ANN401
    **kwargs: Any,  # noqa: ANN401
) -> AsyncGenerator[bytes]:
    passing = method(this, *args, **kwargs)
    if not body.is_reading:
        passing = _async_bytes(method, this, body, _unpacking(this), *args, **kwargs)
    async with aclosing(passing):
        async for data in passing:
            yield data


def _bytes(
    method: Callable[..., Any],
    this: Any,  # noqa: ANN401
    body: Body,
    unpack: Callable[[bytes], bytes],
    chunk_size: int | None = None,
) -> Generator[bytes]:
    passage = _passage(body, unpack, chunk_size)
    with _reading(this, body):
        for data in method(this, *passage.arguments):
            for piece in passage.pieces(data):
                body.is_reading = False
                yield piece
                body.is_reading = True
        yield from passage.last()


async def _async_bytes(
    method: Callable[..., Any],
    this: Any,  # noqa: ANN401
    body: Body,
    unpack: Callable[[bytes], bytes],
    chunk_size: int | None = None,
) -> AsyncGenerator[bytes]:
    passage = _passage(body, unpack, chunk_size)
    with _reading(this, body):
        async for data in method(this, *passage.arguments):
            for piece in passage.pieces(data):
                body.is_reading = False
                yield piece
                body.is_reading = True
        for piece in passage.last():
            yield piece


def _close(method: Callable[..., Any], this: Any, body: Body) -> None:  # noqa: ANN401
    try:
        method(this)
    finally:
        # The client closes a response at the end of its bytes too, while they are being read.
        if not body.is_reading:
            body.end()
            _restore(this)


async def _aclose(method: Callable[..., Any], this: Any, body: Body) -> None:  # noqa: ANN401
    try:
        await method(this)
    finally:
        if not body.is_reading:
            body.end()
            _restore(this)
