"""OTLP over gRPC, behind the same service as HTTP.

Methods are taken as streams of one message, so that the token is looked at before the message is
read. gRPC's own decompression is off, so that one limit and one refusal hold for both doors.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from tokenledger_exporter.server.answers import PROTOBUF, Refusal, RefusedError, success
from tokenledger_exporter.server.inflating import Inflater
from tokenledger_exporter.server.received import MalformedError, TooLargeError
from tokenledger_exporter.server.service import REQUEST_SECONDS

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Protocol

    from typing_extensions import Never

    from tokenledger_exporter.server.options import ServeOptions
    from tokenledger_exporter.server.service import Service

    class _Context(Protocol):
        """What a call is asked for and told here."""

        def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None:
            """The headers."""
            ...

        def set_trailing_metadata(self, told: tuple[tuple[str, str | bytes], ...], /) -> None:
            """Set what follows the answer."""
            ...

        async def abort(self, code: grpc.StatusCode, details: str, /) -> Never:
            """End the call with an error."""
            ...

    _Export = Callable[[AsyncIterator[bytes], _Context], Awaitable[bytes]]

_SERVICES: Final = {
    "opentelemetry.proto.collector.trace.v1.TraceService": "traces",
    "opentelemetry.proto.collector.logs.v1.LogsService": "logs",
}
_GZIP_MAGIC: Final = b"\x1f\x8b"
_DETAILS: Final = "grpc-status-details-bin"
_STOP_SECONDS: Final = 5.0
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class GrpcService:
    """The gRPC server of one worker.

    Args:
        service: what takes the requests.
        options: address and TLS.
    """

    def __init__(self, service: Service, options: ServeOptions) -> None:
        self._service: Final = service
        self._server: Final = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", service.most_body_bytes),
                ("grpc.per_message_decompression", 0),
                ("grpc.max_concurrent_streams", 128),
                ("grpc.server_handshake_timeout_ms", int(REQUEST_SECONDS * 1000)),
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
            return await context.abort(_CODES[refusal.code], refusal.reason)

        return export

    async def _take(
        self, signal: str, messages: AsyncIterator[bytes], context: _Context
    ) -> Counter[str]:
        service = self._service
        told = {str(key): value for key, value in context.invocation_metadata() or ()}
        header = service.admit(str(told.get("authorization", "")))
        held = 0
        try:
            message = await asyncio.wait_for(anext(messages), REQUEST_SECONDS)
            held = len(message)
            service.hold(held)
            body = _unpacked(message, service.most_body_bytes)
            grown, held = len(body) - held, len(body)
            service.hold(grown)
            received = await service.decode(signal, PROTOBUF, body)
            del message, body
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
            service.hold(-held)
        return await service.store(received, header)


def _unpacked(message: bytes, limit: int) -> bytes:
    """The message; what begins as gzip does is no protobuf message of any kind."""
    if not message.startswith(_GZIP_MAGIC):
        return message
    inflater = Inflater("gzip", limit)
    inflater.feed(message)
    return inflater.finish()


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
