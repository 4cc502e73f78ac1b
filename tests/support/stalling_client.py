"""A gRPC client, with hand-written HTTP/2, that never sends the last byte of its messages."""

from __future__ import annotations

import contextlib
import select
import socket
from typing import Final

_PATH: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _WINDOW = 0, 1, 3, 4, 6, 8
_ACK, _END_HEADERS = 1, 4
_WINDOW_SETTING: Final = 4
_FRAME_BYTES: Final = 16_384
_HEAD_BYTES: Final = 9


class StallingClient:
    """One connection with stalled calls.

    Args:
        port: port of the service.
        token: token of the sender.
        streams: number of calls.
        size: bytes of each message; the last one is never sent.
    """

    def __init__(self, port: int, token: str, streams: int, size: int) -> None:
        self._socket: Final = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b""))
        self._token: Final = token
        self._initial = self._window = 65_535
        self._windows: Final = {2 * number + 1: self._initial for number in range(streams)}
        message = b"\x00" + size.to_bytes(4, "big")
        self._left: Final = dict.fromkeys(self._windows, size - 1)
        self._buffer = b""
        for stream in self._windows:
            self._socket.sendall(_frame(_HEADERS, _END_HEADERS, stream, self._headers()))
            self._send(stream, message)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def push(self) -> int:
        """Send as much as the windows allow; returns the number of bytes."""
        sent = 0
        with contextlib.suppress(ConnectionError):
            self._read()
            for stream, left in list(self._left.items()):
                size = min(left, self._window, self._windows[stream], _FRAME_BYTES)
                if size > 0:
                    self._send(stream, b"\x0a" * size)
                    self._left[stream] -= size
                    sent += size
        return sent

    def _send(self, stream: int, data: bytes) -> None:
        self._socket.sendall(_frame(_DATA, 0, stream, data))
        self._window -= len(data)
        self._windows[stream] -= len(data)

    def _headers(self) -> bytes:
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": _PATH,
            ":authority": "localhost",
            "content-type": "application/grpc",
            "te": "trailers",
            "authorization": f"Bearer {self._token}",
        }
        # Literal header fields without indexing (RFC 7541, 6.2.2).
        return b"".join(
            b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
            for name, value in headers.items()
        )

    def _read(self) -> None:
        while select.select([self._socket], [], [], 0)[0]:
            data = self._socket.recv(65_536)
            if not data:
                raise ConnectionResetError
            self._buffer += data
        while len(self._buffer) >= _HEAD_BYTES:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < _HEAD_BYTES + length:
                return
            kind, flags = self._buffer[3], self._buffer[4]
            stream = int.from_bytes(self._buffer[5:9], "big")
            self._handle_frame(
                kind, flags, stream, self._buffer[_HEAD_BYTES : _HEAD_BYTES + length]
            )
            self._buffer = self._buffer[_HEAD_BYTES + length :]

    def _handle_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            for position in range(0, len(payload), 6):
                if int.from_bytes(payload[position : position + 2], "big") == _WINDOW_SETTING:
                    size = int.from_bytes(payload[position + 2 : position + 6], "big")
                    for number in self._windows:
                        self._windows[number] += size - self._initial
                    self._initial = size
            self._socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._socket.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW and stream == 0:
            self._window += int.from_bytes(payload, "big")
        elif kind == _WINDOW and stream in self._windows:
            self._windows[stream] += int.from_bytes(payload, "big")
        elif kind in {_RESET, _HEADERS}:
            self._left.pop(stream, None)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload
