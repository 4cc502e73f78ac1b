"""Decompresses a request's body chunk by chunk as it arrives, up to a limit.

A body is refused at the chunk that exceeds the limit, so that a compression bomb stays small.
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING, Final, Protocol

from tokenledger_exporter.server.decoding.decoded_request import MalformedError, TooLargeError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_GZIP_WINDOW: Final = 31
# Bytes decompressed at a time; a body exceeds the limit by no more than this.
_CHUNK_BYTES: Final = 65_536
_MAX_MEMBERS: Final = 256
# A frame may ask for a window of 2 GiB; the usual levels use up to 8 MiB (RFC 8878, 3.1.1.1.2).
_ZSTD_WINDOW: Final = {int(zstd.DecompressionParameter.window_log_max): 23}


class _Stream(Protocol):
    """The decompression of one gzip member or zstd frame."""

    def decompress(self, data: bytes, max_bytes: int) -> bytes:
        """Decompress more data, into `max_bytes` at most."""
        ...

    @property
    def has_more(self) -> bool:
        """Whether there is more output without more input."""
        ...

    @property
    def rest(self) -> bytes | None:
        """The data after the end; `None` before the end."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP_WINDOW)

    def decompress(self, data: bytes, max_bytes: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_bytes)

    @property
    def has_more(self) -> bool:
        return bool(self._stream.unconsumed_tail)

    @property
    def rest(self) -> bytes | None:
        return self._stream.unused_data if self._stream.eof else None


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstd.ZstdDecompressor(options=_ZSTD_WINDOW)

    def decompress(self, data: bytes, max_bytes: int) -> bytes:
        output: bytes = self._stream.decompress(data, max_bytes)
        return output

    @property
    def has_more(self) -> bool:
        return not self._stream.eof and not self._stream.needs_input

    @property
    def rest(self) -> bytes | None:
        return self._stream.unused_data if self._stream.eof else None


_STREAMS: Final[Mapping[str, Callable[[], _Stream] | None]] = {
    "": None,
    "identity": None,
    "gzip": _Gzip,
    "zstd": _Zstd,
}
ENCODINGS: Final = frozenset(_STREAMS)
"""The supported content encodings."""


class Inflater:
    """Collects a decompressed body.

    Args:
        encoding: one of `ENCODINGS`.
        limit: maximum of its bytes, compressed and uncompressed.
    """

    def __init__(self, encoding: str, limit: int) -> None:
        self._make_stream: Final = _STREAMS[encoding]
        self._stream: _Stream | None = None
        self._limit: Final = limit
        self._compressed_size = self._members = 0
        self._body = bytearray()

    @property
    def size(self) -> int:
        """Decompressed bytes so far."""
        return len(self._body)

    def feed(self, data: bytes) -> None:
        """Add the next chunk.

        Raises:
            TooLargeError: the body exceeds the limit.
            MalformedError: the data is not valid for its encoding.
        """
        self._compressed_size += len(data)
        if self._compressed_size > self._limit:
            self._refuse()
        if self._make_stream is None:
            self._body += data
            return
        try:
            self._decompress(self._make_stream, data)
        except (zlib.error, zstd.ZstdError):
            raise MalformedError("the body does not match its Content-Encoding") from None

    def finish(self) -> bytes:
        """The complete body.

        Raises:
            MalformedError: the compressed data is incomplete.
        """
        if self._stream is not None:
            raise MalformedError("the compressed body is incomplete")
        whole, self._body = bytes(self._body), bytearray()
        return whole

    def _decompress(self, make_stream: Callable[[], _Stream], data: bytes) -> None:
        pending = data
        while pending or (self._stream is not None and self._stream.has_more):
            if self._stream is None:
                self._stream = make_stream()
            self._body += self._stream.decompress(pending, _CHUNK_BYTES)
            if len(self._body) > self._limit:
                self._refuse()
            pending = b""
            if self._stream.rest is not None:
                # Members and frames may follow one another (RFC 1952 2.2, RFC 8878 3.1).
                pending, self._stream = self._stream.rest, None
                self._members += 1
                if self._members > _MAX_MEMBERS:
                    raise MalformedError(
                        f"the compressed body has more than {_MAX_MEMBERS} members"
                    )

    def _refuse(self) -> None:
        raise TooLargeError(
            f"the body has more than {self._limit} bytes uncompressed; send smaller batches"
        )
