"""Collects the spans of each recorded call and prints them as one fixture; no part of the suite.

Runs in the emitter's own environment, so it needs the OpenTelemetry SDK and nothing of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk.trace import ReadableSpan

URL = os.environ["RECORD_URL"]
PROMPT = "canary-prompt: how many invoices are there?"
OPENAI_MODEL, ANTHROPIC_MODEL = "gpt-4o", "claude-sonnet-4-5"

_MAX_LETTERS = 6_000
_MAX_ITEMS = 8  # an embedding has thousands, and no reader reads them

exporter = InMemorySpanExporter()
_calls: dict[str, list[dict[str, Any]]] = {}


def install(*, globally: bool = True) -> TracerProvider:
    """A tracer provider whose spans are collected."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    if globally:
        trace.set_tracer_provider(provider)
    return provider


def collect(provider: TracerProvider) -> None:
    """Collect the spans of a provider the emitter made itself."""
    provider.add_span_processor(SimpleSpanProcessor(exporter))


@contextlib.contextmanager
def call(label: str) -> Iterator[None]:
    """The spans that end inside the block belong to the call of this label."""
    exporter.clear()
    try:
        yield
    except Exception as error:  # noqa: BLE001 - one call that fails must not cost the others
        sys.stderr.write(f"{label}: {type(error).__name__}: {error}\n"[:2_000])
    spans = exporter.get_finished_spans()
    _calls[label] = [_plain(span) for span in spans if _is_kept(span)]


def write(*packages: str) -> None:
    """Write the fixture: package versions, then the spans of every call."""
    versions: dict[str, str] = {}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    recorded = json.dumps({"packages": versions, "calls": _calls}, indent=1)
    Path(os.environ["RECORD_FILE"]).write_text(f"{recorded}\n", encoding="utf-8")


def _is_kept(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope.name if span.instrumentation_scope else ""
    return "httpx" not in scope and "requests" not in scope


def _plain(span: ReadableSpan) -> dict[str, Any]:
    scope, parent = span.instrumentation_scope, span.parent
    context = span.get_span_context()
    return {
        "name": span.name,
        "scope": scope.name if scope else "",
        "scope_version": (scope.version if scope else "") or "",
        "kind": span.kind.name,
        "trace_id": f"{context.trace_id:032x}" if context else "",
        "span_id": f"{context.span_id:016x}" if context else "",
        "parent_span_id": f"{parent.span_id:016x}" if parent else "",
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "status": span.status.status_code.name,
        "events": [
            {"name": event.name, "attributes": _without_paths(event.attributes or {})}
            for event in span.events
            if event.name == "exception"
        ],
        "attributes": {
            key: list(value[:_MAX_ITEMS]) if isinstance(value, tuple) else value
            for key, value in _without_paths(span.attributes or {}).items()
            if not (isinstance(value, str) and len(value) > _MAX_LETTERS)
        },
    }


def _without_paths(found: Mapping[str, Any]) -> dict[str, Any]:
    """A stack trace names folders of the machine it was recorded on."""
    traces = ("stacktrace", "stack_trace")
    return {key: "canary-stack" if key.endswith(traces) else value for key, value in found.items()}
