"""Starts what `tokenledger serve` is made of, and ends it without losing what was taken.

The process that was started holds the socket and the keeper. With one worker it answers as well;
with more, uvicorn starts and watches them, and each has its own connection to the ledger.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec
import uvicorn
from uvicorn.supervisors import Multiprocess

from tokenledger_exporter.db.connection import fingerprint
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.maintenance.runner import MaintenanceThread
from tokenledger_exporter.server.admission import Limits, Service
from tokenledger_exporter.server.auth import Tokens
from tokenledger_exporter.server.ingest.cardinality import CardinalityGuard
from tokenledger_exporter.server.ingest.queue import IngestQueue
from tokenledger_exporter.server.ingest.shares import Budget, Meter
from tokenledger_exporter.server.options import MIB, ServeOptions
from tokenledger_exporter.server.transport.grpc_service import GrpcService
from tokenledger_exporter.server.transport.hosts import Hosts
from tokenledger_exporter.server.transport.http_service import HttpService
from tokenledger_exporter.server.transport.listening import BoundedLoop
from tokenledger_exporter.server.transport.quiet import RateLimit
from tokenledger_exporter.server.transport.request_timeout import STRANGER_SECONDS, TimedProtocol
from tokenledger_exporter.spool.codec import FORMAT_VERSION
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tokenledger_exporter.server.transport.http_service import Message, Receive, Send

OPTIONS_VARIABLE: Final = "TOKENLEDGER_SERVER_OPTIONS_JSON"
"""How the started process hands its options to its workers; not for people."""

_LOGGERS: Final = ("tokenledger", "uvicorn.error", "asyncio", "grpc._cython.cygrpc")
_GRACE_SECONDS: Final = 10
_BACKLOG: Final = 1_024
# Memory of requests that are read, decoded or wait; what a worker takes beside it is about as much.
_MEMORY_BYTES: Final = 48 * MIB
_BODIES_AT_ONCE: Final = 6
# Threads that hand the interpreter on sooner keep a large request of one from delaying the others.
_SWITCH_SECONDS: Final = 0.000_5
# A request makes thousands of small objects that all die with it: looked through less often.
_GC_THRESHOLD: Final = (50_000, 20, 100)


class Worker:
    """One worker's ASGI application, with everything behind it started and stopped by lifespan."""

    def __init__(self, options: ServeOptions) -> None:
        self._options: Final = options
        header = SpoolHeader(
            format_version=FORMAT_VERSION, ledger=fingerprint(options.database_url)
        )
        guard = CardinalityGuard(options.most_values)
        writer = BatchWriter(options.database_url, is_patient=True)
        tokens = Tokens(options.tokens, options.tokens_file)
        limits = Limits(
            options.most_body_bytes,
            options.sender_days,
            options.most_days,
            options.tls_client_organization,
        )
        is_shared = bool(tokens) or bool(options.tls_client_organization)
        memory = max(_MEMORY_BYTES, _BODIES_AT_ONCE * options.most_body_bytes)
        self._intake: Final = IngestQueue(
            writer,
            guard,
            Budget(options.most_waiting, is_shared=is_shared),
            Budget(memory, is_shared=is_shared),
            Meter(),
        )
        self._service: Final = Service(self._intake, tokens, header, limits)
        is_open = not tokens and not options.tls_client_ca
        hosts = Hosts((options.host, *options.server_names), is_checked=is_open)
        self._http: Final = HttpService(self._service, hosts)
        self._grpc: GrpcService | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or start and stop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._http(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._intake.start()
        try:
            if self._options.grpc_port:
                self._grpc = GrpcService(self._service, self._options)
                await self._grpc.start()
        except (RuntimeError, OSError) as error:
            await asyncio.to_thread(self._intake.stop)
            where = f"{self._options.host}:{self._options.grpc_port}"
            told = f"gRPC cannot listen on {where}: {error}"
            await send({"type": "lifespan.startup.failed", "message": told})
            return
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(RateLimit())
        sys.setswitchinterval(_SWITCH_SECONDS)
        gc.set_threshold(*_GC_THRESHOLD)
        gc.freeze()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._grpc is not None:
            await self._grpc.stop()
        await asyncio.to_thread(self._intake.stop)
        self._service.close()
        await send({"type": "lifespan.shutdown.complete"})


def make_worker() -> Worker:
    """The application of a worker process; its options are in the environment."""
    return Worker(msgspec.json.decode(os.environ[OPTIONS_VARIABLE], type=ServeOptions))


def serve(options: ServeOptions, announce: Callable[[str], None] = lambda _line: None) -> None:
    """Answer until the process is told to end.

    Args:
        options: what to do.
        announce: takes one line once the port is bound.

    Raises:
        UsageError: an option is not safe or cannot work, or the address is taken.
    """
    options.check()
    # uvicorn passes on the signal that ended it, which would end this process on the spot.
    signal.signal(signal.SIGTERM, _end)
    if options.grpc_port:
        # Workers share this port, so a worker would share it with a stranger as well.
        _listen(options, options.grpc_port).close()
    listener = _listen(options, options.port)
    port = listener.getsockname()[1]
    grpc = f", gRPC on {options.grpc_port}" if options.grpc_port else ""
    if options.tls_client_ca and not options.tls_client_organization:
        announce(
            "client certificates bind nobody to an organization, each may write for any: see "
            " --tls-client-organization"
        )
    announce(f"OTLP/HTTP on {options.bracketed_host}:{port}{grpc}, {options.workers} worker(s)")
    keeping = MaintenanceThread(options.database_url) if options.keeps else None
    if keeping is not None:
        keeping.start()
    try:
        _run(options, listener)
    finally:
        if keeping is not None:
            keeping.stop()
        listener.close()


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _run(options: ServeOptions, listener: socket.socket) -> None:
    told = _uvicorn_options(options)
    if options.workers == 1:
        uvicorn.Server(uvicorn.Config(Worker(options), **told)).run(sockets=[listener])
        return
    os.environ[OPTIONS_VARIABLE] = msgspec.json.encode(options).decode()
    name = f"{make_worker.__module__}:{make_worker.__name__}"
    config = uvicorn.Config(name, factory=True, workers=options.workers, **told)
    Multiprocess(config, sockets=[listener]).run()


def _uvicorn_options(options: ServeOptions) -> dict[str, Any]:
    told: dict[str, Any] = {
        "http": TimedProtocol,
        "loop": f"{BoundedLoop.__module__}:BoundedLoop",
        "ws": "none",
        "lifespan": "on",
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": STRANGER_SECONDS,
        "timeout_graceful_shutdown": _GRACE_SECONDS,
    }
    if options.tls_cert:
        told |= {"ssl_certfile": options.tls_cert, "ssl_keyfile": options.tls_key}
    if options.tls_client_ca:
        import ssl  # noqa: PLC0415 - only who asks for it pays for it

        told |= {"ssl_ca_certs": options.tls_client_ca, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return told


def _listen(options: ServeOptions, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listener = socket.create_server((options.host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise InvalidRequestError(
            f"cannot listen on {options.bracketed_host}:{port} ({error.strerror}): "
            "choose another --port or --grpc-port, or stop what listens there"
        ) from None
    listener.set_inheritable(True)
    return listener
