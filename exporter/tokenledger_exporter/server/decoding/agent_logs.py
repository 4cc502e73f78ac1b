"""Log records of agents that report their usage in logs alone, as records of model calls.

Codex CLI writes `codex.sse_event` with the counts of a response that completed (openai/codex,
codex-rs/otel/src/events/session_telemetry.rs, read 2026-11-26: counts as text; input includes the
cached tokens, output the reasoning). Claude Code writes `api_request` (read 2026-11-26 from public
collectors of its telemetry and from repositories that quote its "Monitoring" page, not from that
page: input leaves out what a cache read or wrote). Each is one call, told once it has ended; every
other log record is dropped.
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
    MalformedError,
    Received,
    check_attributes,
    check_elements,
)
from tokenledger_exporter.server.decoding.otlp_protobuf import groups
from tokenledger_semconv import agent_logs, attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenledger_exporter.server.decoding.otlp_messages import WireLog

_LATEST_NS: Final = 2**63 - 1
_MILLISECOND: Final = 1_000_000
_MAX_DIGITS: Final = 18
_LONGEST_NAME: Final = 64
_EVENTS: Final = frozenset(
    {agent_logs.CODEX_EVENT, agent_logs.CLAUDE_CODE_EVENT, agent_logs.CLAUDE_CODE_BODY}
)


def decode_logs(body: bytes) -> Received:
    """The model calls of an ExportLogsServiceRequest; raises as `decode_traces`."""
    received = Received()
    try:
        for group in groups(body):
            for data in group.items:
                log = cast("WireLog", otlp_messages.LOG_RECORD.FromString(data))
                told, name = log.attributes, log.event_name
                check_attributes(len(told))
                if agent_logs.EVENT_NAME in told:
                    name = str(decode_value(told[agent_logs.EVENT_NAME]))
                if name not in _EVENTS and len(log.body) <= _LONGEST_NAME:
                    name = str(decode_value(log.body))
                if name not in _EVENTS:
                    received.dropped += 1
                    continue
                moment = min(log.time_ns or log.observed_ns, _LATEST_NS)
                _take(read_values(told), name, moment, group.resource, received)
    except DecodeError:
        raise MalformedError("the body is no OTLP protobuf message") from None
    return received


def decode_json_logs(body: bytes) -> Received:
    """As `decode_logs`, of a JSON body."""
    received = Received()
    for of_resource in otlp_json.decode_request(body).resource_logs or ():
        check_elements(len(of_resource.scope_logs or ()))
        for group in of_resource.scope_logs or ():
            check_elements(len(group.log_records or ()))
            resource = otlp_json.resource_of(of_resource.resource, group.scope)
            for log in group.log_records or ():
                told = otlp_json.told(log.attributes)
                named = told.get(agent_logs.EVENT_NAME, log.event_name or "")
                name = str(named or (log.body and log.body.string_value))
                moment = log.time_unix_nano or log.observed_time_unix_nano
                _take(told, name, otlp_json.nanoseconds(moment), resource, received)
    return received


def _take(
    told: Mapping[str, object],
    name: str,
    moment_ns: int,
    resource: dict[str, str],
    received: Received,
) -> None:
    read = _READERS.get(name)
    call = read(told) if read is not None else None
    if call is None:
        received.dropped += 1
        return
    scope, call_id, told_by_call = call
    duration_ns = (_count(told, agent_logs.DURATION_MS) or 0) * _MILLISECOND
    start_ns = max(0, moment_ns - duration_ns)
    # A log record has no span: what it says, and when, is its identity, the same if it comes again.
    hashed = hashlib.blake2b(
        repr((call_id, moment_ns, sorted((key, str(value)) for key, value in told.items()))).encode(
            "utf-8", "replace"
        ),
        digest_size=24,
        person=b"tl-log",
    ).digest()
    found = {key: value for key, value in told_by_call.items() if value is not None}
    found[attributes.CALL_ID] = call_id or hashed.hex()
    found[attributes.CALL_STARTED_NS] = start_ns
    for key, value in told.items():
        if key.startswith(attributes.SCOPE_PREFIX):
            found.setdefault(key, value)
    received.take(
        SpanRecord(
            hashed[:16],
            int.from_bytes(hashed[16:], "big") or 1,
            0,
            start_ns,
            moment_ns,
            scope,
            False,
            allowed_attributes(found),
            resource,
        ),
        is_large=True,
    )


_Call = tuple[str, str, dict[str, object]]


def _codex(told: Mapping[str, object]) -> _Call | None:
    """A completed response; the same event without counts tells of the stream's end alone."""
    if told.get(agent_logs.CODEX_KIND) != agent_logs.CODEX_COMPLETED:
        return None
    count = _count(told, agent_logs.CODEX_INPUT)
    if count is None:
        return None
    call: dict[str, object] = {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "openai",
        attributes.REQUEST_MODEL: told.get(agent_logs.MODEL),
        attributes.RESPONSE_MODEL: told.get(agent_logs.MODEL),
        attributes.INPUT_TOKENS: count,
        attributes.OUTPUT_TOKENS: _count(told, agent_logs.CODEX_OUTPUT),
        attributes.CACHE_READ_TOKENS: _count(told, agent_logs.CODEX_CACHED),
        attributes.CACHE_WRITE_TOKENS: _count(told, agent_logs.CODEX_CACHE_WRITTEN),
        attributes.REASONING_TOKENS: _count(told, agent_logs.CODEX_REASONING),
        attributes.SESSION_ID: told.get(attributes.SESSION_ID)
        or told.get(agent_logs.CODEX_CONVERSATION),
        attributes.USER_ID: told.get(attributes.USER_ID)
        or told.get(agent_logs.USER_EMAIL)
        or told.get(agent_logs.CODEX_ACCOUNT),
    }
    return agent_logs.CODEX_SCOPE, "", call


def _claude_code(told: Mapping[str, object]) -> _Call | None:
    """A request to the API, its input brought to include what a cache read or wrote."""
    plain = _count(told, agent_logs.CLAUDE_INPUT)
    if plain is None:
        return None
    read = _count(told, agent_logs.CLAUDE_CACHE_READ) or 0
    written = _count(told, agent_logs.CLAUDE_CACHE_WRITTEN) or 0
    request_id = told.get(agent_logs.CLAUDE_REQUEST_ID)
    call: dict[str, object] = {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "anthropic",
        attributes.REQUEST_MODEL: told.get(agent_logs.MODEL),
        attributes.RESPONSE_MODEL: told.get(agent_logs.MODEL),
        attributes.INPUT_TOKENS: plain + read + written,
        attributes.OUTPUT_TOKENS: _count(told, agent_logs.CLAUDE_OUTPUT),
        attributes.CACHE_READ_TOKENS: read,
        attributes.CACHE_WRITE_TOKENS: written,
        attributes.ANTHROPIC_SPEED: told.get(agent_logs.CLAUDE_SPEED),
        attributes.REPORTED_COST: told.get(agent_logs.CLAUDE_COST),
        attributes.SESSION_ID: told.get(attributes.SESSION_ID),
        attributes.USER_ID: told.get(agent_logs.USER_EMAIL)
        or told.get(agent_logs.CLAUDE_ACCOUNT)
        or told.get(attributes.USER_ID),
        attributes.ORGANIZATION_ID: told.get(agent_logs.CLAUDE_ORGANIZATION),
    }
    call_id = f"{agent_logs.CLAUDE_CODE_SCOPE}:{request_id}" if request_id else ""
    return agent_logs.CLAUDE_CODE_SCOPE, call_id, call


def _count(told: Mapping[str, object], name: str) -> int | None:
    """A count, told as a number or as text."""
    value = told.get(name)
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS):
            return None
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


_READERS: Final[Mapping[str, Callable[[Mapping[str, object]], _Call | None]]] = {
    agent_logs.CODEX_EVENT: _codex,
    agent_logs.CLAUDE_CODE_EVENT: _claude_code,
    agent_logs.CLAUDE_CODE_BODY: _claude_code,
}
