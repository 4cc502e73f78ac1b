"""A request's body as it comes in, unpacked piece by piece and never beyond the limit.

What is refused is refused at the piece that goes too far: a bomb is not unpacked to be measured.
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
# Unpacked at a time: what goes too far goes no further than this.
_PIECE: Final = 65_536
_MAX_MEMBERS: Final = 256
# A frame may ask for a window of 2 GiB; 8 MiB is what the usual levels use (RFC 8878, 3.1.1.1.2).
_ZSTD_WINDOW: Final = {int(zstd.DecompressionParameter.window_log_max): 23}


class _Stream(Protocol):
    """One member or frame."""

    def unpack(self, data: bytes, most: int) -> bytes:
        """What some more bytes unfold into, `most` bytes at most."""
        ...

    @property
    def holds_more(self) -> bool:
        """Whether more comes without more bytes."""
        ...

    @property
    def rest(self) -> bytes | None:
        """Once it has ended, what stands behind it."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP_WINDOW)

    def unpack(self, data: bytes, most: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, most)

    @property
    def holds_more(self) -> bool:
        return bool(self._stream.unconsumed_tail)

    @property
    def rest(self) -> bytes | None:
        return self._stream.unused_data if self._stream.eof else None


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstd.ZstdDecompressor(options=_ZSTD_WINDOW)

    def unpack(self, data: bytes, most: int) -> bytes:
        unpacked: bytes = self._stream.decompress(data, most)
        return unpacked

    @property
    def holds_more(self) -> bool:
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
"""Content encodings that are taken."""


class Inflater:
    """Collects a body.

    Args:
        encoding: one of `ENCODINGS`.
        limit: bytes it may have, packed and unpacked.
    """

    def __init__(self, encoding: str, limit: int) -> None:
        self._make: Final = _STREAMS[encoding]
        self._stream: _Stream | None = None
        self._limit: Final = limit
        self._packed = self._members = 0
        self._body = bytearray()

    @property
    def size(self) -> int:
        """Bytes held."""
        return len(self._body)

    def feed(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            TooLargeError: it goes beyond the limit.
            MalformedError: it is not packed as it says.
        """
        self._packed += len(data)
        if self._packed > self._limit:
            self._refuse()
        if self._make is None:
            self._body += data
            return
        try:
            self._unpack(self._make, data)
        except (zlib.error, zstd.ZstdError):
            raise MalformedError(
                "the body is not compressed as its Content-Encoding says"
            ) from None

    def finish(self) -> bytes:
        """The whole body.

        Raises:
            MalformedError: it breaks off.
        """
        if self._stream is not None:
            raise MalformedError("the compressed body breaks off")
        whole, self._body = bytes(self._body), bytearray()
        return whole

    def _unpack(self, make: Callable[[], _Stream], data: bytes) -> None:
        pending = data
        while pending or (self._stream is not None and self._stream.holds_more):
            if self._stream is None:
                self._stream = make()
            self._body += self._stream.unpack(pending, _PIECE)
            if len(self._body) > self._limit:
                self._refuse()
            pending = b""
            if self._stream.rest is not None:
                # Members and frames may follow one another (RFC 1952 2.2, RFC 8878 3.1).
                pending, self._stream = self._stream.rest, None
                self._members += 1
                if self._members > _MAX_MEMBERS:
                    raise MalformedError(f"the body is packed in over {_MAX_MEMBERS} members")

    def _refuse(self) -> None:
        raise TooLargeError(
            f"the body is over {self._limit} bytes uncompressed: send smaller batches"
        )
