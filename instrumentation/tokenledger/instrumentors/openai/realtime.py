"""Calls over a websocket: the realtime API, where each `response.done` is a call, and responses.

Every message passes through the connection's `recv_bytes`, also for apps that parse it themselves.
A message is parsed here only if it names one of the few kinds that concern a cost.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from tokenledger._attribution.layers import clean
from tokenledger._guard import Guard, report
from tokenledger._usage.fields import fields_of, part, read_json
from tokenledger._usage.finish_reasons import add_ending
from tokenledger._usage.openai import (
    RESPONSE_ENDINGS,
    add_response_usage,
    read_audio,
    read_response,
)
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger._calls.call import Call
    from tokenledger._calls.tracer import CallTracer
    from tokenledger._usage.fields import Attributes
    from tokenledger.instrumentors._base.api import Api
    from tokenledger.instrumentors._base.endpoints import Endpoint
    from tokenledger.instrumentors._base.patch_table import Host, Method

_SESSION: Final = "_tokenledger_session"
_SESSION_KINDS: Final = ("session.created", "session.updated")
_CREATED: Final = "response.created"
_DONE: Final = "response.done"
_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"
_KINDS: Final = frozenset((*_SESSION_KINDS, _CREATED, _DONE, _TRANSCRIBED, *RESPONSE_ENDINGS))
_MARKS: Final = tuple(f'"{kind}"'.encode() for kind in sorted(_KINDS))
_DEFAULT_PORTS: Final = {True: 443, False: 80}
# Only Azure's client sends this; Ref: openai 3.54.0 lib/azure.py, `_configure_realtime`.
_AZURE_QUERY: Final = "api-version"
_AZURE: Final = "azure.ai.openai"


def received(api: Api, host: Host, method: Method) -> Method:
    """Replace a connection's `recv_bytes`."""

    def recv_bytes(connection: object, *args: object, **kwargs: object) -> object:
        data = method(connection, *args, **kwargs)
        _read(api, host, connection, data)
        return data

    return recv_bytes


def async_received(api: Api, host: Host, method: Method) -> Method:
    """Replace an async connection's `recv_bytes`."""

    async def recv_bytes(connection: object, *args: object, **kwargs: object) -> object:
        data = await method(connection, *args, **kwargs)
        _read(api, host, connection, data)
        return data

    return recv_bytes


def _read(api: Api, host: Host, connection: Any, data: bytes) -> None:  # noqa: ANN401
    tracer = host.tracer
    if tracer is None:
        return
    try:
        if any(mark in data for mark in _MARKS):
            event = read_json(data)
            session: object = getattr(connection, _SESSION, None)
            if not isinstance(session, _Session):
                session = _session(api, connection)
                setattr(connection, _SESSION, session)
            session.see(tracer, fields_of(event))
    except Exception as error:  # noqa: BLE001 - the app gets its message
        report("reading a websocket message", type(error).__name__)


def _session(api: Api, connection: Any) -> _Session:  # noqa: ANN401
    """The address and the query of a connection, as the websockets library stores them."""
    with Guard("reading a websocket's address"):
        uri = connection._connection.protocol.uri  # noqa: SLF001 - the SDK stores it nowhere else
        query = dict(parse_qsl(uri.query or ""))
        endpoint = api.endpoints.at(
            uri.host,
            uri.port or _DEFAULT_PORTS[uri.secure],
            _AZURE if _AZURE_QUERY in query else "",
        )
        return _Session(endpoint, query.get("model") or query.get("deployment") or "")
    return _Session(api.endpoints.at(None, None), "")


class _Session:
    """The state of one connection.

    Args:
        endpoint: where it leads.
        model: the requested model; "" if there is none.
    """

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        self._endpoint = endpoint
        self._model = model
        self._transcriber = ""
        self._started_ns: dict[str, int] = {}

    def see(self, tracer: CallTracer, event: Mapping[str, Any]) -> None:
        """Read one message."""
        kind = event.get("type")
        response = fields_of(event.get("response"))
        if kind in _SESSION_KINDS:
            self._note_session(fields_of(event.get("session")))
        elif kind == _CREATED:
            self._started_ns[str(response.get("id"))] = time.time_ns()
        elif kind == _DONE:
            self._record(tracer, response, _read_realtime(response))
        elif kind in RESPONSE_ENDINGS:
            self._record(tracer, response, read_response(response))
        elif kind == _TRANSCRIBED and event.get("usage"):
            start = self._start_attributes("transcription", self._transcriber)
            _finish(tracer.start(start), read_audio(event))

    def _note_session(self, session: Mapping[str, Any]) -> None:
        self._model = session.get("model") or self._model
        audio_input = fields_of(fields_of(session.get("audio")).get("input"))
        # Before 2025 this was a field of the session itself.
        transcription = audio_input.get("transcription") or session.get("input_audio_transcription")
        self._transcriber = fields_of(transcription).get("model") or self._transcriber

    def _start_attributes(self, operation: str, model: str) -> Attributes:
        return {
            **self._endpoint.attributes,
            names.OPERATION_NAME: operation,
            names.REQUEST_MODEL: clean(model),
            names.REQUEST_STREAM: True,
        }

    def _record(
        self, tracer: CallTracer, response: Mapping[str, Any], attributes: Attributes
    ) -> None:
        started_ns = self._started_ns.pop(str(response.get("id")), 0)
        start = self._start_attributes("chat", response.get("model") or self._model)
        call = tracer.start(start, start_time_ns=started_ns)
        if started_ns:
            call.finish(attributes)
        else:
            _finish(call, attributes)


def _finish(call: Call, attributes: Attributes) -> None:
    """Finish a call whose start was not seen."""
    call.leave_out_metrics()
    call.finish(attributes)


def _read_realtime(response: Mapping[str, Any]) -> Attributes:
    attributes: Attributes = {}
    if identity := response.get("id"):
        attributes[names.RESPONSE_ID] = clean(identity)
    details = response.get("status_details")
    add_ending(attributes, response, details, part(details, "error"))
    add_response_usage(attributes, response.get("usage"))
    return attributes
