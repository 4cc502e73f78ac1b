"""The short way to a record of our own call says what the long way says, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode

from tokenledger_exporter.recorder import encode, encode_fast
from tokenledger_exporter.spool import codec
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Tracer
    from opentelemetry.util.types import AttributeValue

    Change = Callable[[Span], None]

TOLD: dict[str, AttributeValue] = {
    attributes.OPERATION_NAME: "chat",
    attributes.PROVIDER_NAME: "openai",
    attributes.REQUEST_MODEL: "gpt-4o",
    attributes.USER_ID: "ada",
    attributes.SERVER_PORT: 443,
}
FOUND: dict[str, AttributeValue] = {
    attributes.RESPONSE_MODEL: "gpt-4o-2024-08-06",
    attributes.INPUT_TOKENS: 1_000,
    attributes.OUTPUT_TOKENS: 100,
}


@pytest.fixture
def tracer() -> Tracer:
    return TracerProvider(shutdown_on_exit=False).get_tracer("tokenledger.openai")


def _call(tracer: Tracer) -> Span:
    span = tracer.start_span("chat gpt-4o", kind=SpanKind.CLIENT, attributes=TOLD)
    assert isinstance(span, Span)
    span.set_attributes(FOUND)
    return span


def _long_way_is_closed(_span: object, _ancestors: object = ()) -> bytes:
    raise AssertionError("went the long way")


def _is_same(span: Span) -> bool:
    """Whether both ways tell the same of a call, while it is in flight and once it has ended."""
    sent = encode_fast.encode_started(span) == encode.encode_started(span)
    # The answer's last: with a list on it, a START goes the long way.
    if attributes.FINISH_REASONS not in (span.attributes or {}):
        span.set_attribute(attributes.FINISH_REASONS, ("stop",))
    span.end()
    ended = encode_fast.encode_ended(span, ((7, 9),)) == encode.encode_ended(span, ((7, 9),))
    return sent and ended


def test_a_plain_call_takes_the_fast_path(tracer: Tracer, monkeypatch: pytest.MonkeyPatch) -> None:
    span = _call(tracer)
    encode_fast.encode_started(span)
    monkeypatch.setattr(encode, "encode_started", _long_way_is_closed)
    monkeypatch.setattr(encode, "encode_ended", _long_way_is_closed)
    sent = tracer.start_span("chat", attributes=TOLD)
    assert isinstance(sent, Span)
    start = encode_fast.encode_started(sent)
    assert start is not None
    assert codec.decode_record(start).attributes == TOLD
    span.set_attribute(attributes.FINISH_REASONS, ("stop",))
    span.end()
    end = encode_fast.encode_ended(span, ())
    assert end is not None
    assert codec.decode_record(end).attributes == {
        **TOLD,
        **FOUND,
        attributes.FINISH_REASONS: ["stop"],
    }


def _as_it_is(_span: Span) -> None:
    """Changes nothing."""


def _set(name: str, value: Any) -> Change:  # noqa: ANN401 - what an app may set
    def change(span: Span) -> None:
        span.set_attribute(name, value)

    return change


def _hold(field: str, value: object) -> Change:
    def change(span: Span) -> None:
        setattr(span, field, value)

    return change


def _fail(span: Span) -> None:
    span.set_status(StatusCode.ERROR)


def _note_an_exception(span: Span) -> None:
    span.record_exception(ValueError("never kept"))


@pytest.mark.parametrize(
    "change",
    [
        _as_it_is,
        _set(attributes.FEATURE, "set by the app in between"),
        _set(attributes.METADATA_PREFIX + "tier", "gold"),
        _set("app.secret", "kept out of the spool"),
        _set(attributes.USER_ID, "x" * 10_000),
        _set(attributes.USER_ID, "\ud800"),
        _set(attributes.USER_ID, (1, 2)),
        _set(attributes.FINISH_REASONS, ("stop", "length")),
        _set(attributes.FINISH_REASONS, ("x" * 1_000,)),
        _set(attributes.FINISH_REASONS, ()),
        _set(attributes.FINISH_REASONS, "stop"),
        _set(attributes.OUTPUT_TOKENS, 2**70),
        _fail,
        _note_an_exception,
        _hold("_start_time", -1),
        _hold("_start_time", 2**63),
        _hold("_start_time", 2**70),
        _hold("_parent", None),
        _hold("_resource", Resource({attributes.SERVICE_NAME: "forked"})),
    ],
    ids=[
        "as it is",
        "a feature",
        "metadata",
        "a name that is not kept",
        "a long text",
        "no text at all",
        "a list in a text's place",
        "two reasons",
        "a long reason",
        "no reason",
        "a reason that is no list",
        "beyond 64 bits",
        "a failure",
        "an exception noted",
        "before 1970",
        "beyond what a row takes",
        "beyond all time",
        "no parent",
        "another resource",
    ],
)
def test_any_attribute_of_the_span_is_recorded_as_before(tracer: Tracer, change: Change) -> None:
    with trace.use_span(tracer.start_span("above")):
        span = _call(tracer)
    # The first span of a scope is read the long way, and what is found kept for the next.
    encode_fast.encode_started(span)
    change(span)
    assert _is_same(span)


def test_a_span_of_another_emitter_is_no_call_of_ours() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("another")
    encode_fast.encode_started(_call(tracer))
    assert _is_same(_call(tracer))
    assert encode_fast.encode_started(_call(tracer)) is None
    other = tracer.start_span("GET /")
    assert isinstance(other, Span)
    assert encode_fast.encode_ended(other, ()) is None


def test_a_span_with_other_fields_than_the_sdks_is_recorded_the_same(
    tracer: Tracer,
) -> None:
    span: Any = _call(tracer)
    span.set_status(StatusCode.ERROR)
    span.end()

    class Elsewhere:
        """Only what is public of a span."""

        context, parent, events = span.context, span.parent, span.events
        start_time, end_time = span.start_time, span.end_time
        resource, instrumentation_scope = span.resource, span.instrumentation_scope
        status, attributes = span.status, span.attributes

    elsewhere: Any = Elsewhere()
    payload = encode_fast.encode_ended(elsewhere, ())
    assert payload == encode_fast.encode_ended(span, ())
    assert payload is not None
    record = codec.decode_record(payload)
    assert record.failed
    assert record.attributes == {**TOLD, **FOUND}
