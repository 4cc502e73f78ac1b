"""OTLP over gRPC, with the same service as HTTP behind it.

Each method is handled as a stream of one message, so that the token is checked before the message
is read. gRPC's own decompression is off, so that HTTP and gRPC share one limit and one refusal.
"""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from tokenledger_exporter.server.admission import FULL, REQUEST_SECONDS, UNAUTHORIZED
from tokenledger_exporter.server.certificates import organization_in_grpc_call
from tokenledger_exporter.server.decoding.decoded_request import MalformedError, TooLargeError
from tokenledger_exporter.server.decoding.decompress import Inflater
from tokenledger_exporter.server.responses import PROTOBUF, Refusal, RefusedError, success

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from typing import Protocol

    from tokenledger_exporter.server.admission import Service
    from tokenledger_exporter.server.decoding.decoded_request import DecodedRequest
    from tokenledger_exporter.server.options import ServeOptions

    class _Context(Protocol):
        """The part of a gRPC call's context that is used here."""

        def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None:
            """The headers."""
            ...

        def auth_context(self) -> Mapping[str, Iterable[bytes]]:
            """What TLS reports about the client."""
            ...

        def set_trailing_metadata(self, metadata: tuple[tuple[str, str | bytes], ...], /) -> None:
            """Set the trailers."""
            ...

        def set_code(self, code: grpc.StatusCode, /) -> None:
            """Set the status code."""
            ...

        def set_details(self, details: str, /) -> None:
            """Set the text of the status."""
            ...

    _Export = Callable[[AsyncIterator[bytes], _Context], Awaitable[bytes]]

_SERVICES: Final = {
    "opentelemetry.proto.collector.trace.v1.TraceService": "traces",
    "opentelemetry.proto.collector.logs.v1.LogsService": "logs",
}
_GZIP_MAGIC: Final = b"\x1f\x8b"
_DETAILS: Final = "grpc-status-details-bin"
_STOP_SECONDS: Final = 5.0
_MAX_STREAMS: Final = 8
_MAX_CONNECTIONS: Final = 1_024
_IDLE_SECONDS: Final = 30.0
_BYTES_PER_COLLECTION: Final = 33_554_432
_ROOM_ATTEMPTS: Final = 20
_ROOM_PAUSE_SECONDS: Final = 0.05
_LOOKAHEAD_BYTES: Final = 65_536
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class GrpcService:
    """The gRPC server of one worker.

    Args:
        service: handles the requests.
        options: the address and TLS.
    """

    def __init__(self, service: Service, options: ServeOptions) -> None:
        self._service: Final = service
        self._uncollected = 0
        self._server: Final = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", service.max_body_bytes),
                ("grpc.per_message_decompression", 0),
                ("grpc.max_concurrent_streams", _MAX_STREAMS),
                ("grpc.max_allowed_incoming_connections", _MAX_CONNECTIONS),
                ("grpc.max_connection_idle_ms", int(_IDLE_SECONDS * 1000)),
                ("grpc.server_handshake_timeout_ms", int(REQUEST_SECONDS * 1000)),
                # A window that grows with the bandwidth would buffer more of a message that is not
                # wanted yet.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", _LOOKAHEAD_BYTES),
                # The workers share the port.
                ("grpc.so_reuseport", 1),
            )
        )
        for name, signal in _SERVICES.items():
            handle: Any = self._make_export(signal)
            export: grpc.RpcMethodHandler[bytes, bytes]
            export = grpc.stream_unary_rpc_method_handler(handle)
            handler = grpc.method_handlers_generic_handler(name, {"Export": export})
            self._server.add_generic_rpc_handlers((handler,))
        address = f"{options.bracketed_host}:{options.grpc_port}"
        if options.tls_cert:
            self._server.add_secure_port(address, _credentials(options))
        else:
            self._server.add_insecure_port(address)

    async def start(self) -> None:
        """Start to answer calls."""
        await self._server.start()

    async def stop(self) -> None:
        """Stop the server; calls in flight get some seconds to finish."""
        await self._server.stop(_STOP_SECONDS)

    def _make_export(self, signal: str) -> _Export:
        async def export(messages: AsyncIterator[bytes], context: _Context) -> bytes:
            try:
                return success(signal, PROTOBUF, await self._handle(signal, messages, context))
            except RefusedError as error:
                refusal = error.refusal
            self._service.queue.stats.refused[str(refusal.status)] += 1
            if refusal.retry_seconds:
                context.set_trailing_metadata(((_DETAILS, _retry_details(refusal)),))
            # `abort` would raise an error that keeps the call alive until the next collection.
            context.set_code(_CODES[refusal.code])
            context.set_details(refusal.reason)
            return b""

        return export

    async def _handle(
        self, signal: str, messages: AsyncIterator[bytes], context: _Context
    ) -> Counter[str]:
        service = self._service
        authorizations = [
            str(value)
            for key, value in context.invocation_metadata() or ()
            if str(key) == "authorization"
        ]
        if len(authorizations) > 1:
            raise RefusedError(UNAUTHORIZED)
        part = service.limits.certificate_part
        certificate_organization = (
            organization_in_grpc_call(context.auth_context(), part) if part else None
        )
        header = service.identify(authorizations, certificate_organization)
        with service.admitted(header.organization):
            decoded = await self._receive(signal, messages, header.organization)
            return await service.store(decoded, header)

    async def _receive(
        self, signal: str, messages: AsyncIterator[bytes], sender: str
    ) -> DecodedRequest:
        """The decoded message.

        gRPC reports the size only once the message has arrived, so memory for the largest allowed
        message is reserved until then.
        """
        service = self._service
        reserved = service.max_body_bytes
        await self._wait_for_memory(sender, reserved)
        try:
            message = await asyncio.wait_for(anext(messages), REQUEST_SECONDS)
            self._collect_after(len(message))
            body = self._decompressed(message, sender)
            del message
            service.reserve_memory(sender, len(body) - reserved)
            reserved = len(body)
            return await service.decode(signal, PROTOBUF, body, sender)
        except TooLargeError as error:
            raise RefusedError(Refusal(413, str(error))) from None
        except MalformedError as error:
            raise RefusedError(Refusal(400, str(error))) from None
        except StopAsyncIteration:
            raise RefusedError(Refusal(400, "the request contains no message")) from None
        except (TimeoutError, asyncio.TimeoutError):
            late = f"the message did not arrive in {REQUEST_SECONDS:.0f} s"
            raise RefusedError(Refusal(400, late)) from None
        finally:
            service.reserve_memory(sender, -reserved)

    def _collect_after(self, size: int) -> None:
        """Run the garbage collector once per `_BYTES_PER_COLLECTION` of messages.

        A finished grpc call is a reference cycle that keeps its message in C memory, which the
        garbage collector does not count (grpc 1.85, `_find_method_handler`, tried 2026-11-28).
        """
        self._uncollected += size
        if self._uncollected >= _BYTES_PER_COLLECTION:
            self._uncollected = 0
            gc.collect()

    def _decompressed(self, message: bytes, sender: str) -> bytes:
        """The message without gzip; no protobuf message begins with gzip's magic bytes."""
        if not message.startswith(_GZIP_MAGIC):
            return message
        inflater = Inflater("gzip", self._service.max_body_bytes)
        self._service.decompress(inflater, message, sender)
        return inflater.finish()

    async def _wait_for_memory(self, sender: str, size: int) -> None:
        """Reserve memory, waiting a second at most, as messages come and go in milliseconds."""
        for _ in range(_ROOM_ATTEMPTS):
            try:
                self._service.reserve_memory(sender, size)
            except RefusedError:
                await asyncio.sleep(_ROOM_PAUSE_SECONDS)
            else:
                return
        raise RefusedError(FULL)


def _retry_details(refusal: Refusal) -> bytes:
    """The retry delay in the form in which OTLP clients expect it in the trailers."""
    status = Status(code=refusal.code, message=refusal.reason)
    detail = AnyMessage()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=refusal.retry_seconds)))
    status.details.append(detail)
    return status.SerializeToString()


def _credentials(options: ServeOptions) -> grpc.ServerCredentials:
    key, chain = options.read(options.tls_key), options.read(options.tls_cert)
    authority = options.read(options.tls_client_ca) if options.tls_client_ca else None
    return grpc.ssl_server_credentials(
        [(key, chain)], root_certificates=authority, require_client_auth=authority is not None
    )
