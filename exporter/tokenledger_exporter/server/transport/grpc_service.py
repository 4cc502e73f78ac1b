"""OTLP over gRPC, behind the same service as HTTP.

Methods are taken as streams of one message, so that the token is looked at before the message is
read. gRPC's own decompression is off, so that one limit and one refusal hold for both doors.
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
from tokenledger_exporter.server.decoding.decoded_request import MalformedError, TooLargeError
from tokenledger_exporter.server.decoding.decompress import Inflater
from tokenledger_exporter.server.responses import PROTOBUF, Refusal, RefusedError, success
from tokenledger_exporter.server.transport.certificates import named_in_call

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from typing import Protocol

    from tokenledger_exporter.server.admission import Service
    from tokenledger_exporter.server.decoding.decoded_request import Received
    from tokenledger_exporter.server.options import ServeOptions

    class _Context(Protocol):
        """What a call is asked for and told here."""

        def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None:
            """The headers."""
            ...

        def auth_context(self) -> Mapping[str, Iterable[bytes]]:
            """What TLS knows of the client."""
            ...

        def set_trailing_metadata(self, told: tuple[tuple[str, str | bytes], ...], /) -> None:
            """Set what follows the answer."""
            ...

        def set_code(self, code: grpc.StatusCode, /) -> None:
            """Set how the call ends."""
            ...

        def set_details(self, details: str, /) -> None:
            """Set why."""
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
_COLLECTED_BYTES: Final = 33_554_432
_LOOKS: Final = 20
_LOOK_SECONDS: Final = 0.05
_LOOK_AHEAD_BYTES: Final = 65_536
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class GrpcService:
    """The gRPC server of one worker.

    Args:
        service: what takes the requests.
        options: address and TLS.
    """

    def __init__(self, service: Service, options: ServeOptions) -> None:
        self._service: Final = service
        self._uncollected = 0
        self._server: Final = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", service.most_body_bytes),
                ("grpc.per_message_decompression", 0),
                ("grpc.max_concurrent_streams", _MAX_STREAMS),
                ("grpc.max_allowed_incoming_connections", _MAX_CONNECTIONS),
                ("grpc.max_connection_idle_ms", int(_IDLE_SECONDS * 1000)),
                ("grpc.server_handshake_timeout_ms", int(REQUEST_SECONDS * 1000)),
                # A window that grows with the bandwidth would hold more of a message nobody asked
                # for yet than this does.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", _LOOK_AHEAD_BYTES),
                # The workers share the port.
                ("grpc.so_reuseport", 1),
            )
        )
        for name, signal in _SERVICES.items():
            exporting: Any = self._exporting(signal)
            export: grpc.RpcMethodHandler[bytes, bytes]
            export = grpc.stream_unary_rpc_method_handler(exporting)
            handler = grpc.method_handlers_generic_handler(name, {"Export": export})
            self._server.add_generic_rpc_handlers((handler,))
        address = f"{options.bracketed_host}:{options.grpc_port}"
        if options.tls_cert:
            self._server.add_secure_port(address, _credentials(options))
        else:
            self._server.add_insecure_port(address)

    async def start(self) -> None:
        """Begin to answer."""
        await self._server.start()

    async def stop(self) -> None:
        """Let what is being answered end."""
        await self._server.stop(_STOP_SECONDS)

    def _exporting(self, signal: str) -> _Export:
        async def export(messages: AsyncIterator[bytes], context: _Context) -> bytes:
            try:
                return success(signal, PROTOBUF, await self._take(signal, messages, context))
            except RefusedError as error:
                refusal = error.refusal
            self._service.intake.state.refused[str(refusal.status)] += 1
            if refusal.retry_seconds:
                context.set_trailing_metadata(((_DETAILS, _retry_details(refusal)),))
            # `abort` would raise an error that keeps the call until the next garbage collection.
            context.set_code(_CODES[refusal.code])
            context.set_details(refusal.reason)
            return b""

        return export

    async def _take(
        self, signal: str, messages: AsyncIterator[bytes], context: _Context
    ) -> Counter[str]:
        service = self._service
        told = [
            str(value)
            for key, value in context.invocation_metadata() or ()
            if str(key) == "authorization"
        ]
        if len(told) > 1:
            raise RefusedError(UNAUTHORIZED)
        part = service.limits.certificate_part
        certified = named_in_call(context.auth_context(), part) if part else None
        header = service.identify(told, certified)
        with service.admitted(header.organization):
            received = await self._receive(signal, messages, header.organization)
            return await service.store(received, header)

    async def _receive(self, signal: str, messages: AsyncIterator[bytes], sender: str) -> Received:
        """What the message holds.

        How large it is gRPC tells only once it is there, so that as much as it may be is held.
        """
        service = self._service
        held = service.most_body_bytes
        await self._hold(sender, held)
        try:
            message = await asyncio.wait_for(anext(messages), REQUEST_SECONDS)
            self._collect_after(len(message))
            body = self._unpacked(message, sender)
            del message
            service.hold(sender, len(body) - held)
            held = len(body)
            return await service.decode(signal, PROTOBUF, body, sender)
        except TooLargeError as error:
            raise RefusedError(Refusal(413, str(error))) from None
        except MalformedError as error:
            raise RefusedError(Refusal(400, str(error))) from None
        except StopAsyncIteration:
            raise RefusedError(Refusal(400, "the request holds no message")) from None
        except (TimeoutError, asyncio.TimeoutError):
            late = f"the message did not arrive in {REQUEST_SECONDS:.0f} s"
            raise RefusedError(Refusal(400, late)) from None
        finally:
            service.hold(sender, -held)

    def _collect_after(self, size: int) -> None:
        """Let go of the calls that ended, every so many bytes of messages.

        A call of grpc is a cycle of references that keeps its message in C's memory, where no
        garbage collection counts it (grpc 1.85, `_find_method_handler`, tried 2026-11-28).
        """
        self._uncollected += size
        if self._uncollected >= _COLLECTED_BYTES:
            self._uncollected = 0
            gc.collect()

    def _unpacked(self, message: bytes, sender: str) -> bytes:
        """The message; what begins as gzip does is no protobuf message of any kind."""
        if not message.startswith(_GZIP_MAGIC):
            return message
        inflater = Inflater("gzip", self._service.most_body_bytes)
        self._service.unpack(inflater, message, sender)
        return inflater.finish()

    async def _hold(self, sender: str, size: int) -> None:
        """Wait a moment for room, as messages come and go in milliseconds."""
        for _ in range(_LOOKS):
            try:
                self._service.hold(sender, size)
            except RefusedError:
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return
        raise RefusedError(FULL)


def _retry_details(refusal: Refusal) -> bytes:
    """When to try again, as OTLP's clients look for it in the trailers."""
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
