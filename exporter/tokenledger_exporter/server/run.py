"""Starts the parts of `tokenledger serve` and stops them without losing accepted requests.

The main process owns the socket and runs maintenance tasks. With one worker it also answers
requests; with more, uvicorn starts and supervises them, and each has its own connection to the
ledger.
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

from tokenledger_exporter.access.hosts import AllowedHosts
from tokenledger_exporter.access.tokens import Tokens
from tokenledger_exporter.alerts.background import AlertThread
from tokenledger_exporter.alerts.channels import SECONDS
from tokenledger_exporter.db.connection import fingerprint
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.maintenance.runner import MaintenanceThread
from tokenledger_exporter.server.admission import Limits, Service
from tokenledger_exporter.server.budgets.service import MAX_WAITING, BudgetService
from tokenledger_exporter.server.ingest.cardinality import CardinalityGuard
from tokenledger_exporter.server.ingest.fair_share import Budget, WorkMeter
from tokenledger_exporter.server.ingest.queue import IngestQueue
from tokenledger_exporter.server.options import MIB, ServeOptions
from tokenledger_exporter.server.readiness import readiness
from tokenledger_exporter.server.transport.grpc_service import GrpcService
from tokenledger_exporter.server.transport.http_connection import (
    ANONYMOUS_IDLE_SECONDS,
    TimedProtocol,
)
from tokenledger_exporter.server.transport.http_service import HttpService
from tokenledger_exporter.server.transport.listener import BoundedLoop
from tokenledger_exporter.server.transport.log_rate_limit import LogRateLimit
from tokenledger_exporter.spool.codec import FORMAT_VERSION
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tokenledger_exporter.server.transport.http_service import Message, Receive, Send

OPTIONS_VARIABLE: Final = "TOKENLEDGER_SERVER_OPTIONS_JSON"
"""Passes the options from the main process to its workers; internal."""

_LOGGERS: Final = ("tokenledger", "uvicorn.error", "asyncio", "grpc._cython.cygrpc")
_GRACE_SECONDS: Final = 10
_BACKLOG: Final = 1_024
# Memory for requests that are read, decoded or wait; the worker itself uses about as much.
_MEMORY_BYTES: Final = 48 * MIB
_MIN_CONCURRENT_BODIES: Final = 6
# With a shorter switch interval, a large request delays other requests less.
_SWITCH_SECONDS: Final = 0.000_5
# A request makes thousands of short-lived objects, so frequent collections are useless.
_GC_THRESHOLD: Final = (50_000, 20, 100)


class Worker:
    """One worker's ASGI application; its lifespan starts and stops all parts."""

    def __init__(self, options: ServeOptions) -> None:
        self._options: Final = options
        header = SpoolHeader(
            format_version=FORMAT_VERSION, ledger=fingerprint(options.database_url)
        )
        guard = CardinalityGuard(options.max_values)
        writer = BatchWriter(options.database_url, waits_for_lock=True)
        tokens = Tokens(options.tokens, options.tokens_file)
        limits = Limits(
            options.max_body_bytes,
            options.max_age_days,
            options.max_age_days_trusted,
            options.tls_client_organization,
        )
        is_shared = bool(tokens) or bool(options.tls_client_organization)
        memory = max(_MEMORY_BYTES, _MIN_CONCURRENT_BODIES * options.max_body_bytes)
        self._queue: Final = IngestQueue(
            writer,
            guard,
            Budget(options.max_waiting, is_shared=is_shared),
            Budget(memory, is_shared=is_shared),
            WorkMeter(),
        )
        self._service: Final = Service(self._queue, tokens, header, limits)
        has_no_credentials = not tokens and not options.tls_client_ca
        hosts = AllowedHosts((options.host, *options.server_names), is_checked=has_no_credentials)
        self._budgets: Final = BudgetService(
            options.database_url, Budget(MAX_WAITING, is_shared=is_shared), has_senders=is_shared
        )
        self._http: Final = HttpService(
            self._service, hosts, readiness(options.database_url), self._budgets
        )
        self._grpc: GrpcService | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or handle the lifespan."""
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        else:
            await self._http(scope, receive, send)

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._queue.start()
        try:
            if self._options.grpc_port:
                self._grpc = GrpcService(self._service, self._options)
                await self._grpc.start()
        except (RuntimeError, OSError) as error:
            await asyncio.to_thread(self._queue.stop)
            where = f"{self._options.host}:{self._options.grpc_port}"
            message = f"gRPC cannot listen on {where}: {error}"
            await send({"type": "lifespan.startup.failed", "message": message})
            return
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(LogRateLimit())
        sys.setswitchinterval(_SWITCH_SECONDS)
        gc.set_threshold(*_GC_THRESHOLD)
        gc.freeze()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._grpc is not None:
            await self._grpc.stop()
        await asyncio.to_thread(self._queue.stop)
        await asyncio.to_thread(self._budgets.close)
        self._service.close()
        await send({"type": "lifespan.shutdown.complete"})


def make_worker() -> Worker:
    """The application of a worker process, with the options from the environment."""
    return Worker(msgspec.json.decode(os.environ[OPTIONS_VARIABLE], type=ServeOptions))


def serve(options: ServeOptions, announce: Callable[[str], None] = lambda _line: None) -> None:
    """Run the service until the process is asked to stop.

    Args:
        options: the options.
        announce: called with one line when the port is bound.

    Raises:
        InvalidRequestError: an option is unsafe or cannot work, or the address is in use.
    """
    options.check()
    # When uvicorn has stopped, it raises its signal again, which would end this process at once.
    signal.signal(signal.SIGTERM, _end)
    if options.grpc_port:
        # Workers open this port as shared, so they would also share it with an unrelated process.
        _listen(options, options.grpc_port).close()
    listener = _listen(options, options.port)
    port = listener.getsockname()[1]
    grpc = f", gRPC on {options.grpc_port}" if options.grpc_port else ""
    if options.tls_client_ca and not options.tls_client_organization:
        announce(
            "client certificates are not tied to organizations, so every client can write for any "
            "organization; see --tls-client-organization"
        )
    workers = f"{options.workers} worker{'s' if options.workers > 1 else ''}"
    announce(f"OTLP/HTTP on {options.bracketed_host}:{port}{grpc}, {workers}")
    alerts = AlertThread(options.database_url)
    maintenance = (
        MaintenanceThread(options.database_url, last_step=alerts)
        if options.runs_maintenance
        else None
    )
    if maintenance is not None:
        maintenance.start()
    try:
        _run(options, listener)
    finally:
        if maintenance is not None:
            maintenance.stop()
            alerts.ended(SECONDS)
        listener.close()


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _run(options: ServeOptions, listener: socket.socket) -> None:
    settings = _uvicorn_options(options)
    if options.workers == 1:
        uvicorn.Server(uvicorn.Config(Worker(options), **settings)).run(sockets=[listener])
        return
    os.environ[OPTIONS_VARIABLE] = msgspec.json.encode(options).decode()
    name = f"{make_worker.__module__}:{make_worker.__name__}"
    config = uvicorn.Config(name, factory=True, workers=options.workers, **settings)
    Multiprocess(config, sockets=[listener]).run()


def _uvicorn_options(options: ServeOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "http": TimedProtocol,
        "loop": f"{BoundedLoop.__module__}:BoundedLoop",
        "ws": "none",
        "lifespan": "on",
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": ANONYMOUS_IDLE_SECONDS,
        "timeout_graceful_shutdown": _GRACE_SECONDS,
    }
    if options.tls_cert:
        settings |= {"ssl_certfile": options.tls_cert, "ssl_keyfile": options.tls_key}
    if options.tls_client_ca:
        import ssl  # noqa: PLC0415 - imported only if client certificates are used

        settings |= {"ssl_ca_certs": options.tls_client_ca, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return settings


def _listen(options: ServeOptions, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listener = socket.create_server((options.host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise InvalidRequestError(
            f"cannot listen on {options.bracketed_host}:{port} ({error.strerror}): "
            "choose another --port or --grpc-port, or stop the program that uses it"
        ) from None
    listener.set_inheritable(True)
    return listener
