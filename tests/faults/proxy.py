"""A TCP proxy in front of Postgres that breaks on demand, and proves that it does.

A fault that was never seen proves nothing: `prove` runs each fault against a connection of its own
before the case begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import threading
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from typing_extensions import Self

_COMMIT: Final = b"COMMIT\x00"
_CHUNK: Final = 65_536
_DRIP_BYTES: Final = 256
_DRIP_SECONDS: Final = 0.02
_SLOW_SECONDS: Final = 0.2
_PROOF_SECONDS: Final = 2


class Fault(enum.Enum):
    """What the proxy does to the traffic."""

    NONE = "none"
    REFUSE = "refuse"
    HANG = "hang"
    BLACKHOLE = "blackhole"
    DRIP = "drip"
    SLOW_COMMIT = "slow commit"
    CUT_BEFORE_COMMIT = "cut before commit"
    CUT_DURING_COMMIT = "cut during commit"
    CUT_AFTER_COMMIT = "cut after commit"


_CUTS: Final = (Fault.CUT_BEFORE_COMMIT, Fault.CUT_DURING_COMMIT, Fault.CUT_AFTER_COMMIT)


class FaultNotProvenError(AssertionError):
    """The proxy does not break what it says it breaks: a case on top of it would prove nothing."""


class Proxy:
    """The proxy as a context manager; its port stays the same whatever happens.

    Args:
        url: the Postgres behind it.
    """

    def __init__(self, url: str) -> None:
        parameters = conninfo_to_dict(url)
        self._target: Final = (str(parameters["host"]), int(str(parameters["port"])))
        self._listener = _listening(0, backlog=128)
        self.port: Final = int(self._listener.getsockname()[1])
        self.url: Final = make_conninfo(url, host="127.0.0.1", port=self.port, sslmode="disable")
        self.fault = Fault.NONE
        self.times_cut = 0
        self._plugs: list[socket.socket] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._loop: Final = asyncio.new_event_loop()
        self._thread: Final = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._serve())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def become(self, fault: Fault) -> None:
        """Break from now on, or be whole again; a new outage also cuts what is connected."""
        self._run(self._become(fault))

    def cut(self) -> None:
        """Drop every connection there is."""
        self._run(self._cut())

    def prove(self, fault: Fault) -> None:
        """See the fault happen, once a run, then be whole again.

        Raises:
            FaultNotProvenError: it did not.
        """
        if fault in _proven:
            return
        self.become(fault)
        try:
            outcome = self._outcome()
        finally:
            self.become(Fault.NONE)
        wanted = "OperationalError" if fault not in {Fault.NONE, Fault.DRIP} else "stored"
        if fault is Fault.SLOW_COMMIT:
            wanted = "stored"
        if outcome != wanted:
            raise FaultNotProvenError(f"{fault.value}: {outcome} instead of {wanted}")
        self.times_cut = 0
        _proven.add(fault)

    def _outcome(self) -> str:
        """What a transaction through the proxy comes to."""
        try:
            with psycopg.connect(self.url, connect_timeout=_PROOF_SECONDS) as connection:
                connection.execute("CREATE TEMP TABLE proof (number int)")
        except psycopg.Error as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            return "OperationalError" if "OperationalError" in kinds else kinds[0]
        return "stored"

    def _run(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(self._connect, sock=self._listener)

    async def _become(self, fault: Fault) -> None:
        was, self.fault = self.fault, fault
        closed = (Fault.REFUSE, Fault.BLACKHOLE)
        if was in closed:
            for plug in self._plugs:
                plug.close()
            self._plugs.clear()
            self._listener = _listening(self.port, backlog=128)
            await self._serve()
        if fault in closed and self._server is not None:
            self._server.close()
        if fault is Fault.BLACKHOLE:
            self._plug()
        if fault is Fault.REFUSE or was in {Fault.HANG, Fault.BLACKHOLE, Fault.REFUSE}:
            await self._cut()

    def _plug(self) -> None:
        """A listener whose queue is full drops what comes, as a firewall does."""
        full = _listening(self.port, backlog=0)
        self._plugs.append(full)
        for _ in range(4):
            plug = socket.socket()
            plug.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                plug.connect(("127.0.0.1", self.port))
            self._plugs.append(plug)

    async def _cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()
        self._open.clear()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._cut()
        for plug in self._plugs:
            plug.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
            self._open.add(server_writer)
            ends = (writer, server_writer)
            await asyncio.gather(self._requests(reader, ends), self._answers(server_reader, ends))
        except (OSError, asyncio.CancelledError):
            # Cancelled only by `_close`, as the last thing the loop does.
            writer.transport.abort()
        finally:
            self._open.discard(writer)

    async def _requests(self, reader: asyncio.StreamReader, ends: _Ends) -> None:
        _, server = ends
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._while_silent()
                commits = _COMMIT in data
                if commits and self.fault is Fault.SLOW_COMMIT:
                    await asyncio.sleep(_SLOW_SECONDS)
                if commits and self.fault in _CUTS:
                    await self._cut_commit(data, ends)
                    return
                server.write(data)
                await server.drain()
        server.close()

    async def _cut_commit(self, data: bytes, ends: _Ends) -> None:
        client, server = ends
        fault = self.fault
        self.times_cut += 1
        if fault is Fault.CUT_BEFORE_COMMIT:
            server.transport.abort()
        else:
            server.write(data)
            await server.drain()
            # The answer is on its way, and never arrives.
            await asyncio.sleep(0 if fault is Fault.CUT_DURING_COMMIT else 0.1)
            server.close()
        client.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader, ends: _Ends) -> None:
        client, _ = ends
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._while_silent()
                if self.fault is Fault.CUT_AFTER_COMMIT and b"COMMIT" in data:
                    continue
                step = _DRIP_BYTES if self.fault is Fault.DRIP else len(data)
                for start in range(0, len(data), step):
                    client.write(data[start : start + step])
                    await client.drain()
                    if self.fault is Fault.DRIP:
                        await asyncio.sleep(_DRIP_SECONDS)
        client.close()

    async def _while_silent(self) -> None:
        while self.fault in {Fault.HANG, Fault.BLACKHOLE}:  # noqa: ASYNC110 - two threads set it
            await asyncio.sleep(0.02)


_proven: Final[set[Fault]] = set()
_Ends = tuple[asyncio.StreamWriter, asyncio.StreamWriter]


def _listening(port: int, *, backlog: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(backlog)
    return listener
