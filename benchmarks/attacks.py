"""One hostile sender: `python -m benchmarks.attacks NAME PORT GRPC_PORT TOKEN SECONDS`.

It takes a quarter of a core at most and sends whatever its kind of attack is, as fast as that
allows, waits for each answer where it wants one, and ignores `Retry-After`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import sys
import time
from typing import TYPE_CHECKING, Final

import grpc

from support.otlp_requests import body, call
from support.otlp_service import exporting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

READY: Final = "ready"
"""The line it prints once it has built what it sends."""

_SHARE: Final = 0.25
_CONNECTIONS: Final = 8
_STRANGERS: Final = 1_500
_HOUR: Final = 3_600_000_000_000
_READ_BYTES: Final = 65_536
_HEAD: Final = (
    "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n"
)


class _Pace:
    """Keeps the process below its share of a core."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._used = time.process_time()

    async def wait(self) -> None:
        used = time.process_time() - self._used
        await asyncio.sleep(max(0.0, self._began + used / _SHARE - time.monotonic()))


def _calls(count: int, attributes_of: Callable[[int], Mapping[str, str | int]]) -> bytes:
    return body(*(call(attributes_of(number)) for number in range(count)))


def _wide(number: int) -> Mapping[str, str | int]:
    return {f"tokenledger.metadata.{number}.{key}": "x" * 8_000 for key in range(60)}


def _parts(_number: int) -> Mapping[str, str | int]:
    part = {"model": "gpt-4o", "prompt_tokens": 1, "completion_tokens": 1}
    return {"tokenledger.usage": json.dumps({"further": [part] * 900})[:65_000]}


def _with_events(count: int) -> bytes:
    spans = bytearray()
    span = call().SerializeToString() + b"\x7a\x02\x18\x02" + b"\x5a\x00" * count
    for number in (2, 2, 1):
        span = bytes([number << 3 | 2]) + _varint(len(span)) + span
    spans += span
    return bytes(spans)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _aged(count: int, step_ns: int) -> bytes:
    now = time.time_ns()
    return body(*(call(start_ns=now - number * step_ns) for number in range(1, count + 1)))


def _with_an_old_span() -> bytes:
    old = call(start_ns=1_420_070_400_000_000_000 + _HOUR)
    return body(old, *(call({"gen_ai.response.id": f"id-{n}"}) for n in range(2_000)))


def _strange(number: int) -> Span:
    spans = (
        call(
            {
                "gen_ai.response.id": "".join(
                    chr(0x4E00 + (number * 7919 + n * n) % 20_000) for n in range(3_000)
                )
            }
        ),
        call({"gen_ai.response.model": f"{number}" * 3_000}),
        call({"gen_ai.usage.input_tokens": 2**63 - 1}),
    )
    return spans[number % len(spans)]


BODIES: Final[Mapping[str, Callable[[], bytes]]] = {
    "many calls": lambda: _calls(10_000, lambda _: {}),
    "parts": lambda: _calls(60, _parts),
    "metadata": lambda: _calls(1, _wide),
    "much metadata": lambda: _calls(8, _wide),
    "events": lambda: _with_events(2_000_000),
    "small events": lambda: _with_events(1_900) * 1_000,
    "providers": lambda: _calls(9_000, lambda n: {"gen_ai.provider.name": f"p{time.time_ns()}{n}"}),
    "models": lambda: _calls(
        9_000, lambda n: {"gen_ai.response.model": f"gpt-{time.time_ns()}{n}"}
    ),
    "hours": lambda: _aged(9_000, 10 * _HOUR),
    "old ids": _with_an_old_span,
    "one id": lambda: _calls(1_000, lambda _: {"gen_ai.response.id": "chatcmpl-0123456789abcdef"}),
    "strange values": lambda: body(*(_strange(number) for number in range(90))),
}
"""Requests of a sender that has a token; each is built again for every connection."""


async def _post(port: int, token: str, make: Callable[[], bytes], seconds: float) -> dict[str, int]:
    statuses = dict[str, int]()
    head = f"{_HEAD}content-encoding: gzip\r\nauthorization: Bearer {token}\r\n"
    data = gzip.compress(make(), 1)
    request = f"{head}content-length: {len(data)}\r\n\r\n".encode() + data
    print(READY, flush=True)
    pace = _Pace()
    until = time.monotonic() + seconds

    async def one() -> None:
        while time.monotonic() < until:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request)
                answer = await reader.readuntil(b"\r\n\r\n")
                status = answer[9:12].decode()
                statuses[status] = statuses.get(status, 0) + 1
                writer.close()
            await pace.wait()

    await asyncio.gather(*(one() for _ in range(_CONNECTIONS)))
    return statuses


async def _flood(
    port: int, pieces: Iterator[bytes], until: float, connections: int
) -> dict[str, int]:
    """Write without reading; connect again where one is ended."""
    pace, ended = _Pace(), 0
    piece = next(pieces)

    async def one() -> None:
        nonlocal ended
        while time.monotonic() < until:
            with contextlib.suppress(OSError, asyncio.TimeoutError, TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
                writer.transport.pause_reading()  # type: ignore[attr-defined] # a Transport is both
                while time.monotonic() < until:
                    writer.write(piece)
                    await asyncio.wait_for(writer.drain(), 1)
                    await pace.wait()
                writer.close()
                del reader
            ended += 1
            await pace.wait()

    await asyncio.gather(*(one() for _ in range(connections)))
    return {"ended": ended}


async def _hold(port: int, until: float) -> dict[str, int]:
    """Connections that were refused once and stay."""
    pace, open_now = _Pace(), list[asyncio.StreamWriter]()
    made = 0
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{_HEAD}content-length: 0\r\n\r\n".encode())
            open_now.append(writer)
            made += 1
        if len(open_now) > _STRANGERS:
            open_now.pop(0).close()
        await pace.wait()
    return {"made": made}


def _stall_grpc(port: int, token: str, until: float) -> dict[str, int]:
    """Messages of nearly 4 MiB on many streams of some connections."""
    message = b"\x0a\x00" * 2_000_000
    ended = 0
    while time.monotonic() < until:
        with contextlib.ExitStack() as stack:
            calls: list[grpc.Future[bytes]] = []
            for _ in range(4):
                options = (("grpc.use_local_subchannel_pool", 1),)
                channel = stack.enter_context(
                    grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
                )
                export = exporting(channel)
                metadata = (("authorization", f"Bearer {token}"),)
                calls += [export.future(message, metadata=metadata, timeout=5) for _ in range(30)]
            for each in calls:
                with contextlib.suppress(grpc.RpcError):
                    each.result()
                ended += 1
    return {"ended": ended}


def main() -> None:
    """Attack as the arguments say, and print what was answered."""
    name, port, grpc_port, token, seconds = sys.argv[1:]
    until = time.monotonic() + float(seconds)
    if name not in BODIES:
        print(READY, flush=True)
    if name == "grpc messages":
        print(json.dumps(_stall_grpc(int(grpc_port), token, until)))
        return
    strangers: Mapping[str, bytes] = {
        "pipelined": b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n" * 1_000,
        "pipelined refusals": f"{_HEAD}content-length: 0\r\n\r\n".encode() * 600,
        "trailers": f"{_HEAD}transfer-encoding: chunked\r\n\r\n0\r\n".encode()
        + b"x: y\r\n" * 9_000,
        "crumbs": f"{_HEAD}transfer-encoding: chunked\r\n\r\n".encode() + b"1\r\nx\r\n" * 9_000,
        "no HTTP": b"\x00\x01\x02 nothing\r\n\r\n",
    }
    if name == "connections":
        found = asyncio.run(_hold(int(port), until))
    elif name in strangers:
        found = asyncio.run(_flood(int(port), iter([strangers[name]]), until, _CONNECTIONS))
    else:
        found = asyncio.run(_post(int(port), token, BODIES[name], float(seconds)))
    print(json.dumps(found))


STRANGERS: Final = (
    "pipelined",
    "pipelined refusals",
    "trailers",
    "crumbs",
    "no HTTP",
    "connections",
)
"""Attacks that need no token."""

if __name__ == "__main__":
    main()
