"""A hostile sender next to a well-behaved one: `python -m benchmarks.hostile [SECONDS] [NAME ...]`.

For each kind of attack: what the good sender's 200 requests a second met, next to the same attack
on a service that refuses all of it (its token is not valid there), and the peak of the service's
memory. `serve` runs as a process of its own on a real Postgres.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import children, write_path
from benchmarks.attacks import BODIES, READY, STRANGERS
from support.otlp_requests import body, call
from support.otlp_service import serving
from tokenledger_exporter.access.tokens import new_token, token_line
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.maintenance.install import migrate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.otlp_service import Running

ATTACKS: Final = (*BODIES, "grpc messages", *STRANGERS)
"""Every kind."""

_RATE: Final = 200
_CONNECTIONS: Final = 32
_PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Met:
    """What the good sender met.

    Args:
        sent: its requests.
        refused: those not answered 200.
        p99_ms: time of an answer that 99 of 100 stayed below.
        peak_mib: most memory the service had.
        attacker: what the hostile one says it met.
    """

    sent: int
    refused: int
    p99_ms: float
    peak_mib: float
    attacker: str


async def _good(port: int, token: str, seconds: float) -> tuple[list[float], int]:
    """Requests of one call at a fixed rate, whatever the answers take."""
    count = int(_RATE * seconds)
    requests = [_request(token) for _ in range(count)]
    took: list[float] = []
    refused = 0
    began = time.perf_counter()
    pending = iter(enumerate(requests))

    async def connection() -> None:
        nonlocal refused
        reader = writer = None
        for number, request in pending:
            due = began + number / _RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE)
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                refused += head[9:12] != b"200"
            except (OSError, EOFError, asyncio.TimeoutError):
                refused += 1
                if writer is not None:
                    writer.close()
                reader = writer = None
            took.append(time.perf_counter() - due)
        if writer is not None:
            writer.close()
            await writer.wait_closed()

    await asyncio.gather(*(connection() for _ in range(_CONNECTIONS)))
    return took, refused


def _request(token: str) -> bytes:
    data = body(call())
    head = (
        "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n"
        f"authorization: Bearer {token}\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def meet(service: Running, good: str, name: str, hostile: str, seconds: float) -> Met:
    """Send as the good one during an attack.

    Args:
        service: where to.
        good: token of the good one.
        name: of the attack; "" for none.
        hostile: token of the hostile one.
        seconds: for how long.
    """
    attacker = None
    if name:
        ports = str(service.port), str(service.grpc_port)
        words = ["-m", "benchmarks.attacks", name, *ports, hostile, str(seconds + 1)]
        attacker = subprocess.Popen(
            [sys.executable, *words], env=children.environment(), stdout=subprocess.PIPE, text=True
        )
        assert attacker.stdout
        assert attacker.stdout.readline().strip() == READY
    took, refused = asyncio.run(_good(service.port, good, seconds))
    attacker_output = attacker.communicate(timeout=120)[0].strip() if attacker else ""
    p99 = sorted(took)[int(len(took) * 0.99)] * 1e3
    return Met(len(took), refused, p99, service.peak_rss_mib(), attacker_output)


def main(seconds: float = 10.0, names: Sequence[str] = ATTACKS) -> None:
    """Measure and print a line for each attack."""
    good, hostile = new_token(), new_token()
    with temporary_postgres(write_path.SERVER) as url, tempfile.TemporaryDirectory() as folder:
        migrate(url)
        both, one = Path(folder) / "both", Path(folder) / "one"
        both.write_text("\n".join((token_line("good", good), token_line("hostile", hostile))))
        one.write_text(token_line("good", good))
        print(
            f"{'attack':20} {'refused':>12} {'p99 ms':>8} {'refusing':>9} {'ratio':>6} {'MiB':>5}"
        )
        for name in names:
            found: list[Met] = []
            for file in (one, both):
                with serving(url, "--tokens-file", str(file), grpc=True) as service:
                    service.ask("/v1/traces", body(call()), {"authorization": f"Bearer {good}"})
                    # For strangers there is nothing to reject: next to none at all.
                    what = "" if name in STRANGERS and file is one else name
                    found.append(meet(service, good, what, hostile, seconds))
            base, met = found
            print(
                f"{name:20} {met.refused:5} of {met.sent:5} {met.p99_ms:8.1f} {base.p99_ms:9.1f} "
                f"{met.p99_ms / base.p99_ms:6.2f} {met.peak_mib:5.0f}  {met.attacker}",
                flush=True,
            )


if __name__ == "__main__":
    main(float(sys.argv[1]) if sys.argv[1:] else 10.0, sys.argv[2:] or ATTACKS)
