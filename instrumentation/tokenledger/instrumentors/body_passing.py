"""Bytes of a bare HTTP response on their way to the app, read as they pass.

The two ways to read them, `iter_bytes` and for the bytes as they came `iter_raw`, are exchanged on
the one response object. What we asked for ourselves is taken out on the way.
"""

from __future__ import annotations

import zlib
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from tokenledger.failures import report

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

_GZIP_OR_ZLIB: Final = 47


class Body(Protocol):
    """Takes the bytes of one body as they pass."""

    is_reading: bool
    """Whether the next bytes are being waited for right now."""

    holds_back: bool
    """Whether the app does not see all of its bytes, because we asked for some of them."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; returns those that the app is to see."""
        ...

    def rest(self) -> bytes:
        """What was held back and is the app's, once there is nothing more."""
        ...

    def end(self, error: BaseException | None = None, *, whole: bool = False) -> None:
        """The body ended: read whole, closed early, or broken off by an error."""
        ...


def watch_bytes(response: Any, body: Body, *, is_async: bool) -> None:  # noqa: ANN401
    """Let a body take the bytes of a response as they pass."""
    # Strong: a stream that is thrown away is closed by the garbage collector, which has cleared
    # every weak reference by then. `_let_go` ends the circle with the body.
    kind: Any = response.__class__
    if is_async:
        response.aiter_bytes = partial(_async_bytes, kind.aiter_bytes, response, body, _as_it_is)
        response.aiter_raw = partial(_async_raw, kind.aiter_raw, response, body)
        response.aclose = partial(_aclose, kind.aclose, response, body)
    else:
        response.iter_bytes = partial(_bytes, kind.iter_bytes, response, body, _as_it_is)
        response.iter_raw = partial(_raw, kind.iter_raw, response, body)
        response.close = partial(_close, kind.close, response, body)


def _let_go(response: Any) -> None:  # noqa: ANN401
    """Leave a response as it was, once its body has ended."""
    for name in ("iter_bytes", "iter_raw", "close", "aiter_bytes", "aiter_raw", "aclose"):
        response.__dict__.pop(name, None)


def _as_it_is(data: bytes) -> bytes:
    return data


def shown(body: Body, data: bytes) -> bytes:
    """Let a body take the next bytes; returns what the app is to see. Never raises."""
    try:
        return body.feed(data)
    except Exception as error:  # noqa: BLE001 - ours; the app gets its bytes
        report("reading a body", type(error).__name__)
        return data


class _Pieces:
    """What the app sees of a body that holds something back, in pieces of the size it asked for.

    Args:
        body: reads the body.
        size: how many bytes a piece has; `None` for as they come.
    """

    def __init__(self, body: Body, size: int | None) -> None:
        self._body = body
        self._size = size or 0
        self._left = b""

    def of(self, data: bytes) -> list[bytes]:
        """Of the next bytes."""
        return self._cut(shown(self._body, data))

    def last(self) -> list[bytes]:
        """Of what was held back until the end."""
        pieces = self._cut(self._body.rest())
        return [*pieces, self._left] if self._left else pieces

    def _cut(self, shown: bytes) -> list[bytes]:
        if not self._size:
            return [shown] if shown else []
        shown = self._left + shown
        whole = len(shown) - len(shown) % self._size
        self._left = shown[whole:]
        return [shown[start : start + self._size] for start in range(0, whole, self._size)]


def _unpacking(response: Any) -> Callable[[bytes], bytes]:  # noqa: ANN401
    """Unpacks what came as it came; to nothing, where we cannot."""
    packed = response.headers.get("content-encoding", "identity").strip().lower()
    if packed == "identity":
        return _as_it_is
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
    # `iter_bytes` comes by here as well, and has seen to it.
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
    body.is_reading = True
    try:
        if body.holds_back and unpack is _as_it_is:
            pieces = _Pieces(body, chunk_size)
            for data in method(this):
                for piece in pieces.of(data):
                    body.is_reading = False
                    yield piece
                    body.is_reading = True
            for piece in pieces.last():
                yield piece
        else:
            # Packed bytes are shown as they came: nothing can be taken out of them.
            for data in method(this, chunk_size):
                shown(body, unpack(data))
                body.is_reading = False
                yield data
                body.is_reading = True
    except BaseException as error:
        body.end(error)
        _let_go(this)
        raise
    body.end(whole=True)
    _let_go(this)


async def _async_bytes(
    method: Callable[..., Any],
    this: Any,  # noqa: ANN401
    body: Body,
    unpack: Callable[[bytes], bytes],
    chunk_size: int | None = None,
) -> AsyncGenerator[bytes]:
    body.is_reading = True
    try:
        if body.holds_back and unpack is _as_it_is:
            pieces = _Pieces(body, chunk_size)
            async for data in method(this):
                for piece in pieces.of(data):
                    body.is_reading = False
                    yield piece
                    body.is_reading = True
            for piece in pieces.last():
                yield piece
        else:
            async for data in method(this, chunk_size):
                shown(body, unpack(data))
                body.is_reading = False
                yield data
                body.is_reading = True
    except BaseException as error:
        body.end(error)
        _let_go(this)
        raise
    body.end(whole=True)
    _let_go(this)


def _close(method: Callable[..., Any], this: Any, body: Body) -> None:  # noqa: ANN401
    try:
        method(this)
    finally:
        # The client itself closes a response at the end of its bytes, while they are read.
        if not body.is_reading:
            body.end()
            _let_go(this)


async def _aclose(method: Callable[..., Any], this: Any, body: Body) -> None:  # noqa: ANN401
    try:
        await method(this)
    finally:
        if not body.is_reading:
            body.end()
            _let_go(this)
