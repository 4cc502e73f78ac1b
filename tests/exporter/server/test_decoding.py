"""The protobuf and JSON decoders give the same records as protobuf's own classes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from support import stock_decoder as stock
from support.otlp_requests import as_json, deep_json, deep_request, wrapped
from support.recorded_spans import EMITTERS, calls
from tokenledger_exporter.dialects.allowlist import ALLOWED_ATTRIBUTES, ALLOWED_PREFIXES, REDUCED
from tokenledger_exporter.dialects.inheritance import MAX_CARRIERS
from tokenledger_exporter.dialects.registry import DIALECTS
from tokenledger_exporter.server.decoding.decoded_request import MalformedError, TooLargeError
from tokenledger_exporter.server.decoding.otlp_json import decode_json_traces
from tokenledger_exporter.server.decoding.otlp_protobuf import decode_traces
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger_exporter.domain.span_record import SpanRecord
    from tokenledger_exporter.server.decoding.decoded_request import DecodedRequest

_EXAMPLES = int(os.environ.get("TOKENLEDGER_TEST_EXAMPLES", "200"))
_FOREIGN = ["http.request.method", "gen_ai.input.messages", "x"]
_PREFIXED = [
    f"{prefix}{key}"
    for prefix in (attributes.METADATA_PREFIX, *sorted(ALLOWED_PREFIXES))
    for key in ("tier", "user")
]
_NAMES = st.sampled_from([*sorted(ALLOWED_ATTRIBUTES), *sorted(REDUCED), *_PREFIXED, *_FOREIGN])
_SCOPES = st.sampled_from(
    ["", "tokenledger.openai", "my.app", *(s for d in DIALECTS for s in d.scopes)]
)
_PLAIN = st.one_of(
    st.text(max_size=300).map(lambda text: AnyValue(string_value=text)),
    st.sampled_from(["chat", "openai", '{"input_tokens": 3, "output_tokens": 4}', "x" * 9_000]).map(
        lambda text: AnyValue(string_value=text)
    ),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: AnyValue(int_value=number)),
    st.integers(0, 70_000).map(lambda number: AnyValue(int_value=number)),
    st.booleans().map(lambda flag: AnyValue(bool_value=flag)),
    st.floats(allow_nan=False).map(lambda number: AnyValue(double_value=number)),
    st.just(AnyValue()),
)
_VALUES = st.one_of(
    _PLAIN,
    st.lists(_PLAIN, max_size=3).map(lambda items: AnyValue(array_value=ArrayValue(values=items))),
    st.binary(max_size=8).map(lambda data: AnyValue(bytes_value=data)),
    st.just(AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k")]))),
)
# A name appears once (OTLP: "attribute keys MUST be unique").
_PAIRS = st.lists(
    st.builds(KeyValue, key=_NAMES, value=_VALUES), max_size=12, unique_by=lambda pair: pair.key
)
_TIMES = st.integers(0, 2**63 - 1)
# Few, so that many spans have a parent in the request.
_SPAN_IDS = st.integers(1, 6).map(lambda number: number.to_bytes(8, "big"))
_SPANS = st.builds(
    Span,
    trace_id=st.sampled_from([b"t" * 16, b"u" * 16]),
    span_id=_SPAN_IDS,
    parent_span_id=st.one_of(st.just(b""), _SPAN_IDS),
    start_time_unix_nano=_TIMES,
    end_time_unix_nano=_TIMES,
    attributes=_PAIRS,
    status=st.builds(Status, code=st.sampled_from([0, 1, 2])),
    events=st.lists(
        st.builds(
            Span.Event,
            name=st.just("exception"),
            attributes=st.lists(
                st.builds(
                    KeyValue,
                    key=st.just("exception.type"),
                    value=st.sampled_from(["RateLimitError", "not a class"]).map(
                        lambda text: AnyValue(string_value=text)
                    ),
                ),
                max_size=1,
            ),
        ),
        max_size=2,
    ),
)
_REQUESTS = st.builds(
    ExportTraceServiceRequest,
    resource_spans=st.lists(
        st.builds(
            ResourceSpans,
            scope_spans=st.lists(
                st.builds(ScopeSpans, spans=st.lists(_SPANS, max_size=3)), max_size=2
            ),
        ),
        max_size=2,
    ),
)


def without_ancestors(decoded: DecodedRequest) -> list[SpanRecord]:
    """The records without their ancestors, which have a test of their own."""
    return [replace(record, ancestors=()) for record in decoded.records]


@given(request=_REQUESTS, scope=_SCOPES)
@settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_both_decoders_agree_with_the_stock_classes(
    request: ExportTraceServiceRequest, scope: str
) -> None:
    seen: set[tuple[bytes, bytes]] = set()
    for resource in request.resource_spans:
        for group in resource.scope_spans:
            group.scope.name = scope
            for span in group.spans:
                # The ids of a span are its own.
                while (span.trace_id, span.span_id) in seen:
                    span.span_id = (int.from_bytes(span.span_id, "big") + 1).to_bytes(8, "big")
                seen.add((span.trace_id, span.span_id))
                # No span is its own ancestor.
                if span.parent_span_id <= span.span_id:
                    span.parent_span_id = b""
    body = request.SerializeToString()
    expected = stock.records(body)
    assert without_ancestors(decode_traces(body)) == expected
    assert without_ancestors(decode_json_traces(as_json(request))) == expected


@pytest.mark.parametrize("emitter", EMITTERS)
def test_recorded_spans_are_decoded_as_by_the_stock_classes(emitter: str) -> None:
    spans = [span for recording in calls(emitter).values() for span in recording]
    request = encode_spans(spans)
    expected = stock.records(request.SerializeToString())
    assert expected
    assert without_ancestors(decode_traces(request.SerializeToString())) == expected
    assert without_ancestors(decode_json_traces(as_json(request))) == expected


def test_two_older_names_of_one_field_stay_in_the_senders_order() -> None:
    """The first of two aliases is billed, so their order must not get lost."""
    for names in (
        (attributes.CACHE_READ_TOKENS_OLDER, attributes.CACHE_WRITE_TOKENS_OLDER),
        (attributes.CACHE_WRITE_TOKENS_OLDER, attributes.CACHE_WRITE_TOKENS_UNTIL_1_42),
        (attributes.CACHE_WRITE_TOKENS_UNTIL_1_42, attributes.CACHE_WRITE_TOKENS_OLDER),
    ):
        body = request_of(
            span_of(
                {attributes.OPERATION_NAME: "chat", **{name: n for n, name in enumerate(names)}}
            )
        )
        (record,) = decode_traces(body).records
        decoded_names = [name for name in record.attributes if name in names]
        if set(names) == {
            attributes.CACHE_WRITE_TOKENS_OLDER,
            attributes.CACHE_WRITE_TOKENS_UNTIL_1_42,
        }:
            assert decoded_names == list(names)
        assert record.attributes == stock.records(body)[0].attributes


def test_a_call_within_the_span_of_another_has_it_as_an_ancestor() -> None:
    outer = span_of({attributes.OPERATION_NAME: "chat"}, span_id=b"outer678")
    between = span_of({}, span_id=b"between8", parent=b"outer678")
    inner = span_of({attributes.OPERATION_NAME: "chat"}, span_id=b"inner678", parent=b"between8")
    records = decode_traces(request_of(inner, between, outer)).records
    assert [record.ancestors for record in records] == [
        ((int.from_bytes(b"outer678", "big"), 1_000),),
        (),
    ]


def test_with_too_many_spans_that_carry_attribution_no_call_inherits_any() -> None:
    """The nearest one may be among those that are not held, so a farther one would be wrong."""
    root = span_of({attributes.USER_ID: "far"}, span_id=b"root5678")
    call = span_of({attributes.OPERATION_NAME: "chat"}, parent=b"root5678")
    few = [span_of({attributes.USER_ID: "x"}, span_id=n.to_bytes(8, "big")) for n in range(1, 9)]
    many = [
        span_of({attributes.USER_ID: "x"}, span_id=n.to_bytes(8, "big"))
        for n in range(1, MAX_CARRIERS + 2)
    ]
    for spans, expected in ((few, {attributes.USER_ID: "far"}), (many, None)):
        (record,) = decode_traces(request_of(*spans, call, root)).records
        assert record.inherited == expected


@pytest.mark.parametrize("bad", [b"", b"short", bytes(16), b"x" * 17], ids=repr)
def test_only_the_span_without_a_valid_id_is_quarantined(bad: bytes) -> None:
    good = span_of({attributes.OPERATION_NAME: "chat"})
    wrong = span_of({attributes.OPERATION_NAME: "chat"}, trace_id=bad)
    for decoded in (
        decode_traces(request_of(good, wrong)),
        decode_json_traces(as_json(ExportTraceServiceRequest.FromString(request_of(good, wrong)))),
    ):
        assert len(decoded.records) == 1
        assert decoded.quarantined.total() == 1


def test_a_value_that_is_not_utf8_does_not_lose_the_span() -> None:
    data = request_of(span_of({attributes.OPERATION_NAME: "chat", attributes.USER_ID: "abcdef"}))
    (record,) = decode_traces(data.replace(b"abcdef", b"ab\xffdef")).records
    assert record.attributes[attributes.USER_ID] == "ab\ufffddef"


@pytest.mark.parametrize(
    ("decode", "body"),
    [
        (decode_traces, deep_request(10_000)),
        (decode_json_traces, deep_json(10_000)),
        (decode_json_traces, b'{"unknown":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
        (decode_traces, b"\x0a\xff"),
        (decode_json_traces, b"{"),
        (decode_json_traces, b'{"resourceSpans": 7}'),
    ],
    ids=["deep", "deep JSON", "deep unknown JSON", "torn", "torn JSON", "other JSON"],
)
def test_a_malformed_request_is_refused(
    decode: Callable[[bytes], DecodedRequest], body: bytes
) -> None:
    with pytest.raises(MalformedError):
        decode(body)


@pytest.mark.parametrize(
    ("decode", "body"),
    [
        (decode_traces, b"\x0a\x00" * 70_000),
        (decode_traces, wrapped(1, b"\x12\x00" * 70_000)),
        (decode_traces, wrapped(1, wrapped(2, b"\x12\x00" * 70_000))),
        (decode_json_traces, b'{"resourceSpans":[' + b"{}," * 600_000 + b"{}]}"),
    ],
    ids=["resources", "scopes", "spans", "JSON"],
)
def test_a_flood_of_elements_is_refused(
    decode: Callable[[bytes], DecodedRequest], body: bytes
) -> None:
    with pytest.raises(TooLargeError):
        decode(body)


def span_of(
    fields: dict[str, str | int],
    trace_id: bytes = b"0123456789abcdef",
    span_id: bytes = b"01234567",
    parent: bytes = b"",
) -> Span:
    pairs = [
        KeyValue(
            key=key,
            value=AnyValue(string_value=value)
            if isinstance(value, str)
            else AnyValue(int_value=value),
        )
        for key, value in fields.items()
    ]
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent,
        start_time_unix_nano=1_000,
        end_time_unix_nano=2_000,
        attributes=pairs,
    )


def request_of(*spans: Span) -> bytes:
    group = ScopeSpans(spans=spans)
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[group])]
    ).SerializeToString()
