"""The recorded spans of other emitters, as an exporter gets them, and their rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from support.ledger_rows import HEADER, package_book
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_exporter.recorder.encode import encode_span, is_model_call
from tokenledger_exporter.spool.codec import decode_record

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow

FIXTURES = Path(__file__).parents[1] / "exporter" / "dialects" / "spans"
EMITTERS = sorted(path.stem for path in FIXTURES.glob("*.json"))
"""Names of the fixtures: emitter and release."""


def calls(emitter: str) -> dict[str, list[ReadableSpan]]:
    """The recorded calls of an emitter: label -> spans, in the order of their ends."""
    recording = json.loads((FIXTURES / f"{emitter}.json").read_text(encoding="utf-8"))
    return {
        label: [_span(fields) for fields in spans] for label, spans in recording["calls"].items()
    }


def rows(spans: list[ReadableSpan]) -> list[LedgerRow]:
    """The rows of ended spans: selected, encoded, decoded, read and priced."""
    return [
        row
        for span in spans
        if is_model_call(span)
        for row in build_rows(decode_record(encode_span(span)), HEADER, package_book)
    ]


def _span(fields: dict[str, Any]) -> ReadableSpan:
    trace_id = int(fields["trace_id"], 16)
    parent = fields["parent_span_id"]
    return ReadableSpan(
        fields["name"],
        context=SpanContext(trace_id, int(fields["span_id"], 16), False, TraceFlags(1)),
        parent=SpanContext(trace_id, int(parent, 16), False) if parent else None,
        attributes=fields["attributes"],
        events=[Event(event["name"], event["attributes"]) for event in fields.get("events", [])],
        resource=Resource({}),
        start_time=int(fields["start_ns"]),
        end_time=int(fields["end_ns"]),
        status=Status(StatusCode[fields["status"]]),
        instrumentation_scope=InstrumentationScope(fields["scope"], fields["scope_version"]),
    )
