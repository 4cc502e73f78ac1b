"""Sends ready requests as fast as they are taken, as a process: `python -m benchmarks.sending`.

Arguments: port, a file of length-prefixed bodies, connections, requests a second (0 for no pause).
Prints one JSON line: seconds from the first request until the last was sent and until the last was
answered, and the answers by status.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LENGTH_BYTES: Final = 4


def write_bodies(file: Path, bodies: Iterable[bytes]) -> None:
    """Put bodies where the sender reads them."""
    with file.open("wb") as out:
        for body in bodies:
            out.write(len(body).to_bytes(_LENGTH_BYTES, "big") + body)


def _requests(file: Path) -> list[bytes]:
    data = file.read_bytes()
    found: list[bytes] = []
    place = 0
    while place < len(data):
        length = int.from_bytes(data[place : place + _LENGTH_BYTES], "big")
        place += _LENGTH_BYTES
        head = (
            "POST /v1/traces HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            "content-type: application/x-protobuf\r\n"
            f"content-length: {length}\r\n\r\n"
        )
        found.append(head.encode() + data[place : place + length])
        place += length
    return found


async def _send(
    port: int, requests: Sequence[bytes], connections: int, per_second: float
) -> dict[str, object]:
    waiting = deque(requests)
    statuses: Counter[str] = Counter()
    began = sent = time.perf_counter()

    async def connection() -> None:
        nonlocal sent
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            request = waiting.popleft()
            if per_second:
                due = began + (len(requests) - len(waiting)) / per_second
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            writer.write(request)
            sent = time.perf_counter()
            head = await reader.readuntil(b"\r\n\r\n")
            statuses[head[9:12].decode()] += 1
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    await asyncio.gather(*(connection() for _ in range(connections)))
    return {
        "sent_seconds": sent - began,
        "seconds": time.perf_counter() - began,
        "statuses": dict(statuses),
    }


def main() -> None:
    """Send what the arguments say."""
    port, file, connections, per_second = sys.argv[1:]
    requests = _requests(Path(file))
    print(json.dumps(asyncio.run(_send(int(port), requests, int(connections), float(per_second)))))


if __name__ == "__main__":
    main()
