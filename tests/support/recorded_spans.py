"""The recorded spans of other emitters, as an exporter meets them, and the rows they become."""

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
"""Every fixture: the emitter and the release it was recorded from."""


def calls(emitter: str) -> dict[str, list[ReadableSpan]]:
    """The recorded calls of an emitter, by label, each with the spans it left in order of end."""
    told = json.loads((FIXTURES / f"{emitter}.json").read_text(encoding="utf-8"))
    return {label: [_span(one) for one in spans] for label, spans in told["calls"].items()}


def rows(spans: list[ReadableSpan]) -> list[LedgerRow]:
    """The rows of ended spans, by the way they take: judged, encoded, decoded, read, priced."""
    return [
        row
        for span in spans
        if is_model_call(span)
        for row in build_rows(decode_record(encode_span(span)), HEADER, package_book)
    ]


def _span(told: dict[str, Any]) -> ReadableSpan:
    trace_id = int(told["trace_id"], 16)
    parent = told["parent_span_id"]
    return ReadableSpan(
        told["name"],
        context=SpanContext(trace_id, int(told["span_id"], 16), False, TraceFlags(1)),
        parent=SpanContext(trace_id, int(parent, 16), False) if parent else None,
        attributes=told["attributes"],
        events=[Event(one["name"], one["attributes"]) for one in told.get("events", [])],
        resource=Resource({}),
        start_time=int(told["start_ns"]),
        end_time=int(told["end_ns"]),
        status=Status(StatusCode[told["status"]]),
        instrumentation_scope=InstrumentationScope(told["scope"], told["scope_version"]),
    )
