"""Decodes the logs of coding agents that report usage only in logs, into records of model calls.

Codex CLI writes `codex.sse_event` with the counts of a response that completed (openai/codex,
codex-rs/otel/src/events/session_telemetry.rs, read 2026-11-26: counts as text; input includes
cached tokens, output includes reasoning). Claude Code writes `api_request` (read 2026-11-26 in
public collectors of its telemetry and in repositories that quote its "Monitoring" page, not on that
page: input excludes cache reads and writes). Each such record is one finished call; every other log
record is dropped.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, cast

from google.protobuf.message import DecodeError

from tokenledger_exporter.dialects.attribute_filter import allowed_attributes
from tokenledger_exporter.domain.span_record import SpanRecord
from tokenledger_exporter.server.decoding import otlp_json, otlp_messages
from tokenledger_exporter.server.decoding.any_value import decode_value, read_values
from tokenledger_exporter.server.decoding.decoded_request import (
    DecodedRequest,
    MalformedError,
    check_attributes,
    check_elements,
)
from tokenledger_exporter.server.decoding.otlp_protobuf import groups
from tokenledger_semconv import agent_logs, attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenledger_exporter.server.decoding.otlp_messages import WireLog

_MAX_NS: Final = 2**63 - 1
_MILLISECOND: Final = 1_000_000
_MAX_DIGITS: Final = 18
_MAX_NAME_LENGTH: Final = 64
_EVENTS: Final = frozenset(
    {agent_logs.CODEX_EVENT, agent_logs.CLAUDE_CODE_EVENT, agent_logs.CLAUDE_CODE_BODY}
)


def decode_logs(body: bytes) -> DecodedRequest:
    """Decode an ExportLogsServiceRequest; raises the errors of `decode_traces`."""
    decoded = DecodedRequest()
    try:
        for group in groups(body):
            for data in group.items:
                log = cast("WireLog", otlp_messages.LOG_RECORD.FromString(data))
                encoded, name = log.attributes, log.event_name
                check_attributes(len(encoded))
                if agent_logs.EVENT_NAME in encoded:
                    name = str(decode_value(encoded[agent_logs.EVENT_NAME]))
                if name not in _EVENTS and len(log.body) <= _MAX_NAME_LENGTH:
                    name = str(decode_value(log.body))
                if name not in _EVENTS:
                    decoded.dropped += 1
                    continue
                time_ns = min(log.time_ns or log.observed_ns, _MAX_NS)
                _add_call(read_values(encoded), name, time_ns, group.resource, decoded)
    except DecodeError:
        raise MalformedError("the body is not an OTLP protobuf message") from None
    return decoded


def decode_json_logs(body: bytes) -> DecodedRequest:
    """Decode the same request from JSON."""
    decoded = DecodedRequest()
    for resource_data in otlp_json.decode_request(body).resource_logs or ():
        check_elements(len(resource_data.scope_logs or ()))
        for group in resource_data.scope_logs or ():
            check_elements(len(group.log_records or ()))
            resource = otlp_json.resource_of(resource_data.resource, group.scope)
            for log in group.log_records or ():
                fields = otlp_json.attributes_of(log.attributes)
                event_name = fields.get(agent_logs.EVENT_NAME, log.event_name or "")
                name = str(event_name or (log.body and log.body.string_value))
                time_ns = otlp_json.nanoseconds(log.time_unix_nano or log.observed_time_unix_nano)
                _add_call(fields, name, time_ns, resource, decoded)
    return decoded


def _add_call(
    fields: Mapping[str, object],
    name: str,
    time_ns: int,
    resource: dict[str, str],
    decoded: DecodedRequest,
) -> None:
    read = _READERS.get(name)
    call = read(fields, resource) if read is not None else None
    if call is None:
        decoded.dropped += 1
        return
    scope, call_id, values = call
    duration_ns = (_count(fields, agent_logs.DURATION_MS) or 0) * _MILLISECOND
    start_ns = max(0, time_ns - duration_ns)
    # A log record has no span id. Its content and time identify it, also if it is sent again.
    hashed = hashlib.blake2b(
        repr((call_id, time_ns, sorted((key, str(value)) for key, value in fields.items()))).encode(
            "utf-8", "replace"
        ),
        digest_size=24,
        person=b"tl-log",
    ).digest()
    call_attributes = {key: value for key, value in values.items() if value is not None}
    call_attributes[attributes.CALL_ID] = call_id or hashed.hex()
    call_attributes[attributes.CALL_STARTED_NS] = start_ns
    for key, value in fields.items():
        if key.startswith(attributes.SCOPE_PREFIX):
            call_attributes.setdefault(key, value)
    decoded.add(
        SpanRecord(
            hashed[:16],
            int.from_bytes(hashed[16:], "big") or 1,
            0,
            start_ns,
            time_ns,
            scope,
            False,
            allowed_attributes(call_attributes),
            resource,
        ),
        is_large=True,
    )


_CLAUDE_COST_SOURCE: Final = f"{agent_logs.CLAUDE_CODE_BODY} {agent_logs.CLAUDE_COST}"

_Call = tuple[str, str, dict[str, object]]


def _codex(fields: Mapping[str, object], _resource: Mapping[str, str]) -> _Call | None:
    """A completed response; an event without counts only marks the end of the stream."""
    if fields.get(agent_logs.CODEX_KIND) != agent_logs.CODEX_COMPLETED:
        return None
    count = _count(fields, agent_logs.CODEX_INPUT)
    if count is None:
        return None
    call: dict[str, object] = {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "openai",
        attributes.REQUEST_MODEL: fields.get(agent_logs.MODEL),
        attributes.RESPONSE_MODEL: fields.get(agent_logs.MODEL),
        attributes.INPUT_TOKENS: count,
        attributes.OUTPUT_TOKENS: _count(fields, agent_logs.CODEX_OUTPUT),
        attributes.CACHE_READ_TOKENS: _count(fields, agent_logs.CODEX_CACHED),
        attributes.CACHE_WRITE_TOKENS: _count(fields, agent_logs.CODEX_CACHE_WRITTEN),
        attributes.REASONING_TOKENS: _count(fields, agent_logs.CODEX_REASONING),
        attributes.SESSION_ID: fields.get(attributes.SESSION_ID)
        or fields.get(agent_logs.CODEX_CONVERSATION),
        attributes.USER_ID: fields.get(attributes.USER_ID)
        or fields.get(agent_logs.USER_EMAIL)
        or fields.get(agent_logs.CODEX_ACCOUNT),
    }
    return agent_logs.CODEX_SCOPE, "", call


def _claude_code(fields: Mapping[str, object], resource: Mapping[str, str]) -> _Call | None:
    """A request to the API; cache reads and writes are added to its input."""
    uncached = _count(fields, agent_logs.CLAUDE_INPUT)
    if uncached is None:
        return None
    read = _count(fields, agent_logs.CLAUDE_CACHE_READ) or 0
    written = _count(fields, agent_logs.CLAUDE_CACHE_WRITTEN) or 0
    # A model that the agent does not know costs 0 there.
    cost = _positive(fields.get(agent_logs.CLAUDE_COST))
    request_id = fields.get(agent_logs.CLAUDE_REQUEST_ID)
    # Its `user.id` is a random id of the installation: a user named on the resource says more.
    installation = None if attributes.USER_ID in resource else fields.get(attributes.USER_ID)
    call: dict[str, object] = {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "anthropic",
        attributes.REQUEST_MODEL: fields.get(agent_logs.MODEL),
        attributes.RESPONSE_MODEL: fields.get(agent_logs.MODEL),
        attributes.INPUT_TOKENS: uncached + read + written,
        attributes.OUTPUT_TOKENS: _count(fields, agent_logs.CLAUDE_OUTPUT),
        attributes.CACHE_READ_TOKENS: read,
        attributes.CACHE_WRITE_TOKENS: written,
        attributes.UNKNOWN_CACHE_LIFETIMES: True if written else None,
        attributes.ANTHROPIC_SPEED: fields.get(agent_logs.CLAUDE_SPEED),
        attributes.REPORTED_COST: cost,
        attributes.COST_SOURCE: None if cost is None else _CLAUDE_COST_SOURCE,
        attributes.SESSION_ID: fields.get(attributes.SESSION_ID),
        attributes.USER_ID: fields.get(agent_logs.USER_EMAIL)
        or fields.get(agent_logs.CLAUDE_ACCOUNT)
        or installation,
        attributes.ORGANIZATION_ID: fields.get(agent_logs.CLAUDE_ORGANIZATION),
    }
    call_id = f"{agent_logs.CLAUDE_CODE_SCOPE}:{request_id}" if request_id else ""
    return agent_logs.CLAUDE_CODE_SCOPE, call_id, call


def _positive(amount: object) -> object:
    """The amount, a number or text, unless it is 0."""
    try:
        return amount if isinstance(amount, str | int | float) and float(amount) else None
    except ValueError:
        return None


def _count(fields: Mapping[str, object], name: str) -> int | None:
    """A count that is a number or text."""
    value = fields.get(name)
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS):
            return None
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


_READERS: Final[Mapping[str, Callable[[Mapping[str, object], Mapping[str, str]], _Call | None]]] = {
    agent_logs.CODEX_EVENT: _codex,
    agent_logs.CLAUDE_CODE_EVENT: _claude_code,
    agent_logs.CLAUDE_CODE_BODY: _claude_code,
}
